"""Which rollup rows cover a stretch of time: whole days, hours, minutes; at the edges the calls themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, func, select

from headgate.stores.rollups import DAY_NS, HOUR_NS, MINUTE_NS
from headgate.stores.schema import days, hours, minutes, rollup_shards

WIDTHS = {"minutes": MINUTE_NS, "hours": HOUR_NS, "days": DAY_NS}
"""How much time a row of each table stands for, in ns."""

LOOKED_UP = 3000
"""So many buckets are named one by one where few groups of each matter, so that their rows are looked up by key."""


class Piece(msgspec.Struct, frozen=True):
    """Rows of one table: buckets from ``low`` to below ``high``, of these shards; None for all."""

    table: Table
    low: int
    high: int
    shards: tuple[int, ...] | None = None

    def holds(self, *, few: bool = False) -> ColumnElement[bool]:
        """Returns what a query's ``where`` wants for these rows; ``few`` where it names their groups, too."""
        c = self.table.c
        found: list[ColumnElement[bool]] = [c.bucket >= self.low, c.bucket < self.high]
        if few and self.high - self.low <= LOOKED_UP:
            found = [c.bucket.in_(range(self.low, self.high))]
        if self.shards is not None:
            found.append(c.shard.in_(self.shards))
        return and_(*found)


class Cover(msgspec.Struct, frozen=True):
    """What stands for a stretch of time: rollup rows, and stretches (ns, end exclusive) whose calls must be read."""

    pieces: list[Piece]
    edges: list[tuple[int, int | None]]


def cover(connection: Connection, since: int, until: int | None, unit: int, *, by_minute: bool) -> Cover:
    """Returns what covers the time from ``since`` to below ``until`` (ns since 1970; None for all to come).

    Args:
        connection: the database, to look up which days are made, and where rollups end.
        since, until: the stretch.
        unit: rows must not stand for more time than this (ns): ``MINUTE_NS``, ``HOUR_NS`` or ``DAY_NS``.
        by_minute: whether minutes can answer, which know models, deployments and outcomes only.
    """
    pieces: list[Piece] = []
    edges: list[tuple[int, int | None]] = []

    def fill(low: int, high: int | None, widths: Sequence[int]) -> None:
        """Takes the widest rows that fit whole, and fills both sides with narrower ones."""
        if high is not None and low >= high:
            return
        if not widths:
            edges.append((low, high))
            return
        width = widths[0]
        first = -(-low // width)
        last = None if high is None else high // width
        if last is not None and first >= last:
            fill(low, high, widths[1:])
            return
        fill(low, first * width, widths[1:])
        beyond = -(-_end(connection) // width) if last is None else last
        if beyond > first:
            pieces.extend(_pieces(connection, width, first, beyond))
        if last is not None:
            fill(last * width, high, widths[1:])

    widths = [width for width in (DAY_NS, HOUR_NS, MINUTE_NS) if width <= unit and (by_minute or width > MINUTE_NS)]
    fill(max(0, since), until, widths)
    return Cover(pieces, edges)


def _end(connection: Connection) -> int:
    """Where the last hour of which there is anything ends, in ns since 1970."""
    c = hours.c
    last = connection.execute(select(func.max(c.bucket)).where(c.dimension == 0)).scalar_one()
    return 0 if last is None else (int(last) + 1) * HOUR_NS


def _pieces(connection: Connection, width: int, first: int, last: int) -> Iterator[Piece]:
    if width == MINUTE_NS:
        yield Piece(minutes, first, last)
    elif width == HOUR_NS:
        yield Piece(hours, first, last)
    else:
        yield from _days(connection, first, last)


def _days(connection: Connection, first: int, last: int) -> Iterator[Piece]:
    """Days as far as each shard has them made, hours from there on."""
    shards: dict[int, list[int]] = {}
    for row in connection.execute(select(rollup_shards.c.number, rollup_shards.c.folded)):
        shards.setdefault(max(first, row.folded), []).append(row.number)
    made = min(last, max(shards, default=first))
    if made > first:
        yield Piece(days, first, made)
    for folded, numbers in shards.items():
        if folded < last:
            every = sum(map(len, shards.values())) == len(numbers)
            yield Piece(hours, folded * 24, last * 24, None if every else tuple(numbers))


def start_of(piece: Piece, bucket: Any) -> int:
    """Returns when a bucket of a piece begins, in ns since 1970."""
    return int(bucket) * WIDTHS[piece.table.name]
