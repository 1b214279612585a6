"""Adds calls to rollups: figures per minute, hour and day, in the transaction that stores the calls themselves.

Per minute by model, deployment, outcome and status; per hour by one dimension at a time (``DIMENSIONS``). Days are made
of hours once they are over (see ``fold``). Read them by ``stats.StatsStore``, which knows which rows answer what.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, text, update

from headgate.core.record import Record
from headgate.stores.database import chunks
from headgate.stores.erase.erasures import hold_off
from headgate.stores.figures import Facts, Figures, facts_of, sum_of
from headgate.stores.rows import deployment_of
from headgate.stores.schema import days, epoch, hours, minutes, rollup_shards

DIMENSIONS = ("all", "key", "user", "team", "feature", "prompt", "model", "deployment", "arm")
"""What hours and days are kept by; a row's ``dimension`` is the place in here. An arm is ``model > deployment``."""

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
FOLD_AFTER_NS = 15 * MINUTE_NS
"""How long after a day's end it is folded; calls of it that end later still are added to hours and day both."""

ERASED = "rollups"
"""The epoch that tells recorders that somebody else changed rows of theirs."""

_ALL, _KEY, _USER, _TEAM, _FEATURE, _PROMPT, _MODEL, _DEPLOYMENT, _ARM = range(len(DIMENSIONS))
_KEPT = 12_000
LONGEST_WORD = 256
"""Characters of a key of a rollup row; see ``clean_word``."""
_LOCK = 0x6865616467617465 // 5
_ODD = re.compile("[\x00\ud800-\udfff]")

_Key = tuple[Any, ...]
_Deltas = dict[_Key, Figures]


def arm_name(model: str, deployment: str) -> str:
    """Returns the value of the dimension ``arm`` for a model that a deployment answered for."""
    return f"{model} > {deployment}"


def dimension_of(name: str) -> int:
    """Returns the number of a dimension. Raises ValueError for an unknown one."""
    return DIMENSIONS.index(name)


