"""A question about many calls: which rollup dimension answers it, which rows of it, and how rows fall into groups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, or_, select

from headgate.core.errors import BadRequest
from headgate.core.record import Record
from headgate.stores.figures import Facts, Figures, facts_of, sum_of
from headgate.stores.query import Filters, conditions
from headgate.stores.rollups import LONGEST_WORD, arm_name, clean_word, dimension_of
from headgate.stores.rows import deployment_of, to_record
from headgate.stores.schema import CALLS_BY, calls, minutes, virtual_keys
from headgate.stores.spans import Piece

GROUPS = ("key", "user", "team", "feature", "prompt", "model", "deployment", "provider", "arm")
"""What calls can be grouped by."""

EVER = 1 << 62
"""A step in time that is longer than all time."""

_AT_ONCE = 10_000
_NAMED = tuple(CALLS_BY)
_ONLY_CALLS = ("error", "finish", "trace", "session", "id_prefix")
_ARMS = frozenset({"model", "deployment", "arm"})
PLACES = frozenset({"deployment", "provider", "arm"})
"""Groups that money is booked to where it was spent, be it for an answer that came from elsewhere."""

_GROUPED: dict[str, tuple[ColumnElement[Any], ...]] = {
    "": (),
    **{name: (column,) for name, column in CALLS_BY.items()},
    "provider": (calls.c.deployment,),
    "arm": (calls.c.model, calls.c.deployment),
}


class View(msgspec.Struct, frozen=True):
    """How a question is answered.

    Attributes:
        filters: which calls.
        group: one of ``GROUPS``, "" for all in one.
        dimension: of ``rollups.DIMENSIONS``; None where only the calls themselves can tell.
        by_minute: whether minutes know the answer.
        minutes_only: whether nothing wider than minutes does.
    """

    filters: Filters
    group: str
    dimension: str | None
    by_minute: bool
    minutes_only: bool

    @classmethod
    def of(cls, filters: Filters, group: str = "") -> View:
        """Returns the view of a question.

        Raises:
            BadRequest: an unknown group.
        """
        if group and group not in GROUPS:
            raise BadRequest(f"unknown group {group!r}: one of {', '.join(GROUPS)}", code="invalid_value", param="by")
        wanted = {name for name in _NAMED if getattr(filters, name) is not None}
        if group:
            wanted.add("deployment" if group == "provider" else group)
        dimension: str | None = None
        if len(wanted) < 2:
            dimension = next(iter(wanted), "all")
        elif wanted <= _ARMS:
            dimension = "arm"
        by_minute = dimension == "all" or dimension in _ARMS
        minutes_only = filters.outcome is not None or filters.status is not None
        if any(getattr(filters, name) is not None for name in _ONLY_CALLS) or filters.tags:
            dimension = None
        if minutes_only and not by_minute:
            dimension = None
        return cls(filters, group, dimension, by_minute, minutes_only)

    def holds(
        self, connection: Connection, piece: Piece, among: Sequence[str] | None = None
    ) -> list[ColumnElement[bool]]:
        """Returns what a query's ``where`` wants for a piece's rows; ``group_of`` drops some more.

        ``among`` are the only groups that matter, None for all; others may still come.
        """
        filters, c = self.filters, piece.table.c
        if piece.table is minutes:
            found = [piece.holds()]
            for column, value in ((c.model, filters.model), (c.deployment, filters.deployment)):
                if value is not None:
                    found.append(column == clean_word(value))
            return found + _outcomes(filters)
        assert self.dimension is not None
        value = getattr(filters, self.dimension) if self.dimension in _NAMED else None
        names: Sequence[str] | None = None
        if value is not None:
            names = _ids(connection, value) if self.dimension == "key" else [clean_word(value)]
        elif self.group == self.dimension:
            names = among
        found = [c.dimension == dimension_of(self.dimension), piece.holds(few=names is not None)]
        if names is not None:
            found.append(c.value.in_(names))
        return found

    def value(self, piece: Piece) -> list[Any]:
        """Returns the columns that say which value a piece's row is of; ``group_of`` takes them."""
        if piece.table is not minutes:
            return [piece.table.c.value]
        return [piece.table.c.model, piece.table.c.deployment]

    def group_of(self, value: tuple[str, ...]) -> str | None:
        """Returns the group that a row belongs to, None where the filters leave it out."""
        filters = self.filters
        if len(value) == 1 and self.dimension != "arm":
            return self._name(value[0], value[0], value[0]) if self.group else ""
        if len(value) == 1:
            model, _, deployment = value[0].rpartition(" > ")
        else:
            model, deployment = value
            if self.dimension == "all":
                return ""
        for asked, there in ((filters.model, model), (filters.deployment, deployment)):
            if asked is not None and clean_word(asked) != there:
                return None
        return self._name(model, deployment, arm_name(model, deployment)) if self.group else ""

    def _name(self, model: str, deployment: str, other: str) -> str:
        if self.group == "provider":
            return deployment.partition("/")[0]
        return {"model": model, "deployment": deployment}.get(self.group, other)

    def group_of_call(self, record: Record, deployment: str) -> str:
        """Returns the group of a call, as far as it is a matter of this deployment."""
        if self.group in ("", "model", "deployment", "provider", "arm"):
            return self.group_at(record.model, deployment) if self.group else ""
        return clean_word(str(getattr(record, "key_id" if self.group == "key" else self.group)))

    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """Returns the columns of ``calls`` that say which group a call is of."""
        return _GROUPED[self.group]

    def only(self, names: Collection[str] | None) -> list[ColumnElement[bool]]:
        """Returns what keeps calls of other groups than these out, as far as their columns tell."""
        if names is None or not self.group or self.group in PLACES:
            return []
        (column,) = _GROUPED[self.group]
        # A longer or odd word has a group of another name, see ``clean_word``.
        if any(len(name) >= LONGEST_WORD or "\ufffd" in name for name in names):
            return []
        return [or_(column.in_(names), column.is_(None))] if "" in names else [column.in_(names)]

    def group_at(self, model: str, deployment: str) -> str:
        """Returns the group, one of those that models and deployments make, of what was spent there."""
        model, place = clean_word(model), clean_word(deployment)
        return self._name(model, place, arm_name(model, place))


