"""What calls cost, added up in SQL by whom, for what and when. Importing this loads SQLAlchemy.

Money is added as integers of nano-dollars. What a call's attempts at other deployments cost stands with those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Engine, case, func, literal_column, or_, select

from headgate.core.errors import BadRequest
from headgate.core.record import AttemptRecord
from headgate.stores.query import Filters, conditions
from headgate.stores.rows import billed_attempts
from headgate.stores.schema import calls, virtual_keys

DAY_NS = 86_400 * 1_000_000_000
GROUPS = ("key", "user", "team", "feature", "prompt", "model", "deployment", "provider", "day")
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "key": calls.c.key_id,
    "user": calls.c.user_id,
    "team": calls.c.team,
    "feature": calls.c.feature,
    "prompt": calls.c.prompt,
    "model": calls.c.model,
    "deployment": calls.c.deployment,
    "provider": calls.c.deployment,
    # Written out: Postgres would take a bound number in SELECT and in GROUP BY for two.
    "day": calls.c.time_ns // literal_column(str(DAY_NS), BigInteger),
}


class Spend(msgspec.Struct):
    """What one group of calls came to.

    Attributes:
        group: the values that it was grouped by; "" where calls have none.
        calls: all of them, refused ones too.
        completed: those that were answered whole.
        input_tokens, output_tokens, cached_tokens: of the answers, reported or estimated.
        cost: nano-dollars of all attempts that have a price, failed ones and lost hedges too.
        unpriced: calls of which something was billed that has no price.
    """

    group: tuple[str, ...]
    calls: int = 0
    completed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    unpriced: int = 0

    @property
    def per_success(self) -> int | None:
        """Nano-dollars for each answer that came whole, what failed charged to them; None where none did."""
        return (2 * self.cost + self.completed) // (2 * self.completed) if self.completed else None

    def add(self, other: Spend) -> None:
        """Adds another group's figures to this one's."""
        for name in ("calls", "completed", "input_tokens", "output_tokens", "cached_tokens", "cost", "unpriced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class SpendStore:
    """The costs in a database, for reading."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def by(self, groups: Sequence[str], filters: Filters) -> list[Spend]:
        """Returns the spend of each group, the dearest first, or by day where that is the first group.

        Raises:
            BadRequest: a group or filter that does not exist.
        """
        for name in groups:
            if name not in GROUPS:
                raise BadRequest(f"unknown group {name!r}: one of {', '.join(GROUPS)}", param="by")
        found: dict[tuple[str, ...], Spend] = {}
        for spend in self._summed(groups, filters):
            found.setdefault(spend.group, Spend(spend.group)).add(spend)
        if "deployment" in groups or "provider" in groups:
            self._move(groups, filters, found)
        rows = sorted(found.values(), key=lambda row: (-row.cost, row.group))
        return sorted(rows, key=lambda row: row.group[0]) if groups and groups[0] == "day" else rows

    def unpriced(self, filters: Filters) -> list[tuple[str, int]]:
        """Returns the deployments that answered calls with something unpriced in them, and how many."""
        count = func.count()
        query = select(calls.c.deployment, count).where(_unpriced(), *conditions(filters))
        query = query.group_by(calls.c.deployment).order_by(count.desc(), calls.c.deployment)
        with self._engine.connect() as connection:
            return [(name or "", number) for name, number in connection.execute(query)]

    def attempts(self, filters: Filters) -> Iterator[tuple[int, AttemptRecord]]:
        """Yields every billed attempt of calls that had several, with the time (ns) of its call."""
        query = select(calls.c.time_ns, calls.c.detail).where(_several(), *conditions(filters))
        with self._engine.connect() as connection:
            for time_ns, detail in connection.execution_options(yield_per=500).execute(query):
                for attempt in billed_attempts(detail):
                    yield time_ns, attempt

    def single(self, filters: Filters) -> list[tuple[int, str, Spend]]:
        """Returns day (since 1970), deployment and sums of all calls that had one billed attempt, its answer's."""
        wanted = (_billed(), ~_several(), *conditions(filters))
        query = select(_COLUMNS["day"], calls.c.deployment, *_sums()).where(*wanted)
        query = query.group_by(_COLUMNS["day"], calls.c.deployment)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [(int(row[0]), row[1] or "", _spend((), row[2:])) for row in rows]

    def _summed(self, groups: Sequence[str], filters: Filters) -> Iterator[Spend]:
        columns = [_COLUMNS[name].label(f"by_{n}") for n, name in enumerate(groups)]
        query = select(*columns, *_sums()).where(*conditions(filters)).group_by(*columns)
        names = self._key_names() if "key" in groups else {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                group = tuple(_show(name, value, names) for name, value in zip(groups, row, strict=False))
                yield _spend(group, row[len(groups) :])

    def _move(self, groups: Sequence[str], filters: Filters, found: dict[tuple[str, ...], Spend]) -> None:
        """Charges attempts at other deployments to these, instead of to the one that answered."""
        columns = [_COLUMNS[name].label(f"by_{n}") for n, name in enumerate(groups)]
        query = select(*columns, calls.c.deployment, calls.c.detail).where(_several(), *conditions(filters))
        names = self._key_names() if "key" in groups else {}
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=500).execute(query):
                here = tuple(_show(name, value, names) for name, value in zip(groups, row, strict=False))
                for attempt in billed_attempts(row.detail):
                    if attempt.deployment == row.deployment or not attempt.cost:
                        continue
                    places = {"deployment": attempt.deployment, "provider": attempt.provider}
                    there = tuple(places.get(name, value) for name, value in zip(groups, here, strict=True))
                    found[here].cost -= attempt.cost
                    found.setdefault(there, Spend(there)).cost += attempt.cost

    def _key_names(self) -> dict[str, str]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(virtual_keys.c.id, virtual_keys.c.name)).all()
        return {row.id: row.name for row in rows}


def day_of(day: int) -> str:
    """Returns a day (since 1970) as ``2026-11-25``."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _sums() -> tuple[ColumnElement[Any], ...]:
    c = calls.c
    return (
        func.count(),
        func.sum(case((c.outcome == "completed", 1), else_=0)),
        func.sum(case((_billed(), c.input_tokens))),
        func.sum(case((_billed(), c.output_tokens))),
        func.sum(case((_billed(), c.cached_tokens))),
        func.sum(c.cost),
        func.sum(case((_unpriced(), 1), else_=0)),
    )


def _billed() -> ColumnElement[bool]:
    """Calls whose tokens somebody charges for: counting tokens is free."""
    return calls.c.input_tokens.is_not(None) & (calls.c.dialect != "count_tokens")


def _unpriced() -> ColumnElement[bool]:
    return or_(calls.c.cost.is_(None), calls.c.unpriced.is_not(None))


def _several() -> ColumnElement[bool]:
    """Calls with more than one billed attempt, or one that is not the answer's."""
    c = calls.c
    mixed = c.unpriced.is_not(None) & (c.cost.is_not(None) | c.input_tokens.is_(None) | (c.unpriced > 1))
    return c.lost_cost.is_not(None) | mixed


def _spend(group: tuple[str, ...], sums: Sequence[Any]) -> Spend:
    return Spend(group, *(int(value or 0) for value in sums))


def _show(name: str, value: Any, key_names: dict[str, str]) -> str:
    if name == "day":
        return day_of(int(value))
    if value is None:
        return ""
    if name == "provider":
        return str(value).partition("/")[0]
    if name == "key":
        return f"{key_names[value]} ({value})" if value in key_names else str(value)
    return str(value)
