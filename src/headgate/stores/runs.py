"""Reads runs: the calls that share a trace, or a session, summed up, the newest first. Loads SQLAlchemy."""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import Engine, case, func, select

from headgate.stores.schema import calls

_LOOK_BACK = 20
"""Calls looked at for each run that is wanted: runs of hundreds of calls make a page shorter, never slower."""


class Run(msgspec.Struct, frozen=True):
    """One trace or session: its name, its calls, how many of them failed, what they cost (nano-dollars), and when
    its first and last looked-at call began (ns since 1970)."""

    name: str
    calls: int
    failed: int
    cost: int
    first_ns: int
    last_ns: int


def recent_runs(engine: Engine, kind: Literal["trace", "session"], limit: int, before_ns: int | None) -> list[Run]:
    """Returns the runs with the newest calls, newest first; all of a run's calls are counted.

    Args:
        engine: the store.
        kind: what makes calls a run.
        limit: at most so many.
        before_ns: only runs with calls before this moment.
    """
    column = calls.c[kind]
    newest = select(column, calls.c.time_ns).where(column.is_not(None)).order_by(calls.c.time_ns.desc())
    if before_ns is not None:
        newest = newest.where(calls.c.time_ns < before_ns)
    looked = newest.limit(limit * _LOOK_BACK).subquery()
    with engine.connect() as connection:
        last = func.max(looked.c.time_ns)
        names = connection.execute(
            select(looked.c[kind], last).group_by(looked.c[kind]).order_by(last.desc()).limit(limit)
        ).all()
        sums = select(
            column,
            func.count(),
            func.sum(case((calls.c.outcome == "failed", 1), else_=0)),
            func.coalesce(func.sum(calls.c.cost), 0),
            func.min(calls.c.time_ns),
        )
        wanted = [name for name, _ in names]
        found = {row[0]: row for row in connection.execute(sums.where(column.in_(wanted)).group_by(column))}
    return [
        Run(name, int(found[name][1]), int(found[name][2]), int(found[name][3]), int(found[name][4]), int(last_ns))
        for name, last_ns in names
        if name in found
    ]
