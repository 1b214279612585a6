"""SqlLeases: leases in SQLite or Postgres, over their drivers alone, so that a worker need not load SQLAlchemy."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from headgate.core.errors import Unavailable
from headgate.core.leases import Ask, Renewal, Told
from headgate.stores.database import BUSY_SECONDS, sqlite_path
from headgate.stores.leases.decide import Lease, Standing, is_stale, renew
from headgate.stores.postgres import connect, first_line, require_driver, shown

SHORT_NS = 3 * 10**9
"""For so long after somebody lacked something, others give back at once what they hold idle."""

_T = TypeVar("_T")
_Statement = tuple[str, Sequence[Any]]


class Rows(NamedTuple):
    """A statement that is run for many rows: ``each`` takes one of them, ``all`` the columns of all, as arrays."""

    each: str
    all: str


_REGISTER = "INSERT INTO lease_holders (id, owner, opened_ns, renewed_ns) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING"
_LEAVE = Rows(
    "DELETE FROM lease_holders WHERE id = ?",
    "DELETE FROM lease_holders WHERE id = ANY(?::text[])",
)
_OPEN = (
    "INSERT INTO lease_windows (id, scope, member, unit, per, priority, start_ns, end_ns, amount, settled, held,"
    " presumed, short_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0) ON CONFLICT DO NOTHING"
)
_WINDOWS = "SELECT id, settled, held, short_ns FROM lease_windows WHERE id {} ORDER BY id"
_LEASES = "SELECT slot, granted, settled, reserved FROM lease_grants WHERE holder = ? AND slot {}"
_SHORT = (
    "SELECT w.id FROM lease_holders h JOIN lease_grants g ON g.holder = h.id JOIN lease_windows w ON w.id = g.window_id"
    f" WHERE h.id = ? AND w.short_ns > h.renewed_ns - {SHORT_NS}"
)


_SET = Rows(
    "UPDATE lease_windows SET settled = ?, held = ?, short_ns = ?, amount = ? WHERE id = ?",
    "UPDATE lease_windows w SET settled = v.settled, held = v.held, short_ns = v.short_ns, amount = v.amount"
    " FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::text[])"
    " AS v (settled, held, short_ns, amount, id) WHERE w.id = v.id",
)
_GRANTED = (
    " ON CONFLICT (holder, slot) DO UPDATE SET window_id = excluded.window_id, granted = excluded.granted,"
    " settled = excluded.settled, reserved = excluded.reserved"
)
_INTO = "INSERT INTO lease_grants (holder, slot, window_id, granted, settled, reserved) "
_GRANT = Rows(
    f"{_INTO}VALUES (?, ?, ?, ?, ?, ?){_GRANTED}",
    f"{_INTO}SELECT * FROM unnest(?::text[], ?::integer[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[]){_GRANTED}",
)
_DROP = Rows(
    "DELETE FROM lease_grants WHERE holder = ? AND slot = ?",
    "DELETE FROM lease_grants g USING unnest(?::text[], ?::integer[]) AS v (holder, slot)"
    " WHERE g.holder = v.holder AND g.slot = v.slot",
)


class Session(Protocol):
    """One connection, for transactions that write.

    Attributes:
        lock: what a SELECT ends in that keeps others from its rows.
        among: what stands behind a column that is one of many values, all of them one parameter; see ``many``.
    """

    lock: str
    among: str

    def many(self, values: Sequence[int] | Sequence[str]) -> object:
        """Returns the parameter for ``among``."""

    def beat(self, holder: str) -> _Statement:
        """Returns the statement that notes the store's clock as a holder's last sign of life, and returns it."""

    def read(self, questions: Sequence[_Statement]) -> list[list[tuple[Any, ...]]]:
        """Runs statements in order, in one round trip where there is one; returns each one's rows."""

    def write(self, statements: Sequence[tuple[Rows, Sequence[Sequence[Any]]]]) -> None:
        """Runs each statement for each of its rows, and commits, in one round trip where there is one."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Begins a transaction; what ``write`` has not committed is rolled back."""

    def close(self) -> None:
        """Closes the connection. Idempotent."""


