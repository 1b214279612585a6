"""Rollups on their way from a SQLite file to a Postgres: made anew of calls that arrive, carried where none are left.

Retention deletes calls before their figures. What no call is left of is copied once, as rows of a shard of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, select

from headgate.stores.backlog import is_behind
from headgate.stores.rollups import HOUR_NS, RollupWriter, open_shard
from headgate.stores.rows import to_record
from headgate.stores.schema import backlog, calls, days, hours, minutes, rollup_shards

_BATCH = 500


class MovedRollups:
    """Adds the calls that a copy brings to the target's rollups, once.

    Making one carries the figures of deleted calls over, where no copy has done so before.

    Args:
        source: the SQLite file.
        target: the Postgres.
        owner: the data directory's id; its recorder must not run.
    """

    def __init__(self, source: Engine, target: Engine, owner: str) -> None:
        self._writer = RollupWriter(target, owner)
        self._writer.open()
        mark = f"copied {owner}"
        with target.connect() as connection:
            cut = connection.execute(select(backlog.c.position).where(backlog.c.name == mark)).scalar_one_or_none()
        self._cut = _first_whole_hour(source) if cut is None else int(cut)
        if cut is None:
            shard = open_shard(target, f"{owner}.file")
            with source.connect() as reader, target.begin() as writer:
                _carry(reader, writer, shard, self._cut)
                writer.execute(insert(backlog).values(name=mark, position=self._cut, goal=self._cut))

    def add(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Adds calls that were new, in the transaction that stored them."""
        new = [to_record(row) for row in rows if row["time_ns"] >= self._cut * HOUR_NS]
        if new:
            self._writer.add(connection, new)


def _first_whole_hour(source: Engine) -> int:
    """Returns the first hour (since 1970) of which every call is still there."""
    with source.connect() as connection:
        if is_behind(connection):
            return 0
        call = connection.execute(select(func.min(calls.c.time_ns))).scalar_one()
        kept = [connection.execute(select(func.min(table.c.bucket))).scalar_one() for table in (hours, days)]
    begins = [bucket * width for bucket, width in zip(kept, (1, 24), strict=True) if bucket is not None]
    if not begins:
        return 0
    if call is None:
        return (1 << 31) - 1
    hour = int(call) // HOUR_NS
    return hour + 1 if min(begins) < hour else hour


def _carry(source: Connection, target: Connection, shard: int, cut: int) -> None:
    folded = source.execute(select(func.coalesce(func.max(rollup_shards.c.folded), 0))).scalar_one()
    folded = min(folded, cut // 24)
    for table, end in ((minutes, cut * 60), (hours, cut), (days, folded)):
        _copy(source, target, table, min(end, (1 << 31) - 1), shard)
    target.execute(rollup_shards.update().where(rollup_shards.c.number == shard).values(folded=folded))


def _copy(source: Connection, target: Connection, table: Table, end: int, shard: int) -> None:
    rows = source.execution_options(yield_per=_BATCH).execute(select(table).where(table.c.bucket < end)).mappings()
    for some in rows.partitions(_BATCH):
        target.execute(insert(table), [{**row, "shard": shard} for row in some])
