"""Batches of journal entries into SQL: rows and the offsets behind them in one transaction, every id once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.stores.feedback_rows import FEEDBACK_COLUMNS, feedback_row
from headgate.stores.journal.framing import PayloadEntry
from headgate.stores.rows import COLUMNS, fit_row, to_row
from headgate.stores.schema import calls, feedback, journal_offsets, payloads

_log = logging.getLogger("headgate.recorder")
# What a row itself can be blamed for; a database that is read-only or lacks a table refuses rows, too, for a while.
_Refused = (sqlalchemy.exc.DataError, sqlalchemy.exc.IntegrityError, OverflowError)


class _Statement:
    """An INSERT compiled once, run for many rows through the driver's own executemany."""

    def __init__(self, engine: Engine, table: Table, columns: Sequence[str], update: Sequence[str] = ()) -> None:
        maker = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        statement: Any = maker(table).values({name: sqlalchemy.bindparam(name) for name in columns})
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

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        values: Any = rows
        if self._named:
            values = [dict(zip(self._columns, row, strict=True)) for row in rows]
        elif self._order is not None:
            values = [tuple(row[i] for i in self._order) for row in rows]
        connection.exec_driver_sql(self._sql, values)


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
    """

    def __init__(self, engine: Engine, owner: str) -> None:
        self.engine = engine
        self._owner = owner
        self._calls = _Statement(engine, calls, COLUMNS)
        self._copy = _Copy(engine, calls, COLUMNS) if engine.dialect.name == "postgresql" else None
        self._payloads = _Statement(engine, payloads, ("call_id", "stored_ns", "request", "response"))
        self._feedback = _Statement(engine, feedback, FEEDBACK_COLUMNS)
        self._offsets = _Statement(engine, journal_offsets, ("segment", "owner", "position"), update=("position",))

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
    ) -> None:
        """Writes a batch and the offsets behind it in one transaction. Ids that are there already stay as they are.

        Args:
            records: Records, in the journal's order.
            bodies: payloads.
            positions: offset behind the last entry taken, by segment.
            quarantine: takes what the database will not hold in any form.
            judgements: feedback.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away or locked; nothing is written.
        """
        now = time.time_ns()
        rows = [to_row(record) for record in records]
        kept = [(body.call_id, now, body.request, body.response) for body in bodies]
        said = [feedback_row(judgement) for judgement in judgements]
        marks = [(segment, self._owner, position) for segment, position in positions.items()]
        if self._copy is not None and self._copied(rows, kept, said, marks):
            return
        try:
            with self.engine.begin() as connection:
                self._write(connection, rows, kept, said, marks)
        except _Refused as error:
            _log.error("the database refused a batch of %d, each goes by itself: %s", len(rows), type(error).__name__)
            with self.engine.begin() as connection:
                for record, row in zip(records, rows, strict=True):
                    if not (self._write_one(connection, row) or self._write_one(connection, fit_row(row))):
                        quarantine(record)
                for statement, items, values in (
                    (self._payloads, bodies, kept),
                    (self._feedback, judgements, said),
                ):
                    for item, value in zip(items, values, strict=True):
                        if not _run_one(connection, statement, value):
                            quarantine(item)
                self._write(connection, (), (), (), marks)

    def forget(self, segments: Iterable[str]) -> None:
        """Drops the offsets of segments whose files are gone."""
        names = list(segments)
        c = journal_offsets.c
        with self.engine.begin() as connection:
            for start in range(0, len(names), 500):
                some = names[start : start + 500]
                connection.execute(delete(journal_offsets).where(c.owner == self._owner, c.segment.in_(some)))

    def _copied(
        self,
        rows: Sequence[tuple[Any, ...]],
        bodies: Sequence[tuple[Any, ...]],
        said: Sequence[tuple[Any, ...]],
        marks: Sequence[tuple[Any, ...]],
    ) -> bool:
        """Whether the quick way took the whole batch; False where a row is there already, or refused."""
        assert self._copy is not None
        try:
            with self.engine.begin() as connection:
                if rows:
                    self._copy.run(connection, rows)
                self._write(connection, (), bodies, said, marks)
        except _Refused:
            return False
        return True

    def _write(
        self,
        connection: Connection,
        rows: Sequence[tuple[Any, ...]],
        bodies: Sequence[tuple[Any, ...]],
        said: Sequence[tuple[Any, ...]],
        marks: Sequence[tuple[Any, ...]],
    ) -> None:
        if rows:
            self._calls.run(connection, rows)
        if bodies:
            self._payloads.run(connection, bodies)
        if said:
            self._feedback.run(connection, said)
        if marks:
            self._offsets.run(connection, marks)

    def _write_one(self, connection: Connection, row: tuple[Any, ...]) -> bool:
        return _run_one(connection, self._calls, row)


def _run_one(connection: Connection, statement: _Statement, row: tuple[Any, ...]) -> bool:
    """Whether the database takes this row by itself."""
    try:
        with connection.begin_nested():
            statement.run(connection, [row])
    except _Refused:
        return False
    return True
