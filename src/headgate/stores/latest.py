"""Reads the calls that came in last, for eyes that follow along; a look holds no state. Loads SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, func, select

from headgate.stores.query import Filters, conditions
from headgate.stores.rows import to_story
from headgate.stores.schema import calls

MARGIN = 500
"""Numbers before the one named that are looked at again: of several recorders one may commit late."""


def known(engine: Engine) -> tuple[list[str], int]:
    """Returns the number to go on from, and the ids of the calls that ``latest`` may give again from there."""
    with engine.connect() as connection:
        top = int(connection.execute(select(func.coalesce(func.max(calls.c.n), 0))).scalar_one())
        found = connection.execute(select(calls.c.id).where(calls.c.n > top - MARGIN, calls.c.n <= top)).scalars()
        return list(found), top


def latest(engine: Engine, filters: Filters, after: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Returns calls that came in after a number, newest first, and the number to go on from.

    Args:
        engine: the store.
        filters: which calls.
        after: a number given before. Calls from a little before it may come again.
        limit: at most so many, of the newest.
    """
    with engine.connect() as connection:
        top = int(connection.execute(select(func.coalesce(func.max(calls.c.n), 0))).scalar_one())
        if after >= top:
            return [], top
        query = select(calls).where(calls.c.n > max(after - MARGIN, top - 20_000), *conditions(filters))
        rows = connection.execute(query.order_by(calls.c.n.desc()).limit(limit)).mappings().all()
    return [to_story(dict(row)) for row in rows], top
