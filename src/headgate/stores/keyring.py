"""The virtual keys in memory: a dict look-up per request, kept fresh by a thread that asks the store twice a second."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from headgate.core.call import Principal
from headgate.core.clock import Clock, SystemClock
from headgate.core.errors import ConfigError, Unavailable
from headgate.core.rule import LimitRule
from headgate.core.terms import Terms, allowed_models, has_role, lesser_role
from headgate.stores.database import Reader, open_reader

POLL_SECONDS = 0.5
GRACE_SECONDS = 600.0
ADMIN_VARIABLE = "HEADGATE_ADMIN_KEY"
_ADMIN_MIN = 16

_EPOCH_SQL = "SELECT value FROM epoch WHERE name = 'live'"
_ANY_SQL = "SELECT 1 FROM virtual_keys LIMIT 1"
_KEYS_SQL = (
    "SELECT k.digest, k.id, k.name, k.role, k.user_id, k.team, k.feature, k.models, k.direct, k.payloads,"
    " k.expires_ns, k.networks, k.required_tags, u.name, u.team, u.role"
    " FROM virtual_keys k LEFT JOIN users u ON u.id = k.owner WHERE k.revoked_ns IS NULL"
)
_LIMITS_SQL = "SELECT scope, value, unit, per, amount, priority, name FROM limits ORDER BY created_ns, id"
_OLD_SQL = "SELECT digest, key_id, expires_ns FROM old_secrets"
_ID, _EXPIRES = 1, 10
_NEVER = 1 << 63
_log = logging.getLogger("headgate.keys")


def digest_of(secret: str | bytes) -> bytes:
    """Returns the 32 bytes under which a key is stored."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).digest()


def any_key(url: str) -> bool:
    """Whether a key exists in a prepared database, revoked and expired ones counted.

    Raises:
        Unavailable: the database can not be read.
    """
    reader = open_reader(url)
    try:
        return bool(reader.query(_ANY_SQL))
    finally:
        reader.close()


class _Snapshot:
    """All keys as of one moment; a row becomes a Principal when its key is first seen."""

    __slots__ = ("empty", "known", "rows")

    def __init__(self, rows: dict[bytes, tuple[Any, ...]], *, empty: bool) -> None:
        self.rows = rows
        self.empty = empty
        self.known: dict[bytes, tuple[Principal, int]] = {}


