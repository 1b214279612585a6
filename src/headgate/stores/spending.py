"""What calls cost, added up in SQL by whom, for what and when: from rollups where these know. Loads SQLAlchemy.

Money is added as integers of nano-dollars. What a call's attempts at other deployments cost stands with those.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, func, literal_column, select

from headgate.core.errors import BadRequest
from headgate.core.record import AttemptRecord
from headgate.stores.detail import billed_attempts, paid_elsewhere
from headgate.stores.query import Filters, conditions, key_names, refuse_twice
from headgate.stores.rollups import DAY_NS, clean_word
from headgate.stores.schema import CALLS_BY, calls
from headgate.stores.sums import SUMMED, add_up, billed, plan_of, several, unpriced
from headgate.stores.view import EVER, View

GROUPS = ("key", "user", "team", "feature", "prompt", "model", "deployment", "provider", "day")
_FIELDS = ("calls", "completed", "input_tokens", "output_tokens", "cached_tokens", "cost", "unpriced")
_COLUMNS: dict[str, ColumnElement[Any]] = {
    **CALLS_BY,
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
        for name in _FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class SpendStore:
    """The costs in a database, for reading."""

    def __init__(self, engine: Engine, *, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._time_ns = time_ns

    def by(self, groups: Sequence[str], filters: Filters) -> list[Spend]:
        """Returns the spend of each group, the dearest first, or by day where that is the first group.

        Rollups answer where groups and filters are about one thing (and days), so that calls which retention has
        deleted count, too; calls themselves answer the rest.

        Raises:
            BadRequest: a group or filter that does not exist, or a group that stands twice.
        """
        for name in groups:
            if name not in GROUPS:
                raise BadRequest(f"unknown group {name!r}: one of {', '.join(GROUPS)}", param="by")
        refuse_twice(groups)
        found: dict[tuple[str, ...], Spend] = {}
        with self._engine.connect() as connection:
            names = key_names(connection) if "key" in groups else {}
            rows = self._rolled(connection, groups, filters, names)
            for spend in _summed(connection, groups, filters, names) if rows is None else rows:
                found.setdefault(spend.group, Spend(spend.group)).add(spend)
            if rows is None and ("deployment" in groups or "provider" in groups):
                _move(connection, groups, filters, found, names)
        spends = sorted(found.values(), key=lambda row: (-row.cost, row.group))
        return sorted(spends, key=lambda row: row.group[0]) if groups and groups[0] == "day" else spends

    def _rolled(
        self, connection: Connection, groups: Sequence[str], filters: Filters, names: dict[str, str]
    ) -> list[Spend] | None:
        """The spend as rollups tell it, None where they do not."""
        others = [name for name in groups if name != "day"]
        if set(others) == {"model", "deployment"}:
            others = ["arm"]
        # A filter by deployment means here: whole calls that it answered or was tried for. Rollups know its part only.
        if len(others) > 1 or filters.deployment is not None:
            return None
        view = View.of(filters, others[0] if others else "")
        plan = plan_of(connection, view, DAY_NS, self._time_ns())
        if plan is None:
            return None
        step = DAY_NS if "day" in groups else EVER
        rows = []
        for (start, value), numbers in add_up(connection, view, plan, _FIELDS, step).items():
            if any(numbers) or not groups:
                shown = dict.fromkeys(others, f"{names[value]} ({value})" if value in names else value)
                shown["day"] = day_of(start // DAY_NS)
                if "arm" in others:
                    shown["model"], _, shown["deployment"] = value.rpartition(" > ")
                rows.append(Spend(tuple(shown[name] for name in groups), *numbers))
        return rows

    def unpriced(self, filters: Filters) -> list[tuple[str, int]]:
        """Returns the deployments that answered calls with something unpriced in them, and how many."""
        count = func.count()
        query = select(calls.c.deployment, count).where(unpriced(), *conditions(filters))
        with self._engine.connect() as connection:
            rows = self._rolled(connection, ["deployment"], filters, {})
            if rows is None:
                found = [
                    (name or "", number) for name, number in connection.execute(query.group_by(calls.c.deployment))
                ]
            else:
                found = [(row.group[0], row.unpriced) for row in rows if row.unpriced]
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def attempts(self, filters: Filters) -> Iterator[tuple[int, AttemptRecord]]:
        """Yields every billed attempt of calls that had several, with the time (ns) of its call."""
        query = select(calls.c.time_ns, calls.c.detail).where(several(), *conditions(filters))
        with self._engine.connect() as connection:
            for time_ns, detail in connection.execution_options(yield_per=500).execute(query):
                for attempt in billed_attempts(detail):
                    yield time_ns, attempt

    def single(self, filters: Filters) -> list[tuple[int, str, Spend]]:
        """Returns day (since 1970), deployment and sums of all calls that had one billed attempt, its answer's."""
        wanted = (billed(), ~several(), *conditions(filters))
        query = select(_COLUMNS["day"], calls.c.deployment, *_sums()).where(*wanted)
        query = query.group_by(_COLUMNS["day"], calls.c.deployment)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [(int(row[0]), row[1] or "", _spend((), row[2:])) for row in rows]


def _summed(connection: Connection, groups: Sequence[str], filters: Filters, names: dict[str, str]) -> Iterator[Spend]:
    columns = [_COLUMNS[name].label(f"by_{n}") for n, name in enumerate(groups)]
    query = select(*columns, *_sums()).where(*conditions(filters)).group_by(*columns)
    for row in connection.execute(query):
        group = tuple(_show(name, value, names) for name, value in zip(groups, row, strict=False))
        yield _spend(group, row[len(groups) :])


def _move(
    connection: Connection,
    groups: Sequence[str],
    filters: Filters,
    found: dict[tuple[str, ...], Spend],
    names: dict[str, str],
) -> None:
    """Charges attempts at other deployments to these, instead of to the one that answered."""
    columns = [_COLUMNS[name].label(f"by_{n}") for n, name in enumerate(groups)]
    query = select(*columns, calls.c.deployment, calls.c.detail).where(several(), *conditions(filters))
    for row in connection.execution_options(yield_per=500).execute(query):
        here = tuple(_show(name, value, names) for name, value in zip(groups, row, strict=False))
        for elsewhere, cost in paid_elsewhere(row.detail, row.deployment):
            places = {"deployment": elsewhere, "provider": elsewhere.partition("/")[0]}
            there = tuple(places.get(name, value) for name, value in zip(groups, here, strict=True))
            found[here].cost -= cost
            found.setdefault(there, Spend(there)).cost += cost


def day_of(day: int) -> str:
    """Returns a day (since 1970) as ``2026-11-25``."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _sums() -> list[ColumnElement[Any]]:
    return [SUMMED[name]() for name in _FIELDS]


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
        return f"{key_names[value]} ({value})" if value in key_names else clean_word(str(value))
    return clean_word(str(value))
