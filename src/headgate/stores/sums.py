"""Adds plain numbers up in SQL, group by group: from rollups where they know, from the calls at the edges of a stretch.

``Figures`` know more of fewer calls: they are read row by row. What stands here is what a database can add up itself,
so that thousands of users' sums over a quarter of a year cost a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, case, func, literal_column, or_, select

from headgate.stores.backlog import is_behind
from headgate.stores.detail import paid_elsewhere, tries_of
from headgate.stores.figures import COUNTS, NO_TEXT
from headgate.stores.query import conditions
from headgate.stores.rollups import MINUTE_NS, clean_word
from headgate.stores.schema import calls, days
from headgate.stores.spans import WIDTHS, Cover, Piece, cover
from headgate.stores.view import EVER, PLACES, View

_BY_DAY = "sqlite_autoindex_days_1"
"""SQLite's own name for the primary key."""

_BATCH = 500
_MOVED = ("cost", "lost_cost")

Sums = dict[tuple[int, str], list[int]]
"""Numbers in the order that they were asked for in, by begin of the step in time (ns) and group."""


def plan_of(connection: Connection, view: View, unit: int, now_ns: int) -> Cover | None:
    """Returns what covers a question's stretch; None where only the calls can tell.

    Args:
        connection: the database.
        view: the question.
        unit: rollup rows must not stand for more time than this (ns).
        now_ns: now: what is to come is not there yet, so that whole rows will do for it.
    """
    if view.dimension is None or is_behind(connection):
        return None
    filters = view.filters
    until = filters.until_ns
    if until is not None and until > now_ns:
        until = None
    width = MINUTE_NS if view.minutes_only else unit
    return cover(connection, filters.since_ns or 0, until, width, by_minute=view.by_minute)


def add_up(connection: Connection, view: View, plan: Cover | None, names: Sequence[str], step: int = EVER) -> Sums:
    """Returns sums of every group and step.

    Args:
        connection: the database.
        view: the question.
        plan: see ``plan_of``, with a unit that ``step`` is a multiple of.
        names: which sums, of ``SUMMED``.
        step: how long a step is, in ns.
    """
    found: Sums = {}
    stretches = [(view.filters.since_ns or 0, view.filters.until_ns)] if plan is None else plan.edges
    for since, until in stretches:
        _add_calls(connection, view, (since, until), names, step, found)
    for piece in [] if plan is None else plan.pieces:
        _add_piece(connection, view, piece, names, step, found)
    return found


def count_up(
    connection: Connection, view: View, stretches: Sequence[tuple[int, int | None]], groups: Sequence[str] | None
) -> dict[str, list[int]]:
    """Returns all of ``figures.COUNTS`` for every group of the calls in these times, or for those of ``groups``."""
    found: Sums = {}
    tries: dict[str, list[int]] = {}
    columns = view.columns()
    for stretch in stretches:
        _add_calls(connection, view, stretch, [name for name in COUNTS if name in SUMMED], EVER, found)
        where = [*_where(view, stretch), *view.only(groups)]
        query = select(*columns, calls.c.deployment.label("place"), calls.c.detail).where(*where)
        for row in connection.execution_options(yield_per=_BATCH).execute(query):
            both = tries.setdefault(_named(view, row[:-2]), [0, 0])
            made, fell_back = tries_of(row[-1], row[-2])
            both[0] += made
            both[1] += fell_back
    counted: dict[str, list[int]] = {}
    for (_, name), numbers in found.items():
        if groups is None or name in groups:
            known = iter(numbers)
            made, fell_back = tries.get(name, [0, 0])
            tried = {"attempts": made, "fallbacks": fell_back}
            counted[name] = [tried[one] if one in tried else next(known) for one in COUNTS]
    return counted


def _where(view: View, stretch: tuple[int, int | None]) -> list[ColumnElement[bool]]:
    """The calls of a time that count where they were answered."""
    asked = view.filters.deployment
    filters = msgspec.structs.replace(view.filters, since_ns=stretch[0], until_ns=stretch[1], deployment=None)
    return [*conditions(filters), *([] if asked is None else [calls.c.deployment == asked])]


def _add_piece(connection: Connection, view: View, piece: Piece, names: Sequence[str], step: int, found: Sums) -> None:
    values = view.value(piece)
    start, size = _start(piece.table.c.bucket, WIDTHS[piece.table.name], step)
    by = [*start, *values]
    query = select(*by, *(func.sum(piece.table.c[name]) for name in names))
    query = query.where(*view.holds(connection, piece)).group_by(*by)
    if view.dimension == view.group and piece.table is days:
        query = query.with_hint(days, f"INDEXED BY {_index_for(connection, piece)}", "sqlite")
    first, split = len(start), len(by)
    for row in connection.execute(query):
        group = view.group_of(tuple(row[first:split]))
        if group is not None:
            _add(found, (int(row[0]) * size if first else 0, group), row[split:])