class KeyRingCache:
    """Port ``KeyRing`` over the store.

    ``rules`` are the limits in the store.

    A change is seen within ``poll_seconds``. While the store does not answer, known keys stay valid for
    ``grace_seconds``; then all are refused, and keyless mode with them, for nobody knows any more what exists.

    Args:
        url: the database.
        admin_key: one more key, with the role ``admin``, that lives in memory only; "" for none.

    Raises:
        Unavailable: the store can not be read at start.
        ConfigError: the admin key is too short to be a secret.
    """

    def __init__(
        self,
        url: str,
        *,
        admin_key: str = "",
        clock: Clock | None = None,
        poll_seconds: float = POLL_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._url = url
        clock = clock or SystemClock()
        self._monotonic = clock.monotonic
        self._time_ns = clock.time_ns
        self._grace = grace_seconds
        self._poll_seconds = poll_seconds
        self._admin: dict[bytes, Principal] = {}
        self.set_admin_key(admin_key)
        self._reader: Reader | None = None
        self._epoch = -1
        self._snapshot = _Snapshot({}, empty=True)
        self._watcher: Callable[[], None] | None = None
        self.rules: tuple[LimitRule, ...] = ()
        self._valid_until = 0.0
        self._refreshing = threading.Lock()
        self.refresh()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="headgate-keys", daemon=True)
        self._thread.start()

    def set_admin_key(self, admin_key: str) -> None:
        """Makes this the one key that lives in memory only, instead of the one before; "" for none.

        Raises:
            ConfigError: it is too short to be a secret; the one before stays.
        """
        admin: dict[bytes, Principal] = {}
        if admin_key:
            if len(admin_key) < _ADMIN_MIN:
                raise ConfigError(
                    f"{ADMIN_VARIABLE} is too short to be a secret: give it {_ADMIN_MIN} characters or more"
                )
            admin[digest_of(admin_key)] = Principal("admin", ADMIN_VARIABLE, role="admin", direct=True)
        self._admin = admin

    def set_url(self, url: str) -> None:
        """Uses this URL for connections to the same database from now on: its password may be another."""
        self._url = url

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls ``changed`` (see the port)."""
        self._watcher = changed

    @property
    def empty(self) -> bool:
        """True while no key exists, revoked and expired ones counted (see the port)."""
        return self._snapshot.empty and not self._admin and self._monotonic() < self._valid_until

    @property
    def stale(self) -> bool:
        """True once the store has been away for longer than known keys stay valid."""
        return self._monotonic() >= self._valid_until

    def find(self, digest: bytes) -> Principal | None:
        """Returns whose key it is (see the port)."""
        snapshot = self._snapshot
        known = snapshot.known.get(digest)
        if known is None:
            row = snapshot.rows.get(digest)
            if row is None:
                return self._admin.get(digest)
            known = snapshot.known[digest] = (_principal(row), _NEVER if row[_EXPIRES] is None else row[_EXPIRES])
        if self._time_ns() >= known[1] or self._monotonic() >= self._valid_until:
            return self._admin.get(digest)
        return known[0]

    def refresh(self) -> None:
        """Asks the store now, on this thread; blocks while it answers.

        Raises:
            Unavailable: it does not answer.
        """
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        asked = self._monotonic()
        try:
            if self._reader is None:
                self._reader = open_reader(self._url)
            # The epoch first: a change made while the keys are read shows as a new epoch at the next poll.
            rows = self._reader.query(_EPOCH_SQL)
            epoch = int(rows[0][0]) if rows else 0
            if epoch != self._epoch:
                keys = self._reader.query(_KEYS_SQL)
                empty = not keys and not self._reader.query(_ANY_SQL)
                snapshot = _Snapshot(_rows(keys, self._reader.query(_OLD_SQL)), empty=empty)
                # After the keys, and in force before them: no new key is ever valid without its limits.
                self._take_rules(tuple(LimitRule(*row) for row in self._reader.query(_LIMITS_SQL)))
                self._snapshot = snapshot
                self._epoch = epoch
        except Unavailable:
            if self._reader is not None:
                self._reader.close()
            self._reader, self._epoch = None, -1
            raise
        self._valid_until = asked + self._grace

    def _take_rules(self, rules: tuple[LimitRule, ...]) -> None:
        if rules != self.rules:
            self.rules = rules
            if self._watcher is not None:
                self._watcher()

    def close(self) -> None:
        """Stops the thread and lets go of the store. Idempotent."""
        self._stop.set()
        reader = self._reader
        if reader is not None:
            reader.interrupt()  # a server that is frozen would keep the thread waiting
        self._thread.join()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _poll(self) -> None:
        away = False
        while not self._stop.wait(self._poll_seconds):
            try:
                self.refresh()
            except Unavailable as error:
                if not away:
                    _log.warning("keys can not be refreshed, known ones stay valid for %d s: %s", self._grace, error)
                away = True
            else:
                if away:
                    _log.warning("keys are fresh again")
                away = False


def _rows(keys: list[tuple[Any, ...]], old: list[tuple[Any, ...]]) -> dict[bytes, tuple[Any, ...]]:
    """The keys by digest; by that of an old secret too, until its end."""
    rows = {bytes(row[0]): row for row in keys}
    by_id = {row[_ID]: row for row in keys} if old else {}
    for digest, id, until in old:
        row = by_id.get(id)
        if row is not None:
            end = until if row[_EXPIRES] is None else min(until, row[_EXPIRES])
            rows[bytes(digest)] = (*row[:_EXPIRES], end, *row[_EXPIRES + 1 :])
    return rows


def _principal(row: tuple[Any, ...]) -> Principal:
    _, id, name, role, user, team, feature, models, direct, payloads, _, networks, tags, *owner = row
    owner_name, owner_team, owner_role = owner
    if owner_role is not None:
        role = lesser_role(role, owner_role)
    terms = None
    if networks is not None or tags is not None or not has_role(role, "developer"):
        terms = Terms(
            name,
            None if networks is None else msgspec.json.decode(networks, type=list[str]),
            () if tags is None else msgspec.json.decode(tags, type=list[str]),
            calls=has_role(role, "developer"),
        )
    return Principal(
        id,
        name,
        role=role,
        user=user or owner_name or "",
        team=team or owner_team or "",
        feature=feature,
        models=None if models is None else allowed_models(msgspec.json.decode(models, type=list[str])),
        direct=bool(direct),
        payloads=payloads,
        terms=terms,
    )