class Tally:
    """Figures of calls by minute and by hour, not yet stored: ``minutes`` by the key of that table, ``hours``, too."""

    def __init__(self) -> None:
        self.minutes: _Deltas = {}
        self.hours: _Deltas = {}

    def count(self, records: Iterable[Record]) -> None:
        """Adds Records."""
        cells: defaultdict[_Key, list[Facts]] = defaultdict(list)
        users: defaultdict[tuple[int, str], list[Facts]] = defaultdict(list)
        moves: list[tuple[_Key, dict[str, int]]] = []
        for record in records:
            deployment = deployment_of(record) or ""
            facts = facts_of(record, deployment)
            minute = record.time_ns // MINUTE_NS
            cell = (minute, record.model, deployment, record.outcome, facts.status)
            cells[(*cell, record.key_id, record.team, record.feature, record.prompt)].append(facts)
            users[minute // 60, record.user].append(facts)
            if facts.moved:
                moves.append((cell, facts.moved))
        for key, found in cells.items():
            self._spread(key, sum_of(found))
        for (hour, user), found in users.items():
            name = (_USER, hour, clean_word(user))
            if name in self.hours:
                self.hours[name].merge(sum_of(found))
            else:
                self.hours[name] = sum_of(found)
        for cell, moved in moves:
            for place, cost in moved.items():
                self._move(cell, cell[2], -cost)
                self._move(cell, place, cost)

    def _spread(self, key: _Key, figures: Figures) -> None:
        minute, model, deployment, outcome, status, key_id, team, feature, prompt = key
        model, deployment, hour = clean_word(model), clean_word(deployment), minute // 60
        _into(self.minutes, (minute, model, deployment, outcome, status)).merge(figures)
        for dimension, value in (
            (_ALL, ""),
            (_KEY, clean_word(key_id)),
            (_TEAM, clean_word(team)),
            (_FEATURE, clean_word(feature)),
            (_PROMPT, clean_word(prompt)),
            (_MODEL, model),
            (_DEPLOYMENT, deployment),
            (_ARM, arm_name(model, deployment)),
        ):
            _into(self.hours, (dimension, hour, value)).merge(figures)

    def _move(self, cell: _Key, place: str, cost: int) -> None:
        """Books money to the deployment where it was spent, in every row that names a deployment."""
        minute, model, _, outcome, status = cell
        model, place, hour = clean_word(model), clean_word(place), minute // 60
        _into(self.minutes, (minute, model, place, outcome, status)).move(cost)
        _into(self.hours, (_DEPLOYMENT, hour, place)).move(cost)
        _into(self.hours, (_ARM, hour, arm_name(model, place))).move(cost)


class RollupWriter:
    """Writes one data directory's rollups. Only the holder of the recorder's lock may use one.

    Rows are kept in memory as they stand in the database, so that they are written without being read first.

    Args:
        engine: the database, its schema up to date.
        owner: the data directory's id.
    """

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._shard = 0
        self._folded = 0
        self._erased = -1
        self._minutes = _Rows(engine, minutes)
        self._hours = _Rows(engine, hours)
        self._days = _Rows(engine, days)

    def open(self) -> None:
        """Finds the directory's shard, or makes it; takes a transaction of its own. Cheap when it is known."""
        if self._shard:
            return
        c = rollup_shards.c
        self._shard = open_shard(self._engine, self._owner)
        with self._engine.connect() as connection:
            self._folded = connection.execute(select(c.folded).where(c.number == self._shard)).scalar_one()

    def forget(self) -> None:
        """Lets go of the rows in memory: a transaction failed, or somebody else has written; they are read again."""
        self._shard = 0
        for rows in (self._minutes, self._hours, self._days):
            rows.forget()

    def add(self, connection: Connection, records: Sequence[Record]) -> Tally:
        """Adds Records that were stored in this transaction. Should it fail, ``forget`` must be called.

        Returns:
            What they came to; it belongs to the writer again at the next batch.
        """
        self._notice_erasure(connection)
        tally = Tally()
        tally.count(records)
        self._minutes.merge(connection, self._shard, tally.minutes)
        self._hours.merge(connection, self._shard, tally.hours)
        late: _Deltas = {}
        for (dimension, hour, value), figures in tally.hours.items():
            if hour // 24 < self._folded:
                _into(late, (dimension, hour // 24, value)).merge(figures)
        self._days.merge(connection, self._shard, late)
        return tally

    def fold(self, now_ns: int) -> bool:
        """Makes the day of the oldest hours that are not in days yet, if it is over. Returns whether it did."""
        self.open()
        today = (now_ns - FOLD_AFTER_NS) // DAY_NS
        h, s = hours.c, rollup_shards.c
        with self._engine.begin() as connection:
            hold_off(connection)
            self._notice_erasure(connection)
            mine = (h.dimension == _ALL, h.bucket >= self._folded * 24, h.shard == self._shard)
            first = connection.execute(select(func.min(h.bucket)).where(*mine)).scalar_one()
            if first is None or first // 24 >= today:
                return False
            day = first // 24
            for dimension in range(len(DIMENSIONS)):
                self._days.merge(connection, self._shard, self._day(connection, dimension, day))
            connection.execute(update(rollup_shards).where(s.number == self._shard).values(folded=day + 1))
        self._folded = day + 1
        return True

    def _day(self, connection: Connection, dimension: int, day: int) -> _Deltas:
        h = hours.c
        query = select(h.value, *figure_columns(hours)).where(
            h.dimension == dimension, h.bucket >= day * 24, h.bucket < (day + 1) * 24, h.shard == self._shard
        )
        found: _Deltas = {}
        for row in connection.execute(query):
            _into(found, (dimension, day, row[0])).add_columns(row[1:])
        return found

    def _notice_erasure(self, connection: Connection) -> None:
        rows = connection.execute(text("SELECT value FROM epoch WHERE name = :name"), {"name": ERASED}).all()
        erased = int(rows[0][0]) if rows else 0
        if erased != self._erased:
            if self._erased >= 0:
                for one in (self._minutes, self._hours, self._days):
                    one.forget()
            self._erased = erased


def open_shard(engine: Engine, owner: str) -> int:
    """Returns the number of the rows that belong to ``owner``; makes it known at first, in a transaction of its own."""
    c = rollup_shards.c
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        known = connection.execute(select(c.number).where(c.owner == owner)).scalar_one_or_none()
        if known is not None:
            return int(known)
        number = int(connection.execute(select(func.coalesce(func.max(c.number), 0) + 1)).scalar_one())
        connection.execute(insert(rollup_shards).values(number=number, owner=owner, folded=0))
        return number


def erase(connection: Connection, dimension: str, value: str) -> int:
    """Gives what is known of one user, key, team… to nobody (""), so that all sums keep what they have.

    Recorders notice, so that nothing of it comes back but what calls add from then on. Names longer than rollups keep
    them are one name here.

    Args:
        connection: in a transaction that no recorder's runs beside (see ``erase.erasures``).
        dimension, value: whose.

    Returns:
        How many rows there were.
    """
    number, word = dimension_of(dimension), clean_word(value)
    if not word:
        return 0
    found = 0
    for table in (hours, days):
        c = table.c
        theirs = (c.dimension == number) & (c.value == word)
        rows = connection.execute(select(c.bucket, c.shard, *figure_columns(table)).where(theirs)).all()
        connection.execute(delete(table).where(theirs))
        for some in chunks(rows):
            _give_to_nobody(connection, table, number, some)
        found += len(rows)
    connection.execute(update(epoch).where(epoch.c.name == ERASED).values(value=epoch.c.value + 1))
    return found


def _give_to_nobody(connection: Connection, table: Table, dimension: int, rows: Sequence[Any]) -> None:
    """Adds rows (bucket, shard, figures) to those of the value ""."""
    c = table.c
    given = {(row[0], row[1]): Figures() for row in rows}
    nobody = (c.dimension == dimension) & (c.value == "") & c.bucket.in_({bucket for bucket, _ in given})
    there = connection.execute(select(c.bucket, c.shard, *figure_columns(table)).where(nobody)).all()
    for row in (*rows, *there):
        figures = given.get((row[0], row[1]))
        if figures is not None:
            figures.add_columns(row[2:])
    postgres = connection.dialect.name == "postgresql"
    sql = _upsert(table, [column.name for column in table.primary_key], postgres=postgres)
    written = [(dimension, bucket, "", shard, *one.to_columns()) for (bucket, shard), one in given.items()]
    values: Any = tuple(list(column) for column in zip(*written, strict=True)) if postgres else written
    connection.exec_driver_sql(sql, values)


class _Rows:
    """The rows of one table that were used last, and how they are written back."""

    def __init__(self, engine: Engine, table: Table) -> None:
        self._table = table
        self._keys = [column.name for column in table.primary_key]
        self._by_value = "value" in self._keys
        self._young: _Deltas = {}
        self._old: _Deltas = {}
        # By dimension (None: the table has none): buckets beyond these are not in the database, or are in memory.
        self._ends: dict[Any, int] = {}
        self._top: dict[Any, int] = {}
        self._postgres = engine.dialect.name == "postgresql"
        self._sql = _upsert(table, self._keys, postgres=self._postgres)

    def forget(self) -> None:
        self._young, self._old, self._ends, self._top = {}, {}, {}, {}

    def merge(self, connection: Connection, shard: int, deltas: _Deltas) -> None:
        """Adds figures to the rows with these keys (without the shard), and writes them."""
        if not deltas:
            return
        self._load(connection, shard, deltas)
        rows = []
        for key, figures in deltas.items():
            total = self._young.get(key)
            if total is None:
                self._young[key] = figures
                total = figures
            else:
                total.merge(figures)
            rows.append((*key, shard, *total.to_columns()))
        if self._postgres:
            connection.exec_driver_sql(self._sql, tuple(list(column) for column in zip(*rows, strict=True)))
        else:
            connection.exec_driver_sql(self._sql, rows)
        if len(self._young) > _KEPT:
            self._old, self._young = self._young, {}
            self._ends.update(self._top)

    def _is_new(self, connection: Connection, shard: int, key: _Key) -> bool:
        """Whether its bucket is beyond all that the database has, so that there is nothing to be read."""
        dimension, bucket = (key[0], key[1]) if self._by_value else (None, key[0])
        if dimension not in self._ends:
            c = self._table.c
            mine = [c.shard == shard, *([c.dimension == dimension] if self._by_value else [])]
            last = connection.execute(select(c.bucket).where(*mine).order_by(c.bucket.desc()).limit(1)).scalar()
            self._ends[dimension] = -1 if last is None else int(last)
        self._top[dimension] = max(self._top.get(dimension, -1), bucket)
        return bool(bucket > self._ends[dimension])

    def _load(self, connection: Connection, shard: int, deltas: _Deltas) -> None:
        """Brings the rows into memory that are in the database and not there."""
        missing: dict[_Key, list[Any]] = {}
        for key in deltas:
            if key not in self._young:
                known = self._old.pop(key, None)
                if known is not None:
                    self._young[key] = known
                elif self._is_new(connection, shard, key):
                    continue
                elif self._by_value:
                    missing.setdefault(key[:2], []).append(key[2])
                else:
                    missing.setdefault(key[:1], []).append(key[1])
        names = self._keys[:2] if self._by_value else self._keys[:1]
        rest = self._table.c["value" if self._by_value else "model"]
        keys = [self._table.c[name] for name in self._keys if name != "shard"]
        for where, values in missing.items():
            fixed = [self._table.c[name] == value for name, value in zip(names, where, strict=True)]
            for some in chunks(values):
                rows = (*fixed, rest.in_(some), self._table.c.shard == shard)
                query = select(*keys, *figure_columns(self._table)).where(*rows)
                for row in connection.execute(query):
                    key = tuple(row[: len(keys)])
                    if key in deltas and key not in self._young:
                        found = self._young[key] = Figures()
                        found.add_columns(row[len(keys) :])


def _upsert(table: Table, keys: Sequence[str], *, postgres: bool) -> str:
    names = [column.name for column in table.columns]
    if not postgres:
        marks = ", ".join("?" * len(names))
        return f"INSERT OR REPLACE INTO {table.name} ({', '.join(names)}) VALUES ({marks})"
    kinds = {"SMALLINT": "int2", "INTEGER": "int4", "BIGINT": "int8", "BLOB": "bytea"}
    arrays = ", ".join(f"%s::{kinds.get(str(column.type), 'text')}[]" for column in table.columns)
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
    )


def figure_columns(table: Table) -> list[Any]:
    """Returns the columns of a rollup table behind its key: what ``Figures.add_columns`` takes."""
    return [column for column in table.columns if not column.primary_key]


def _into(deltas: _Deltas, key: _Key) -> Figures:
    found = deltas.get(key)
    if found is None:
        found = deltas[key] = Figures()
    return found


def clean_word(value: str) -> str:
    """Returns a key of a rollup row as every database can hold it: of bounded length, without odd characters."""
    return _ODD.sub("\ufffd", value[:LONGEST_WORD]) if len(value) > LONGEST_WORD or not value.isprintable() else value
