"""Erases one end user from a store: what calls said, heard and were named by; counts, times and money stay.

Begun in one transaction, after which nothing of the user comes in any more (see ``erase.erasures``); then call by call
in small ones. Whoever is killed in between begins again, and comes to the same end. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, bindparam, func, select, update

from headgate.core.errors import BadRequest, Unavailable
from headgate.stores import rollups
from headgate.stores.change import changing
from headgate.stores.data import DataDir
from headgate.stores.database import chunks
from headgate.stores.erase import space
from headgate.stores.erase.alerts import count_alerts, erase_alerts
from headgate.stores.erase.calls import forget_calls
from headgate.stores.erase.erasures import hold_alone, mark
from headgate.stores.erase.files import Aside, count_aside, erase_aside
from headgate.stores.journal.framing import PREFIX_SIZE
from headgate.stores.journal.segments import list_segments
from headgate.stores.leases.closing import erase_windows
from headgate.stores.redaction import open_redactor
from headgate.stores.rows import COLUMNS, STRIPPED, is_erased, strip, to_record, to_row
from headgate.stores.schema import (
    calls,
    days,
    feedback,
    hours,
    lease_windows,
    limits,
    payloads,
    tapes,
    users,
    virtual_keys,
)
from headgate.stores.sweep import SWEEP_LOCK

LONGEST = 4096
_BATCH = 200
_STRIP = update(calls).where(calls.c.n == bindparam("at")).values({name: bindparam(name) for name in STRIPPED})


class Traces(msgspec.Struct):
    """What there is, or was, of one user, by kind.

    Attributes:
        calls: stripped of the user, of what they said and of what they were named by; the rows stay.
        payloads, tapes, feedback: of these calls, deleted.
        rollups: rows by hour and day, given to nobody.
        windows: of limits, their name taken off.
        alerts: states, events and silences, deleted.
        files: lines and files in the journal that could not be stored, overwritten.
    """

    calls: int = 0
    payloads: int = 0
    tapes: int = 0
    feedback: int = 0
    rollups: int = 0
    windows: int = 0
    alerts: int = 0
    files: int = 0

    def __bool__(self) -> bool:
        return any(msgspec.structs.astuple(self))


class Kept(msgspec.Struct):
    """What names the user and is not erased: what an admin set up, and files that nobody can read.

    Attributes:
        keys: that are bound to the user. limits: set for the user. people: with that name.
        unreadable: files of damaged bytes (``*.corrupt``) in this data directory, which may be of anybody.
    """

    keys: int = 0
    limits: int = 0
    people: int = 0
    unreadable: int = 0


class Erased(msgspec.Struct):
    """What an erase, or a look before one, found.

    Attributes:
        id: what the audit log calls it, "" for a look.
        found: what there is, or what was erased.
        kept: what is left to an admin.
        done: False where the time was over before all was erased: erase again, to go on.
        overwritten: False where SQLite's log was in use, and holds pages of before until it is next emptied.
        journal: segments of this data directory's journal that hold something; a running gateway's, for a minute.
    """

    id: str
    found: Traces
    kept: Kept
    done: bool = True
    overwritten: bool = True
    journal: int = 0


def check_user(user: str) -> str:
    """Returns a user's id as it is looked for: as it was sent, sign by sign.

    Raises:
        BadRequest: it is empty, or can be nobody's (``invalid_value``).
    """
    if not user:
        message = "user must be the id that calls were made for; calls without one are nobody's, and can not be erased"
        raise BadRequest(message, code="invalid_value", param="user")
    try:
        user.encode()
    except UnicodeEncodeError:
        raise BadRequest("user is no text: it has half a sign in it", code="invalid_value", param="user") from None
    if len(user) > LONGEST or "\x00" in user:
        message = f"user must be at most {LONGEST} characters, and none of them NUL"
        raise BadRequest(message, code="invalid_value", param="user")
    return user


class UserErasure:
    """Erases one user, or tells what there is of them.

    Args:
        engine: the store.
        data: the data directory, whose journal has what could not be stored.
        user: the id that calls were made for, as ``check_user`` returns it.
        actor: who erases, for the audit log.
        time_ns: the clock.
    """

    def __init__(
        self, engine: Engine, data: DataDir, user: str, actor: str, *, time_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._engine = engine
        self._data = data
        self._actor = actor
        self._time_ns = time_ns
        # A name that looks like somebody's key stands in the store under its pseudonym.
        self._users = sorted({user, open_redactor(data.path).name(user)})

    def look(self) -> Erased:
        """Returns what there is; changes nothing."""
        with self._engine.connect() as connection:
            found = self._count(connection)
            aside = count_aside(self._data.journal_path, self._users, self._theirs)
            found.files = aside.theirs
            return Erased("", found, self._kept(connection, aside), journal=self._segments())

    def erase(self, seconds: float | None = None) -> Erased:
        """Erases, and notes it in the audit log: that it began, with what there was, and what was erased.

        Args:
            seconds: for how long to go on with calls; None for as long as it takes.

        Raises:
            Unavailable: the database does not answer; what is erased is erased, another try goes on.
                So too where a file in the journal can not be written (``erase_incomplete``).
        """
        until = None if seconds is None else time.monotonic() + seconds
        id = "erasure_" + secrets.token_hex(8)
        done, edge = self._begin(id)
        more = True
        while more and (until is None or time.monotonic() < until):
            more = self._some_calls(done, edge)
        aside = self._files()
        done.files = aside.theirs
        self._end(id, done)
        overwritten = not more and space.overwrite(self._engine)
        with self._engine.connect() as connection:
            return Erased(id, done, self._kept(connection, aside), not more, overwritten, self._segments())

    def _segments(self) -> int:
        return sum(size > PREFIX_SIZE for _, size in list_segments(self._data.journal_path))

    def _files(self) -> Aside:
        try:
            return erase_aside(self._data.journal_path, self._users, self._theirs)
        except OSError as error:
            message = (
                f"{error.filename} can not be erased ({error.strerror}): see that it can be written, and erase again"
            )
            raise Unavailable(message, code="erase_incomplete") from error

    def _begin(self, id: str) -> tuple[Traces, int]:
        """Everything that began before this moment goes: what is stored up to the number returned, and what is not."""
        with changing(self._engine, self._actor, self._time_ns()) as change:
            connection = change.connection
            hold_alone(connection)
            space.thorough(connection)
            mark(connection, self._users, id, self._time_ns())
            change.note("user.erase", id, None, self._count(connection))
            done = Traces()
            self._erase_names(connection, done)
            edge = connection.execute(select(func.coalesce(func.max(calls.c.n), 0))).scalar_one()
        return done, int(edge)

    def _end(self, id: str, done: Traces) -> None:
        """Once more: what workers and alerts had in hand when it began has been written by now."""
        with changing(self._engine, self._actor, self._time_ns()) as change:
            hold_alone(change.connection)
            space.thorough(change.connection)
            self._erase_names(change.connection, done)
            if done:
                change.note("user.erased", id, None, done)

    def _erase_names(self, connection: Connection, done: Traces) -> None:
        for user in self._users:
            done.rollups += rollups.erase(connection, "user", user)
            done.windows += erase_windows(connection, user)
        done.alerts += erase_alerts(connection, self._users)

    def _some_calls(self, done: Traces, edge: int) -> bool:
        """Strips some calls, and deletes what hangs on them. Returns whether there may be more."""
        c = calls.c
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two who delete at a time would wait for each other's rows.
                connection.execute(select(func.pg_advisory_xact_lock(SWEEP_LOCK)))
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            query = select(calls).where(c.user_id.in_(self._users), c.n <= edge).limit(_BATCH)
            rows = connection.execute(query).mappings().all()
            if not rows:
                return False
            gone = forget_calls(connection, [row["id"] for row in rows])
            done.payloads += gone.payloads
            done.tapes += gone.tapes
            done.feedback += gone.feedback
            connection.execute(_STRIP, [_stripped(row) for row in rows])
            done.calls += len(rows)
        return len(rows) == _BATCH

    def _count(self, connection: Connection) -> Traces:
        c = calls.c
        theirs = select(c.id).where(c.user_id.in_(self._users))
        number = rollups.dimension_of("user")
        words = [rollups.clean_word(user) for user in self._users]
        count = functools.partial(_count, connection)
        return Traces(
            calls=count(calls, c.user_id.in_(self._users)),
            payloads=count(payloads, payloads.c.call_id.in_(theirs)),
            tapes=count(tapes, tapes.c.call_id.in_(theirs)),
            feedback=count(feedback, feedback.c.call_id.in_(theirs)),
            rollups=sum(count(t, t.c.dimension == number, t.c.value.in_(words)) for t in (hours, days)),
            windows=count(lease_windows, lease_windows.c.scope == "user", lease_windows.c.member.in_(self._users)),
            alerts=count_alerts(connection, self._users),
        )

    def _kept(self, connection: Connection, aside: Aside) -> Kept:
        count = functools.partial(_count, connection)
        return Kept(
            keys=count(virtual_keys, virtual_keys.c.user_id.in_(self._users)),
            limits=count(limits, limits.c.scope == "user", limits.c.value.in_(self._users)),
            people=count(users, users.c.name.in_(self._users)),
            unreadable=aside.unknown,
        )

    def _theirs(self, ids: Collection[str]) -> Collection[str]:
        """Which of these calls are the user's, or were somebody's who was erased."""
        c = calls.c
        found = set()
        with self._engine.connect() as connection:
            for some in chunks(sorted(ids)):
                for row in connection.execute(select(c.id, c.user_id, c.detail).where(c.id.in_(some))):
                    if row.user_id in self._users or is_erased(row.detail):
                        found.add(row.id)
        return found


def _count(connection: Connection, table: Any, *where: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _stripped(row: Any) -> dict[str, Any]:
    record = to_record(row)
    strip(record)
    values = dict(zip(COLUMNS, to_row(record), strict=True))
    return {"at": row["n"], **{name: values[name] for name in STRIPPED}}