def scan(
    connection: Connection,
    view: View,
    stretches: Iterable[tuple[int, int | None]],
    step: int = EVER,
    names: Collection[str] | None = None,
) -> dict[tuple[int, str], Figures]:
    """Reads calls one by one.

    Args:
        connection: the database.
        view: the question.
        stretches: times in ns; those that begin at ``since`` and before ``until``, None for all to come.
        step: how long a step is, in ns.
        names: the groups that matter; None for all.

    Returns:
        Figures by begin of the step (ns) and group.
    """
    asked = view.filters.deployment
    places = asked is not None or view.group in PLACES
    wanted = None if names is None else frozenset(names)
    found: dict[tuple[int, str], Figures] = {}
    counted: dict[tuple[int, str], list[Facts]] = {}
    moved: list[tuple[int, str, int]] = []
    columns, read = calls.c.keys(), 0
    for since, until in stretches:
        filters = msgspec.structs.replace(view.filters, since_ns=since, until_ns=until)
        where = [*conditions(filters), *view.only(names)]
        for row in connection.execute(select(calls).where(*where).execution_options(yield_per=1000)):
            read += 1
            if read % _AT_ONCE == 0:
                _add_counted(found, counted)
            record = to_record(dict(zip(columns, row, strict=True)))
            start = record.time_ns // step * step
            deployment = deployment_of(record) or ""
            facts = facts_of(record, deployment)
            if asked is None or deployment == asked:
                group = view.group_of_call(record, deployment)
                if wanted is None or group in wanted:
                    counted.setdefault((start, group), []).append(facts)
            for place, cost in (facts.moved or {}).items() if places else ():
                if asked is None or deployment == asked:
                    moved.append((start, view.group_of_call(record, deployment), -cost))
                if asked is None or place == asked:
                    moved.append((start, view.group_of_call(record, place), cost))
    _add_counted(found, counted)
    for start, group, cost in moved:
        if wanted is None or group in wanted:
            found.setdefault((start, group), Figures()).move(cost)
    return found


def _add_counted(found: dict[tuple[int, str], Figures], counted: dict[tuple[int, str], list[Facts]]) -> None:
    """Adds up what was read, and forgets it: of millions of calls not all are held at once."""
    for key, facts in counted.items():
        found.setdefault(key, Figures()).merge(sum_of(facts))
    counted.clear()


def _outcomes(filters: Filters) -> list[ColumnElement[bool]]:
    c = minutes.c
    found = []
    if filters.outcome is not None:
        found.append(c.outcome == filters.outcome)
    if filters.status is not None:
        low = filters.status * 100
        hundreds = 1 <= filters.status <= 9
        found.append(c.status.between(low, low + 99) if hundreds else c.status == filters.status)
    return found


def _ids(connection: Connection, key: str) -> list[str]:
    """The ids that a key's id or name may mean."""
    c = virtual_keys.c
    named = connection.execute(select(c.id).where(or_(c.name == key, c.id == key))).scalars()
    return [clean_word(key), *named]