class SqliteSession:
    """A ``Session`` on a SQLite file; notices when that is deleted or replaced."""

    lock = ""
    among = "IN (SELECT value FROM json_each(?))"

    def __init__(self, url: str) -> None:
        path = sqlite_path(url)
        assert path is not None
        self._path = path
        self._inode = os.stat(path).st_ino
        uri = f"{path.absolute().as_uri()}?mode=rw"
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA secure_delete=FAST")  # as ``database.open_engine``

    def many(self, values: Sequence[int] | Sequence[str]) -> object:
        """See ``Session``."""
        return msgspec.json.encode(values).decode()

    def beat(self, holder: str) -> _Statement:
        """See ``Session``."""
        return "UPDATE lease_holders SET renewed_ns = ? WHERE id = ? RETURNING renewed_ns", (time.time_ns(), holder)

    def read(self, questions: Sequence[_Statement]) -> list[list[tuple[Any, ...]]]:
        """See ``Session``."""
        return [self._connection.execute(sql, values).fetchall() for sql, values in questions]

    def write(self, statements: Sequence[tuple[Rows, Sequence[Sequence[Any]]]]) -> None:
        """See ``Session``."""
        for sql, rows in statements:
            self._connection.executemany(sql.each, rows)
        self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See ``Session``; nobody else's writes come between."""
        if os.stat(self._path).st_ino != self._inode:
            raise FileNotFoundError(f"{self._path} was replaced")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """See ``Session``."""
        self._connection.close()


