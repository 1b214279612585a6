"""The Registry: the one way in which keys, people and teams are changed, by command line and API alike.

Each change is one transaction with its entry in the audit log. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET
from sqlalchemy import Engine

from headgate.core.alert import AlertEvent, AlertPlan, Silence
from headgate.core.errors import BadRequest
from headgate.stores import alert_silences, budgets, keys, limits, outbox, people
from headgate.stores.allowance import LimitSpec
from headgate.stores.budgets import Budget, Holder, WrittenOff
from headgate.stores.change import Change, Once, changing
from headgate.stores.data import DataDir
from headgate.stores.erase.user import Erased, UserErasure
from headgate.stores.keyring import digest_of
from headgate.stores.keys import PREFIX, KeyChange, KeyInfo, KeySpec
from headgate.stores.limits import LimitInfo
from headgate.stores.people import TeamInfo, TeamSpec, UserChange, UserInfo, UserSpec
from headgate.stores.words import parse_end

_ROUNDS = 100_000
_T = TypeVar("_T")


class NewKey(msgspec.Struct, frozen=True):
    """A key just made or rotated, and its secret, for the only time."""

    secret: str
    info: KeyInfo


class Registry:
    """Keys, people and teams, for one actor.

    Attributes:
        replayed: whether the last change had been made before (see ``once``), and was only answered again.
    """

    def __init__(
        self,
        engine: Engine,
        actor: str,
        *,
        once: Once | None = None,
        token: bytes = b"",
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Args:
        engine: the store.
        actor: who changes something: a key's id, ``cli:USER``, ``keyless``.
        once: makes the next change one that is made once, however often it is asked for.
        token: the caller's own secret, known to be one; a key made under ``once`` is derived from it, so that the same
            caller can be told it again while it is stored nowhere. Without it they can not.
        time_ns: the clock.
        """
        self._engine = engine
        self._actor = actor
        self._once = once
        self._token = token
        self._time_ns = time_ns
        self.replayed = False
        self._kept: tuple[bytes | None, bytes | None] = (None, None)

    # keys

    def list_keys(self, *, limit: int | None = None, after: tuple[int, str] | None = None) -> list[KeyInfo]:
        """Returns keys, oldest first (see ``keys.list_keys``)."""
        with self._engine.connect() as connection:
            return keys.list_keys(connection, limit=limit, after=after)

    def find_key(self, id_or_name: str) -> KeyInfo:
        """Returns one key. Raises as ``keys.find_key``."""
        with self._engine.connect() as connection:
            return keys.find_key(connection, id_or_name)

    def create_key(self, spec: KeySpec) -> NewKey:
        """Makes a key. Raises as ``keys.add_key``."""

        def add(change: Change, digest: bytes) -> KeyInfo:
            info = keys.add_key(change, spec, digest)
            limits.set_allowances(change, "key", info.id, spec.limits)
            return info

        return self._with_secret(add)

    def rotate_key(self, id_or_name: str, overlap: str) -> NewKey:
        """Gives a key a new secret. Raises as ``keys.rotate_key``."""
        return self._with_secret(lambda change, digest: keys.rotate_key(change, id_or_name, overlap, digest))

    def update_key(self, id_or_name: str, wanted: KeyChange) -> KeyInfo:
        """Changes a key. Raises as ``keys.change_key``."""

        def alter(change: Change) -> KeyInfo:
            info = keys.change_key(change, id_or_name, wanted)
            if wanted.limits is not UNSET:
                limits.set_allowances(change, "key", info.id, wanted.limits)
            return info

        return self._change(alter, KeyInfo)

    def revoke_key(self, id_or_name: str) -> KeyInfo:
        """Revokes a key; workers know within a second. Raises as ``keys.find_key``."""

        def revoke(change: Change) -> KeyInfo:
            info = keys.revoke_key(change, id_or_name)
            limits.remove_limits_of(change, "key", info.id)
            return info

        return self._change(revoke, KeyInfo)

    # teams

    def list_teams(self) -> list[TeamInfo]:
        """Returns all teams by name."""
        with self._engine.connect() as connection:
            return people.list_teams(connection)

    def find_team(self, name: str) -> TeamInfo:
        """Returns one team. Raises as ``people.find_team``."""
        with self._engine.connect() as connection:
            return people.find_team(connection, name)

    def create_team(self, spec: TeamSpec) -> TeamInfo:
        """Makes a team. Raises as ``people.add_team``."""

        def add(change: Change) -> TeamInfo:
            info = people.add_team(change, spec)
            limits.set_allowances(change, "team", info.name, spec.limits)
            return info

        return self._change(add, TeamInfo)

    def delete_team(self, name: str) -> TeamInfo:
        """Deletes a team. Raises as ``people.delete_team``."""

        def delete(change: Change) -> TeamInfo:
            info = people.delete_team(change, name)
            limits.remove_limits_of(change, "team", info.name)
            return info

        return self._change(delete, TeamInfo)

    # people

    def list_users(self) -> list[UserInfo]:
        """Returns all people by name."""
        with self._engine.connect() as connection:
            return people.list_users(connection)

    def find_user(self, word: str) -> UserInfo:
        """Returns one person. Raises as ``people.find_user``."""
        with self._engine.connect() as connection:
            return people.find_user(connection, word)

    def create_user(self, spec: UserSpec) -> UserInfo:
        """Makes a person. Raises as ``people.add_user``."""

        def add(change: Change) -> UserInfo:
            info = people.add_user(change, spec)
            limits.set_allowances(change, "user", info.name, spec.limits)
            return info

        return self._change(add, UserInfo)

    def update_user(self, word: str, wanted: UserChange) -> UserInfo:
        """Changes a person. Raises as ``people.change_user``."""

        def alter(change: Change) -> UserInfo:
            before = people.find_user(change.connection, word)
            info = people.change_user(change, before.id, wanted)
            if info.name != before.name:
                limits.rename_member(change, "user", before.name, info.name)
            if wanted.limits is not UNSET:
                limits.set_allowances(change, "user", info.name, wanted.limits)
            return info

        return self._change(alter, UserInfo)

    def delete_user(self, word: str) -> UserInfo:
        """Deletes a person and revokes their keys. Raises as ``people.find_user``."""

        def delete(change: Change) -> UserInfo:
            user = people.find_user(change.connection, word)
            for key in keys.list_keys(change.connection, owner=user.id):
                keys.revoke_key(change, key.id)
                limits.remove_limits_of(change, "key", key.id)
            people.remove_user(change, user)
            limits.remove_limits_of(change, "user", user.name)
            return user

        return self._change(delete, UserInfo)

    # limits

    def list_limits(self, *, scope: str = "", value: str = "") -> list[LimitInfo]:
        """Returns limits, oldest first (see ``limits.list_limits``)."""
        with self._engine.connect() as connection:
            return limits.list_limits(connection, scope=scope, value=value)

    def set_limit(self, spec: LimitSpec) -> LimitInfo:
        """Sets a limit; workers obey it within a second. Raises as ``limits.set_limit``."""
        return self._change(lambda change: limits.set_limit(change, spec), LimitInfo)

    def remove_limit(self, id: str) -> LimitInfo:
        """Removes a limit. Raises as ``limits.remove_limit``."""
        return self._change(lambda change: limits.remove_limit(change, id), LimitInfo)

    # what is not done in the store

    def answered(self, kind: type[_T]) -> _T | None:
        """Returns what was answered before to the same call (see ``once``), None to a new one.

        Raises:
            BadRequest: ``idempotency_conflict``.
        """
        if self._once is None:
            return None
        with changing(self._engine, self._actor, self._time_ns(), self._once) as change:
            self.replayed = change.answer is not None
            return None if change.answer is None else msgspec.json.decode(change.answer, type=kind)

    def note(self, action: str, target: str, after: object, answer: object) -> None:
        """Writes the audit entry of what was done elsewhere, and keeps what is answered."""
        with changing(self._engine, self._actor, self._time_ns(), self._once) as change:
            change.note(action, target, None, after)
            if change.answer is None:
                change.answer = msgspec.json.encode(answer)

    def erase_user(self, data: DataDir, user: str, seconds: float | None = None) -> Erased:
        """Erases a user (see ``erase.user``). What is only begun is not kept as an answer: the same call goes on."""
        known = self.answered(Erased)
        if known is not None:
            return known
        erased = UserErasure(self._engine, data, user, self._actor, time_ns=self._time_ns).erase(seconds)
        if self._once is not None and erased.done:
            with changing(self._engine, self._actor, self._time_ns(), self._once) as change:
                change.answer = msgspec.json.encode(erased)
        return erased

    def list_budgets(self, *, scope: str = "", member: str = "", past: bool = False) -> list[Budget]:
        """Returns limits' windows with what is used of them (see ``budgets.list_budgets``)."""
        return budgets.list_budgets(self._engine, self._time_ns(), scope=scope, member=member, past=past)

    def list_holders(self) -> list[Holder]:
        """Returns the workers that hold leases, the longest silent first."""
        with self._engine.connect() as connection:
            return budgets.list_holders(connection)

    def write_off(self, holder: str, *, free: bool = False, force: bool = False) -> WrittenOff:
        """Ends the leases of a worker whose machine is gone. Raises as ``budgets.write_off``."""
        return self._change(lambda change: budgets.write_off(change, holder, free=free, force=force), WrittenOff)

    # alerts

    def silence(self, plan: AlertPlan | None, rule: str, subject: str, until: str, reason: str) -> Silence:
        """Silences alerts. Raises as ``alert_silences.add_silence``; ``until`` as ``words.parse_end``."""

        def add(change: Change) -> Silence:
            end = parse_end(until, change.now_ns, "until")
            return alert_silences.add_silence(change, plan, rule, subject, end, reason, self._actor)

        return self._change(add, Silence)

    def unsilence(self, word: str) -> list[Silence]:
        """Ends silences by id or rule. Raises as ``alert_silences.end_silence``."""
        return self._change(lambda change: alert_silences.end_silence(change, word), list[Silence])

    def try_alert(self, event: AlertEvent, message: str, receivers: Sequence[str]) -> AlertEvent:
        """Puts a test into the outbox, for the recorder to deliver."""
        return self._change(lambda change: outbox.add_test(change, event, message, receivers), AlertEvent)

    # how

    def _change(self, operation: Callable[[Change], _T], kind: type[_T]) -> _T:
        with changing(self._engine, self._actor, self._time_ns(), self._once) as change:
            self.replayed = change.answer is not None
            if change.answer is not None:
                self._kept = (change.nonce, change.secret_digest)
                return msgspec.json.decode(change.answer, type=kind)
            result = operation(change)
            change.answer = msgspec.json.encode(result)
            return result

    def _with_secret(self, operation: Callable[[Change, bytes], KeyInfo]) -> NewKey:
        nonce = secrets.token_bytes(32) if self._once is not None and self._token else None
        # Before the transaction: others wait while that lasts.
        secret = keys.new_secret() if nonce is None else self._derived(nonce)

        def make(change: Change) -> KeyInfo:
            change.nonce, change.secret_digest = nonce, digest_of(secret)
            return operation(change, digest_of(secret))

        info = self._change(make, KeyInfo)
        return NewKey(self._again() if self.replayed else secret, info)

    def _again(self) -> str:
        """The secret that was told before. Stored is only what it was made with, beside the caller's own token."""
        nonce, digest = self._kept
        secret = self._derived(bytes(nonce)) if nonce is not None and self._token else ""
        if digest is None or digest_of(secret) != bytes(digest):
            raise BadRequest(
                "This was done before, and its key can be told only to the caller who had it made, with the same key; "
                "rotate it to get another.",
                code="secret_not_kept",
                param="Idempotency-Key",
            )
        return secret

    def _derived(self, nonce: bytes) -> str:
        """256 bits that only who holds token and nonce can make; slowly, for a token that somebody made up."""
        bits = hashlib.pbkdf2_hmac("sha256", self._token, b"headgate key" + nonce, _ROUNDS)
        return PREFIX + base64.urlsafe_b64encode(bits).rstrip(b"=").decode()