def _index_for(connection: Connection, piece: Piece) -> str:
    """By value all days there are must be read, but in the order of the groups, and without what is not asked for.

    SQLite does not know how many there are; it would always take that way.
    """
    query = select(func.min(days.c.bucket)).where(days.c.dimension == 0)
    first = connection.execute(query).scalar_one()
    return "days_by_value" if first is None or (piece.high - piece.low) * 4 >= piece.high - first else _BY_DAY


def _add_calls(
    connection: Connection,
    view: View,
    stretch: tuple[int, int | None],
    names: Sequence[str],
    step: int,
    found: Sums,
) -> None:
    start, size = _start(calls.c.time_ns, 1, step)
    by = [*start, *view.columns()]
    query = select(*by, *(SUMMED[name]() for name in names)).where(*_where(view, stretch))
    if by:
        query = query.group_by(*by)
    first, split = len(start), len(by)
    for row in connection.execute(query):
        _add(found, (int(row[0]) * size if first else 0, _named(view, row[first:split])), row[split:])
    moved = [names.index(name) for name in _MOVED if name in names]
    if moved and (view.group in PLACES or view.filters.deployment is not None):
        filters = msgspec.structs.replace(view.filters, since_ns=stretch[0], until_ns=stretch[1])
        _move(connection, view, conditions(filters), moved, step, len(names), found)


def _move(
    connection: Connection,
    view: View,
    where: Sequence[ColumnElement[bool]],
    moved: Sequence[int],
    step: int,
    width: int,
    found: Sums,
) -> None:
    """Charges attempts at other deployments to these, instead of to the one that answered."""
    asked = view.filters.deployment
    query = select(calls.c.time_ns, calls.c.model, calls.c.deployment, calls.c.detail).where(several(), *where)
    for row in connection.execution_options(yield_per=_BATCH).execute(query):
        start = row.time_ns // step * step if step != EVER else 0
        for elsewhere, paid in paid_elsewhere(row.detail, row.deployment):
            for place, cost in ((row.deployment, -paid), (elsewhere, paid)):
                if asked is None or place == asked:
                    group = view.group_at(row.model, place) if view.group else ""
                    numbers = found.setdefault((start, group), [0] * width)
                    for column in moved:
                        numbers[column] += cost


def _start(time: ColumnElement[Any], width: int, step: int) -> tuple[list[ColumnElement[Any]], int]:
    """The number of the step that a time in units of ``width`` ns falls into, as a column; and a step's length in ns.

    Written out, as Postgres would take a bound number in SELECT and in GROUP BY for two.
    """
    if step == EVER:
        return [], 0
    return [(time // literal_column(str(step // width), BigInteger)).label("step")], step


def _named(view: View, values: Sequence[Any]) -> str:
    if view.group in ("model", *PLACES):
        model = values[0] if view.group in ("model", "arm") else ""
        return view.group_at(model, values[-1] or "")
    return clean_word(values[0] or "") if values else ""


def _add(found: Sums, key: tuple[int, str], values: Sequence[Any]) -> None:
    numbers = [int(value or 0) for value in values]
    there = found.get(key)
    found[key] = numbers if there is None else [mine + more for mine, more in zip(there, numbers, strict=True)]


def billed() -> ColumnElement[bool]:
    """Calls whose tokens somebody charges for: counting tokens is free."""
    return calls.c.input_tokens.is_not(None) & (calls.c.dialect != "count_tokens")


def unpriced() -> ColumnElement[bool]:
    """Calls of which something was billed that has no price."""
    return or_(calls.c.cost.is_(None), calls.c.unpriced.is_not(None))


def several() -> ColumnElement[bool]:
    """Calls with more than one billed attempt, or one that is not the answer's."""
    c = calls.c
    mixed = c.unpriced.is_not(None) & (c.cost.is_not(None) | c.input_tokens.is_(None) | (c.unpriced > 1))
    return c.lost_cost.is_not(None) | mixed


def _empty() -> ColumnElement[bool]:
    c = calls.c
    said = c.input_tokens.is_not(None) & (func.coalesce(c.output_tokens, 0) == 0) & c.dialect.not_in(sorted(NO_TEXT))
    return (c.outcome == "completed") & said


def _counted(condition: Callable[[], ColumnElement[bool]]) -> Callable[[], ColumnElement[Any]]:
    return lambda: func.sum(case((condition(), 1), else_=0))


def _outcome(name: str) -> Callable[[], ColumnElement[Any]]:
    return _counted(lambda: calls.c.outcome == name)


def _tokens(name: str) -> Callable[[], ColumnElement[Any]]:
    return lambda: func.sum(case((billed(), calls.c[name])))


SUMMED: dict[str, Callable[[], ColumnElement[Any]]] = {
    "calls": func.count,
    **{name: _outcome(name) for name in ("completed", "failed", "cancelled", "refused")},
    **{name: _tokens(name) for name in ("input_tokens", "output_tokens", "cached_tokens")},
    "cost": lambda: func.sum(calls.c.cost),
    "lost_cost": lambda: func.sum(calls.c.lost_cost),
    "unpriced": _counted(unpriced),
    "empty": _counted(_empty),
}
"""How ``calls`` tells what the columns of the rollups do; of ``figures.COUNTS`` all that SQL can."""
