"""The audit log: who changed what and when, each entry sealed by a hash over itself and the one before it.

An entry's ``hash`` is the SHA-256, in hex, of the compact JSON array ``[1, seq, time_ns, actor, action, target, before,
after, previous]``; ``previous`` is the hash of entry ``seq - 1``, 64 zeros for the first. Anybody can recompute it.
Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from headgate.core.errors import BadRequest, ConfigError
from headgate.stores.schema import audit_log, epoch

GENESIS = "0" * 64
PAGE = 1000
_COUNTER = "audit"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True):
    """One change. ``actor`` is a key's id, ``cli:USER`` or ``keyless``; ``before`` and ``after`` are JSON texts without
    secrets, None where there was nothing, or is nothing any more. ``time_ns`` in ns since 1970."""

    seq: int
    time_ns: int
    actor: str
    action: str
    target: str
    before: str | None
    after: str | None
    previous: str
    hash: str

    def sealed(self) -> str:
        """Returns the hash that its content asks for."""
        fields = msgspec.structs.astuple(self)[:-1]
        return hashlib.sha256(_encode([1, *fields])).hexdigest()


class Verdict(msgspec.Struct, frozen=True):
    """What a look at the whole log found: ``whole``, or ``broken_at`` and ``reason``.

    ``entries`` are those found in order; ``head`` is the hash of the last of them.
    """

    whole: bool
    entries: int
    head: str
    broken_at: int | None = None
    reason: str = ""


class AuditWriter:
    """Appends to the log inside a transaction, alone: made first, it makes other writers wait until that ends."""

    def __init__(self, connection: Connection) -> None:
        """Raises:
        ConfigError: the database was changed by hand.
        """
        self._connection = connection
        # A write before any read: on SQLite it takes the file's write lock, on Postgres this row's.
        done = connection.execute(update(epoch).where(epoch.c.name == _COUNTER).values(value=epoch.c.value))
        if done.rowcount != 1:
            raise ConfigError("the database has no counter of the audit log: its schema was changed by hand")
        self._seq, self._hash = _last(connection)

    def append(self, time_ns: int, actor: str, action: str, target: str, before: Any, after: Any) -> None:
        """Seals one entry; ``before`` and ``after`` are structs without secrets, or None."""
        unsealed = Entry(self._seq + 1, time_ns, actor, action, target, _text(before), _text(after), self._hash, "")
        entry = msgspec.structs.replace(unsealed, hash=unsealed.sealed())
        self._connection.execute(insert(audit_log).values(msgspec.structs.asdict(entry)))
        self._connection.execute(update(epoch).where(epoch.c.name == _COUNTER).values(value=entry.seq))
        self._seq, self._hash = entry.seq, entry.hash


def head_of(engine: Engine) -> str:
    """Returns the hash of the newest entry: note it elsewhere, and ``verify`` proves that nothing before it changed."""
    with engine.connect() as connection:
        return _last(connection)[1]


def list_entries(engine: Engine, limit: int, before: int | None = None) -> list[Entry]:
    """Returns at most ``limit`` entries, newest first, older than the entry with the number ``before``."""
    query = select(audit_log).order_by(audit_log.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(audit_log.c.seq < before)
    with engine.connect() as connection:
        return [Entry(*row) for row in connection.execute(query)]


def verify(engine: Engine, head: str = "") -> Verdict:
    """Recomputes the whole chain: no entry edited, removed, inserted or moved.

    Args:
        engine: the store.
        head: a hash noted earlier, which must be in the chain; that finds a cut end, and a chain made anew.

    Raises:
        BadRequest: ``head`` is no hash.
    """
    wanted = head.strip().lower()
    if wanted and not _HASH.fullmatch(wanted):
        raise BadRequest("a head is the 64 hex digits that `headgate audit head` prints", param="head")
    count, last, met = 0, GENESIS, wanted in ("", GENESIS)
    with engine.connect() as connection:
        # Before the entries: what is added meanwhile only makes the log longer than it says.
        counted = connection.execute(select(epoch.c.value).where(epoch.c.name == _COUNTER)).scalar() or 0
        while page := _page(connection, count):
            for entry in page:
                reason = _wrong(entry, count + 1, last)
                if reason:
                    return Verdict(False, count, last, count + 1, reason)
                count, last = entry.seq, entry.hash
                met = met or last == wanted
    if count < counted:
        return Verdict(False, count, last, count + 1, f"the log ends at entry {count}, but {counted} were written")
    if not met:
        return Verdict(False, count, last, None, "the head is not in the log: its end was cut off, or it was rewritten")
    return Verdict(True, count, last)


def _page(connection: Connection, after: int) -> list[Entry]:
    query = select(audit_log).order_by(audit_log.c.seq).limit(PAGE)
    if after:
        query = query.where(audit_log.c.seq > after)
    return [Entry(*row) for row in connection.execute(query)]


def _wrong(entry: Entry, seq: int, last: str) -> str:
    if entry.seq != seq:
        return f"entry {seq} is missing" if entry.seq > seq else f"entry {entry.seq} does not belong there"
    if entry.sealed() != entry.hash:
        return f"entry {seq} was edited"
    return "" if entry.previous == last else f"entry {seq} does not follow entry {seq - 1}"


def _last(connection: Connection) -> tuple[int, str]:
    c = audit_log.c
    row = connection.execute(select(c.seq, c.hash).order_by(c.seq.desc()).limit(1)).one_or_none()
    return (row.seq, row.hash) if row is not None else (0, GENESIS)


def _text(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()
