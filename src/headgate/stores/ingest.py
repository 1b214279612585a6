"""Batches of journal entries into SQL: rows and the offsets behind them in one transaction, every id once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, Engine, Table, delete, select

from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.core.tape import TapesEntry, encode_tapes
from headgate.guards.redactor import Redactor
from headgate.stores.backlog import RollupBacklog
from headgate.stores.database import chunks, insert_new
from headgate.stores.erase.calls import forget_calls
from headgate.stores.erase.erasures import ErasedMeanwhile, Erasures
from headgate.stores.feedback_rows import FEEDBACK_COLUMNS, feedback_row
from headgate.stores.journal.framing import PayloadEntry
from headgate.stores.payloads import Payload, PayloadWriter, clean_payload
from headgate.stores.redaction import clean_all, clean_feedback
from headgate.stores.rollups import RollupWriter, Tally
from headgate.stores.rows import COLUMNS, fit_row, to_row
from headgate.stores.schema import calls, feedback, journal_offsets, tapes

_log = logging.getLogger("headgate.recorder")
# What a row itself can be blamed for; a database that is read-only or lacks a table refuses rows, too, for a while.
_Refused = (sqlalchemy.exc.DataError, sqlalchemy.exc.IntegrityError, OverflowError)


class _Statement:
    """An INSERT compiled once, run for many rows through the driver's own executemany."""

    def __init__(self, engine: Engine, table: Table, columns: Sequence[str], update: Sequence[str] = ()) -> None:
        statement = insert_new(engine, table).values({name: sqlalchemy.bindparam(name) for name in columns})
        if update:
            changed = {name: statement.excluded[name] for name in update}
            statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
        else:
            statement = statement.on_conflict_do_nothing()
        compiled = statement.compile(engine)
        self._sql = str(compiled)
        self._columns = tuple(columns)
        order = compiled.positiontup
        self._order = (
            None if order is None or tuple(order) == self._columns else [columns.index(name) for name in order]
        )
        self._named = order is None

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Returns how many rows were written; one that was there already and is not to be changed is none."""
        values: Any = rows
        if self._named:
            values = [dict(zip(self._columns, row, strict=True)) for row in rows]
        elif self._order is not None:
            values = [tuple(row[i] for i in self._order) for row in rows]
        return connection.exec_driver_sql(self._sql, values).rowcount


class _KnownError(Exception):
    """Some calls of a batch are in the database already."""


class _Batch(NamedTuple):
    """What one transaction writes, as rows; ``records`` are those that ``calls`` were made of.

    ``erased`` are ids of calls of which nothing else may be there.
    """

    records: Sequence[Record] = ()
    calls: Sequence[tuple[Any, ...]] = ()
    payloads: Sequence[Payload] = ()
    feedback: Sequence[tuple[Any, ...]] = ()
    offsets: Sequence[tuple[Any, ...]] = ()
    tapes: Sequence[tuple[Any, ...]] = ()
    erased: Sequence[str] = ()


class _Copy:
    """A COPY into a Postgres table: a sixth of the recorder's and half of the server's time that INSERTs take.

    It knows no ON CONFLICT: one row that is there already fails the whole batch, which then goes by INSERT.
    """

    def __init__(self, engine: Engine, table: Table, columns: Sequence[str]) -> None:
        self._sql = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
        self._dialect = engine.dialect
        self._error = engine.dialect.loaded_dbapi.Error

    def run(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        cursor: Any = connection.connection.cursor()
        try:
            with cursor.copy(self._sql) as copy:
                for row in rows:
                    copy.write_row(row)
        except self._error as error:
            wrap = sqlalchemy.exc.DBAPIError.instance
            raise wrap(self._sql, None, error, self._error, True, dialect=self._dialect) from error
        finally:
            cursor.close()


class Ingest:
    """Writes to the store on behalf of one data directory.

    Args:
        engine: the database, its schema up to date.
        owner: the data directory's id; offsets are kept under it.
        redactor: takes out what is private before anything is written; None for one whose pseudonyms end with it.

    Attributes:
        tally: what the last batch's new calls came to, until the next one; None where it had none.
    """

    def __init__(self, engine: Engine, owner: str, redactor: Redactor | None = None) -> None:
        self.engine = engine
        self._owner = owner
        self._calls = _Statement(engine, calls, COLUMNS)
        self._copy = _Copy(engine, calls, COLUMNS) if engine.dialect.name == "postgresql" else None
        self._payloads = PayloadWriter(engine)
        self._redactor = redactor or Redactor(os.urandom(32))
        self._feedback = _Statement(engine, feedback, FEEDBACK_COLUMNS)
        self._tapes = _Statement(engine, tapes, ("call_id", "stored_ns", "tapes"))
        self._offsets = _Statement(engine, journal_offsets, ("segment", "owner", "position"), update=("position",))
        self._rollups = RollupWriter(engine, owner)
        self._erasures = Erasures(engine)
        self.tally: Tally | None = None
        self._backlog = RollupBacklog(engine, self._rollups)

    def positions(self) -> dict[str, int]:
        """Returns how far each of this directory's segments has been read."""
        c = journal_offsets.c
        with self.engine.connect() as connection:
            rows = connection.execute(select(c.segment, c.position).where(c.owner == self._owner))
            return {row.segment: row.position for row in rows}

    def store(
        self,
        records: Sequence[Record],
        bodies: Sequence[PayloadEntry],
        positions: dict[str, int],
        quarantine: Callable[[object], None],
        judgements: Sequence[Feedback] = (),
        heard: Sequence[TapesEntry] = (),
    ) -> None:
        """Redacts a batch, and writes it and the offsets behind it in one transaction. Ids that are there stay so.

        What is of people who were erased after it began is stripped or dropped (see ``erase.erasures``).

        Args:
            records: Records, in the journal's order.
            bodies: payloads.
            positions: offset behind the last entry taken, by segment.
            quarantine: takes what the database will not hold in any form.
            judgements: feedback.
            heard: what failed attempts have heard.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away or locked; nothing is written.
        """
        users = [record.user for record in records]
        clean_all(self._redactor, records)
        if self._erasures.seen < 0:
            self._erasures.look()
        while True:
            try:
                self._store(users, records, bodies, positions, quarantine, judgements, heard)
                return
            except ErasedMeanwhile:
                self._erasures.look()

    def _store(
        self,
        users: Sequence[str],
        records: Sequence[Record],
        bodies: Sequence[PayloadEntry],
        positions: dict[str, int],
        quarantine: Callable[[object], None],
        judgements: Sequence[Feedback],
        heard: Sequence[TapesEntry],
    ) -> None:
        erasures = self._erasures
        erased = erasures.sift(records, users)
        bodies = erasures.keep(bodies, [body.call_id for body in bodies], erased)
        judgements = erasures.keep(judgements, [judgement.call_id for judgement in judgements], erased)
        heard = erasures.keep(heard, [one.call_id for one in heard], erased)
        judgements = [clean_feedback(self._redactor, judgement) for judgement in judgements]
        packed = (clean_payload(self._redactor, body) for body in bodies)
        batch = _Batch(
            records,
            [to_row(record) for record in records],
            [payload for payload in packed if payload is not None],
            [feedback_row(judgement) for judgement in judgements],
            [(segment, self._owner, position) for segment, position in positions.items()],
            [(one.call_id, time.time_ns(), encode_tapes(one.tapes)) for one in heard],
            sorted(erased),
        )
        self.tally = None
        self._rollups.open()
        try:
            if self._copy is not None and self._copied(batch):
                return
            try:
                self._stored(batch)
            except (*_Refused, _KnownError) as error:
                name = type(error).__name__
                _log.error("the database refused a batch of %d, each goes by itself: %s", len(records), name)
                self._reopen()
                self._store_each(batch, judgements, heard, quarantine)
        except BaseException:
            self._rollups.forget()
            raise

    def catch_up(self) -> int:
        """Adds some calls of an older release to the rollups. Returns how many; 0 once there are none left."""
        return self._backlog.step()

    def fold(self) -> bool:
        """Makes one day of its hours, if one is over. Returns whether it did."""
        return self._rollups.fold(time.time_ns())

    def forget(self, segments: Iterable[str]) -> None:
        """Drops the offsets of segments whose files are gone."""
        names = list(segments)
        c = journal_offsets.c
        with self.engine.begin() as connection:
            for some in chunks(names):
                connection.execute(delete(journal_offsets).where(c.owner == self._owner, c.segment.in_(some)))

    def _copied(self, batch: _Batch) -> bool:
        """Whether the quick way took the whole batch; False where a row is there already, or refused."""
        assert self._copy is not None
        try:
            with self._begin() as connection:
                if batch.calls:
                    self._copy.run(connection, batch.calls)
                    self.tally = self._rollups.add(connection, batch.records)
                self._write(connection, batch._replace(calls=()))
        except _Refused:
            self._reopen()
            return False
        return True

    def _stored(self, batch: _Batch) -> None:
        """Writes a batch; of calls of which some are there already, those that are new."""
        try:
            with self._begin() as connection:
                self._write(connection, batch)
        except _KnownError:
            self._reopen()
            fresh = self._unknown(batch.records)
            with self._begin() as connection:
                self._write(connection, batch._replace(records=fresh, calls=[to_row(record) for record in fresh]))

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """A transaction that no erase begins beside; it fails where one has since the batch was looked through."""
        with self.engine.begin() as connection:
            self._erasures.check(connection)
            yield connection

    def _write(self, connection: Connection, batch: _Batch) -> None:
        if batch.erased:
            forget_calls(connection, batch.erased)
        if batch.calls:
            if self._calls.run(connection, batch.calls) != len(batch.calls):
                raise _KnownError
            self.tally = self._rollups.add(connection, batch.records)
        if batch.payloads:
            self._payloads.run(connection, batch.payloads)
        if batch.feedback:
            self._feedback.run(connection, batch.feedback)
        if batch.tapes:
            self._tapes.run(connection, batch.tapes)
        if batch.offsets:
            self._offsets.run(connection, batch.offsets)

    def _store_each(
        self,
        batch: _Batch,
        judgements: Sequence[Feedback],
        heard: Sequence[TapesEntry],
        quarantine: Callable[[object], None],
    ) -> None:
        with self._begin() as connection:
            stored = []
            for record, row in zip(batch.records, batch.calls, strict=True):
                written = _run_one(connection, self._calls, row)
                if written is None:
                    written = _run_one(connection, self._calls, fit_row(row))
                if written is None:
                    quarantine(record)
                elif written:
                    stored.append(record)
            for payload in batch.payloads:
                if _run_one(connection, self._payloads, payload) is None:
                    quarantine(payload)
            for statement, items, values in (
                (self._feedback, judgements, batch.feedback),
                (self._tapes, heard, batch.tapes),
            ):
                for item, value in zip(items, values, strict=True):
                    if _run_one(connection, statement, value) is None:
                        quarantine(item)
            if stored:
                self.tally = self._rollups.add(connection, stored)
            self._write(connection, _Batch(offsets=batch.offsets, erased=batch.erased))

    def _unknown(self, records: Sequence[Record]) -> list[Record]:
        """Returns those whose ids are not in the database, each once: nothing may be counted twice."""
        found = {record.id: record for record in records}
        with self.engine.connect() as connection:
            for some in chunks(list(found)):
                known = select(calls.c.id).where(calls.c.id.in_(some))
                for id in connection.execute(known).scalars():
                    del found[id]
        return list(found.values())

    def _reopen(self) -> None:
        """What a failed transaction left in memory is read again."""
        self._rollups.forget()
        self._rollups.open()


def _run_one(connection: Connection, statement: _Statement | PayloadWriter, row: Any) -> int | None:
    """Returns how many rows that made, 0 or 1; None where the database refuses it."""
    try:
        with connection.begin_nested():
            return statement.run(connection, [row])
    except _Refused:
        return None