class PostgresSession:
    """A ``Session`` on a Postgres: a transaction takes two round trips, its beginning included."""

    lock = " FOR UPDATE"
    among = "= ANY(?)"

    def __init__(self, url: str, seconds: float = 8.0) -> None:
        self._connection = connect(url, autocommit=True)
        patience = int(seconds * 1000)
        self._connection.execute(f"SET statement_timeout = {patience}; SET lock_timeout = {patience}".encode())
        self._begin = False

    def many(self, values: Sequence[int] | Sequence[str]) -> object:
        """See ``Session``."""
        return list(values)

    def beat(self, holder: str) -> _Statement:
        """See ``Session``."""
        clock = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
        return f"UPDATE lease_holders SET renewed_ns = {clock} WHERE id = ? RETURNING renewed_ns", (holder,)

    def read(self, questions: Sequence[_Statement]) -> list[list[tuple[Any, ...]]]:
        """See ``Session``."""
        # Answers are fetched behind the pipeline's end: asking for them within would be a round trip of its own.
        with self._connection.pipeline():
            self._begun()
            cursors = [self._connection.execute(_named(sql), values) for sql, values in questions]
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

    def write(self, statements: Sequence[tuple[Rows, Sequence[Sequence[Any]]]]) -> None:
        """See ``Session``."""
        with self._connection.pipeline():
            self._begun()
            for sql, rows in statements:
                if rows:
                    self._connection.execute(_named(sql.all), [list(column) for column in zip(*rows, strict=True)])
            self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See ``Session``."""
        self._begin = True
        try:
            yield
        finally:
            self._begin = False
            if not self._connection.closed and self._connection.info.transaction_status:
                self._connection.execute("ROLLBACK")

    def _begun(self) -> None:
        if self._begin:
            self._begin = False
            self._connection.execute("BEGIN")

    def close(self) -> None:
        """See ``Session``."""
        self._connection.close()


def open_session(url: str) -> Session:
    """Opens a connection. Raises what the drivers raise."""
    return SqliteSession(url) if sqlite_path(url) is not None else PostgresSession(url)


class SqlLeases:
    """A ``core.leases.Leases`` for one worker.

    Args:
        url: the database's.
        holder: the worker's id, another one in each of its lives.
        owner: the id of its data directory, whose recorder closes what it leaves behind when it is killed.
    """

    def __init__(self, url: str, holder: str, owner: str) -> None:
        self._url = url
        self._holder = holder
        self._owner = owner
        self._registered = False
        self._known: set[str] = set()
        self._session: Session | None = None
        errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
        if sqlite_path(url) is None:
            errors = (require_driver(url).Error, OSError)
        self._errors = errors

    def set_url(self, url: str) -> None:
        """Uses this URL for the same database, from the next connection on."""
        self._url = url

    def renew(self, asks: Sequence[Ask]) -> Renewal:
        """See the port. However many asks there are, they go in one transaction."""
        return self._guarded(lambda session: self._renew(session, asks))

    def close(self, asks: Sequence[Ask]) -> None:
        """See the port."""
        if self._registered:
            last = [msgspec.structs.replace(ask, close=True) for ask in asks]
            self._guarded(lambda session: self._leave(session, last))
            self._registered = False
        self.disconnect()

    def disconnect(self) -> None:
        """Closes the connection; the next question opens another."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _guarded(self, act: Callable[[Session], _T]) -> _T:
        try:
            if self._session is None:
                self._session = open_session(self._url)
            return act(self._session)
        except self._errors as error:
            where = self._url if sqlite_path(self._url) is not None else shown(self._url)
            with contextlib.suppress(*self._errors):
                self.disconnect()
            message = f"the database {where} does not answer for limits: {first_line(error)}"
            raise Unavailable(message, code="limits_unavailable", retry_after=1.0) from error

    def _leave(self, session: Session, asks: Sequence[Ask]) -> None:
        self._renew(session, asks)
        with session.transaction():
            session.write([(_LEAVE, [(self._holder,)])])

    def _renew(self, session: Session, asks: Sequence[Ask]) -> Renewal:
        with session.transaction():
            renewal = self._transact(session, asks)
        return Renewal(now_ns=time.time_ns(), told=[], lost=True) if renewal is None else renewal

    def _transact(self, session: Session, asks: Sequence[Ask]) -> Renewal | None:
        """One transaction; None where the store does not know this holder any more."""
        questions: list[_Statement] = []
        if not self._registered:
            questions.append((_REGISTER, (self._holder, self._owner, time.time_ns())))
        fresh = {ask.id: ask for ask in asks if ask.id not in self._known and not ask.close}
        for id in sorted(fresh):
            key = fresh[id].window
            words = (key.scope, key.member, key.unit, key.per, key.priority)
            questions.append((_OPEN, (id, *words, key.start_ns, key.end_ns, fresh[id].limit)))
        questions.append(session.beat(self._holder))
        ids = sorted({ask.id for ask in asks})
        questions.append((_SHORT, (self._holder,)))
        if asks:
            slots = session.many([ask.slot for ask in asks])
            questions.append((_WINDOWS.format(session.among) + session.lock, (session.many(ids),)))
            questions.append((_LEASES.format(session.among), (self._holder, slots)))
        answers = session.read(questions)
        rest = answers[-4:] if asks else [*answers[-2:], [], []]
        beat, short, windows, leases = rest
        if not beat:
            # Whatever was opened in this transaction is rolled back with it.
            self._registered = False
            self._known.clear()
            return None
        now = int(beat[0][0])
        told = self._decide(session, asks, windows, leases, now)
        self._registered = True
        self._known.update(fresh)
        if len(self._known) > 100_000:
            self._known.clear()
        return Renewal(now_ns=now, told=told, short=[row[0] for row in short])

    def _decide(
        self,
        session: Session,
        asks: Sequence[Ask],
        windows: Sequence[tuple[Any, ...]],
        leases: Sequence[tuple[Any, ...]],
        now: int,
    ) -> list[Told]:
        """Answers asks over the rows that were read, and writes what comes of it."""
        standings = {row[0]: Standing(*(int(value) for value in row[1:])) for row in windows}
        held = {row[0]: Lease(*row[1:]) for row in leases}
        told, grants, drops, changed = [], [], [], {}
        for ask in asks:
            if is_stale(ask, now):
                ask = msgspec.structs.replace(ask, want=0)
            standing, lease, given = renew(standings.get(ask.id, Standing()), held.get(ask.slot), ask, now)
            standings[ask.id] = standing
            changed[ask.id] = ask.limit
            if lease is None:
                drops.append((self._holder, ask.slot))
            else:
                held[ask.slot] = lease
                grants.append((self._holder, ask.slot, ask.id, lease.granted, lease.settled, lease.reserved))
            told.append(Told(given, standing.settled, ask.limit - standing.settled - standing.held))
        sets = [(*msgspec.structs.astuple(standings[id]), amount, id) for id, amount in sorted(changed.items())]
        session.write([(_SET, sets), (_GRANT, grants), (_DROP, drops)])
        return told


def _named(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()
