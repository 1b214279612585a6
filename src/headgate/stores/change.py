"""A Change: one transaction that changes what the gateway obeys, with its audit entry; done once, however often asked.

Every change of keys, people and teams (and of whatever else an admin may change) goes through ``changing``.
Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from headgate.core.errors import BadRequest, Unavailable
from headgate.stores.audit import AuditWriter
from headgate.stores.epoch import bump_epoch
from headgate.stores.schema import answered

KEPT_NS = 24 * 3600 * 10**9
"""How long an answer to a call with an idempotency key is kept."""


class Once(msgspec.Struct, frozen=True):
    """What makes a call that may be sent twice one and the same.

    ``caller`` says whose key it is, ``key`` is theirs to choose, ``request`` is the whole of what they ask.
    """

    caller: str
    key: str
    request: bytes


class Change:
    """A transaction under way.

    Attributes:
        connection: where to change things.
        now_ns: its moment, in ns since 1970.
        answer: what was answered before to the same call, as JSON; None for a new one. Set it to be kept.
        nonce, secret_digest: what a secret in that answer was made with, and its hash; None without one.
    """

    def __init__(self, connection: Connection, actor: str, now_ns: int) -> None:
        self.connection = connection
        self.now_ns = now_ns
        self.answer: bytes | None = None
        self.nonce: bytes | None = None
        self.secret_digest: bytes | None = None
        self.noted = False
        self._actor = actor
        self._log = AuditWriter(connection)

    def note(self, action: str, target: str, before: Any, after: Any) -> None:
        """Writes the audit entry of one thing that is changed: structs without secrets, None for nothing."""
        self._log.append(self.now_ns, self._actor, action, target, before, after)
        self.noted = True


@contextmanager
def changing(engine: Engine, actor: str, now_ns: int, once: Once | None = None) -> Iterator[Change]:
    """Opens a Change; its end commits all of it, an error none. Workers then know within a second.

    Raises:
        BadRequest: ``once`` names a call that asked for something else (``idempotency_conflict``).
        Unavailable: the database does not answer.
    """
    try:
        with engine.begin() as connection:
            change = Change(connection, actor, now_ns)
            row = None if once is None else _find(connection, once, now_ns)
            if row is not None:
                change.answer = row.answer.encode()
                change.nonce, change.secret_digest = row.nonce, row.secret_digest
            yield change
            if once is not None and row is None and change.answer is not None:
                _keep(change, once)
            if change.noted:
                bump_epoch(connection)
    except SQLAlchemyError as error:
        # Its own words may hold what was to be written.
        cause = getattr(error, "orig", None) or error
        raise Unavailable(
            f"the database does not answer ({type(cause).__name__}); nothing was changed", code="store_unavailable"
        ) from error


def _find(connection: Connection, once: Once, now_ns: int) -> Row[Any] | None:
    connection.execute(delete(answered).where(answered.c.time_ns < now_ns - KEPT_NS))
    mine = (answered.c.caller == once.caller) & (answered.c.key_hash == _hash(once.key.encode()))
    row = connection.execute(select(answered).where(mine)).one_or_none()
    if row is not None and bytes(row.request_hash) != _hash(once.request):
        raise BadRequest(
            "This Idempotency-Key was sent before with another request; choose a new one for each change.",
            code="idempotency_conflict",
            param="Idempotency-Key",
        )
    return row


def _keep(change: Change, once: Once) -> None:
    change.connection.execute(
        insert(answered).values(
            caller=once.caller,
            key_hash=_hash(once.key.encode()),
            request_hash=_hash(once.request),
            time_ns=change.now_ns,
            answer=(change.answer or b"").decode(),
            nonce=change.nonce,
            secret_digest=change.secret_digest,
        )
    )


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
