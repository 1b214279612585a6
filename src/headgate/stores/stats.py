"""Answers questions about many calls: totals, series in time, the top of each dimension, what moved. Loads SQLAlchemy.

Any stretch of time is answered exactly, from rollups: whole days, hours and minutes from their rows, the edges from the
calls themselves. A question about one dimension (``rollups.DIMENSIONS``; model and deployment together count as one,
the arm) costs a few milliseconds however many calls there were. One that crosses dimensions (a key's calls for a
model), or asks for what rollups do not know (a trace, a tag), reads calls: exact as well, but slower. Calls that
retention has deleted still count in whole hours, and in whole days for two years.

Callers: ``headgate stats``, the admin API, console, alerts. All of them ask by ``query.Filters``::

    stats = StatsStore(engine)
    hour = stats.total(Filters(since_ns=now - 3600 * 10**9))
    hour.calls, hour.error_rate, hour.cost, hour.errors, hour.latency.quantile(0.95)  # see figures.Figures
    stats.series(Filters(since_ns=…, model="fast"), step_ns=60 * 10**9)  # [(start in ns, Figures), …], no gaps
    stats.top("user", Filters(since_ns=…), limit=10, order="cost")  # [Group(value, label, figures), …]
    stats.movers("model", Filters(since_ns=…, until_ns=…))  # [Mover(value, label, now, before), …]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, Engine, func, select

from headgate.core.errors import BadRequest
from headgate.stores.figures import COUNTS, Figures
from headgate.stores.query import Filters, key_names
from headgate.stores.rollups import DAY_NS, HOUR_NS, MINUTE_NS, figure_columns
from headgate.stores.spans import Cover, start_of
from headgate.stores.sums import add_up, count_up, plan_of
from headgate.stores.view import EVER, View, scan

ORDERS = ("calls", "cost", "failed", "input_tokens", "output_tokens")
"""What the top can be ordered by."""

MOST_POINTS = 10_000
_BATCH = 1000


class Group(msgspec.Struct):
    """The calls of one key, user, model, …: ``value`` is its id or name ("" for none), ``label`` how it is shown."""

    value: str
    label: str
    figures: Figures


class Mover(msgspec.Struct):
    """As ``Group``, with the figures of the stretch of the same length before."""

    value: str
    label: str
    now: Figures
    before: Figures


class Moved(msgspec.Struct):
    """As ``Mover``, with one figure only."""

    value: str
    label: str
    now: int
    before: int


class Leader(msgspec.Struct):
    """As ``Group``, with the number of its calls and their cost (nano-dollars) only."""

    value: str
    label: str
    calls: int
    cost: int


class StatsStore:
    """The figures of the calls in a database, for reading."""

    def __init__(self, engine: Engine, *, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._time_ns = time_ns

    def total(self, filters: Filters) -> Figures:
        """Returns the sums of all calls that the filters let pass.

        Raises:
            BadRequest: a filter can not be understood.
        """
        return self._collect(View.of(filters), DAY_NS, EVER).get((0, ""), Figures())

    def series(self, filters: Filters, step_ns: int) -> list[tuple[int, Figures]]:
        """Returns the sums of each step in time, in order, empty steps too; the first and the last may be cut short.

        Args:
            filters: which calls; ``since_ns`` must be set. Without ``until_ns`` the series ends now.
            step_ns: whole minutes, in ns; steps begin at its multiples since 1970 (UTC).

        Raises:
            BadRequest: no ``since_ns``, a step that is none, more than ``MOST_POINTS`` steps.
        """
        since, until = filters.since_ns, filters.until_ns
        end = self._time_ns() if until is None else until
        if since is None:
            raise BadRequest("a series needs a beginning", code="invalid_value", param="since")
        if step_ns < MINUTE_NS or step_ns % MINUTE_NS:
            raise BadRequest("a step is whole minutes", code="invalid_value", param="step")
        first, last = since // step_ns, max(since, end - 1) // step_ns
        if last - first >= MOST_POINTS:
            raise BadRequest(
                f"at most {MOST_POINTS} steps at once: take longer ones", code="invalid_value", param="step"
            )
        points = {number: Figures() for number in range(first, last + 1)}
        unit = next(unit for unit in (DAY_NS, HOUR_NS, MINUTE_NS) if step_ns % unit == 0)
        for (start, _), figures in self._collect(View.of(filters), unit, step_ns).items():
            if start // step_ns in points:
                points[start // step_ns] = figures
        return [(number * step_ns, figures) for number, figures in points.items()]

    def steps(self, group: str, filters: Filters, step_ns: int) -> dict[tuple[int, str], Figures]:
        """Returns the sums of every group in each step in time that has any, by begin of the step (ns) and group.

        Args:
            group: one of ``view.GROUPS``, "" for all in one.
            filters: which calls.
            step_ns: whole minutes, in ns; steps begin at its multiples since 1970 (UTC).

        Raises:
            BadRequest: an unknown group or filter.
        """
        unit = next(unit for unit in (DAY_NS, HOUR_NS, MINUTE_NS) if step_ns % unit == 0)
        return self._collect(View.of(filters, group), unit, step_ns)

    def counts(self, filters: Filters) -> Figures:
        """As ``total``, but with the plain numbers (``figures.COUNTS``) only: sooner."""
        return self._counted("", filters).get("", Figures())

    def top(
        self, group: str, filters: Filters, limit: int = 10, order: str = "calls", *, plain: bool = False
    ) -> list[Group]:
        """Returns the groups that come first by one figure.

        Args:
            group: one of ``view.GROUPS``.
            filters: which calls.
            limit: most groups.
            order: one of ``ORDERS``.
            plain: whether the plain numbers (``figures.COUNTS``) will do, which takes less time.

        Raises:
            BadRequest: an unknown group, order or filter.
        """
        _check_order(order)
        view = View.of(filters, group)
        with self._engine.connect() as connection:
            plan = plan_of(connection, view, DAY_NS, self._time_ns())
            ranks = {name: numbers[0] for (_, name), numbers in add_up(connection, view, plan, [order]).items()}
            chosen = sorted(ranks, key=lambda name: (-ranks[name], name))[:limit]
            if plain:
                figures = _counts(connection, view, plan, chosen)
            else:
                figures = {name: one for (_, name), one in _collect(connection, view, plan, EVER, chosen).items()}
        labels = self._labels(group)
        return [Group(name, labels.get(name, name), figures.get(name, Figures())) for name in chosen]

    def groups(self, group: str, filters: Filters) -> dict[str, Figures]:
        """Returns the plain numbers (``figures.COUNTS``) of every group; of the rest, nothing that is complete.

        Raises:
            BadRequest: see ``top``.
        """
        return self._counted(group, filters)

    def _counted(self, group: str, filters: Filters) -> dict[str, Figures]:
        view = View.of(filters, group)
        with self._engine.connect() as connection:
            return _counts(connection, view, plan_of(connection, view, DAY_NS, self._time_ns()))

    def movers(self, group: str, filters: Filters, limit: int = 10, order: str = "cost") -> list[Mover]:
        """Returns the groups whose figure changed most against the stretch of the same length before.

        Args:
            group, limit, order: as for ``top``.
            filters: which calls; ``since_ns`` must be set.

        Raises:
            BadRequest: see ``top``; or no ``since_ns``.
        """
        views, plans, moved = self._moved(group, filters, order)
        labels, none = self._labels(group), Figures()
        chosen = _farthest(moved, limit)
        with self._engine.connect() as connection:
            now, before = (_counts(connection, view, plan, chosen) for view, plan in zip(views, plans, strict=True))
        return [Mover(name, labels.get(name, name), now.get(name, none), before.get(name, none)) for name in chosen]

    def moved(self, group: str, filters: Filters, limit: int = 10, order: str = "cost") -> list[Moved]:
        """As ``movers``, but with the one figure only: much sooner where groups or calls are many."""
        _, _, moved = self._moved(group, filters, order)
        labels = self._labels(group)
        return [Moved(name, labels.get(name, name), *moved[name]) for name in _farthest(moved, limit)]

    def leaders(self, group: str, filters: Filters, limit: int = 10, order: str = "calls") -> list[Leader]:
        """As ``top``, but with numbers of calls and costs only: much sooner where groups are many."""
        _check_order(order)
        view = View.of(filters, group)
        with self._engine.connect() as connection:
            plan = plan_of(connection, view, DAY_NS, self._time_ns())
            names = ["calls", "cost", *({order} - {"calls", "cost"})]
            found = add_up(connection, view, plan, names)
        by = names.index(order)
        chosen = sorted(found, key=lambda key: (-found[key][by], key))[:limit]
        labels = self._labels(group)
        return [Leader(name, labels.get(name, name), *found[start, name][:2]) for start, name in chosen]

    def _moved(
        self, group: str, filters: Filters, order: str
    ) -> tuple[list[View], list[Cover | None], dict[str, list[int]]]:
        """The stretch and the one before, what covers them, and each group's figure now and before."""
        _check_order(order)
        if filters.since_ns is None:
            raise BadRequest("what moved since when?", code="invalid_value", param="since")
        end = self._time_ns() if filters.until_ns is None else filters.until_ns
        begin = max(0, 2 * filters.since_ns - end)
        earlier = msgspec.structs.replace(filters, since_ns=begin, until_ns=filters.since_ns)
        views = [View.of(filters, group), View.of(earlier, group)]
        moved: dict[str, list[int]] = {}
        with self._engine.connect() as connection:
            plans = [plan_of(connection, view, DAY_NS, self._time_ns()) for view in views]
            for place, (view, plan) in enumerate(zip(views, plans, strict=True)):
                for (_, name), numbers in add_up(connection, view, plan, [order]).items():
                    moved.setdefault(name, [0, 0])[place] += numbers[0]
        return views, plans, moved

    def _collect(self, view: View, unit: int, step: int) -> dict[tuple[int, str], Figures]:
        """Returns all figures by begin of the step (ns) and group; rows that stand for more than ``unit`` do not do."""
        with self._engine.connect() as connection:
            return _collect(connection, view, plan_of(connection, view, unit, self._time_ns()), step)

    def _labels(self, group: str) -> dict[str, str]:
        """How values are shown that do not speak for themselves: the names of keys."""
        if group != "key":
            return {}
        with self._engine.connect() as connection:
            return key_names(connection)


def _check_order(order: str) -> None:
    if order not in ORDERS:
        raise BadRequest(f"unknown order {order!r}: one of {', '.join(ORDERS)}", code="invalid_value", param="order")


def _farthest(moved: Mapping[str, Sequence[int]], limit: int) -> list[str]:
    """The groups whose figure changed most, up or down."""
    return sorted(moved, key=lambda name: (-abs(moved[name][0] - moved[name][1]), name))[:limit]


def _collect(
    connection: Connection, view: View, plan: Cover | None, step: int, names: Sequence[str] | None = None
) -> dict[tuple[int, str], Figures]:
    """Returns figures by begin of the step (ns) and group; where ``names`` are given, of these groups only."""
    found = scan(connection, view, _stretches(view, plan), step, names)
    wanted = None if names is None else frozenset(names)
    for piece in [] if plan is None else plan.pieces:
        values = view.value(piece)
        where = view.holds(connection, piece, names)
        query = select(piece.table.c.bucket, *values, *figure_columns(piece.table)).where(*where)
        split = 1 + len(values)
        for row in connection.execute(query.execution_options(yield_per=_BATCH)):
            name = view.group_of(tuple(row[1:split]))
            if name is not None and (wanted is None or name in wanted):
                start = start_of(piece, row[0]) // step * step
                figures = found.get((start, name))
                if figures is None:
                    figures = found[start, name] = Figures()
                figures.add_columns(row[split:])
    return found


def _counts(
    connection: Connection, view: View, plan: Cover | None, names: Sequence[str] | None = None
) -> dict[str, Figures]:
    """Returns the plain numbers of every group, or of these, those of rollups added up in SQL."""
    found: dict[str, Figures] = {}
    for name, numbers in count_up(connection, view, _stretches(view, plan), names).items():
        found.setdefault(name, Figures()).add_counts(numbers)
    wanted = None if names is None else frozenset(names)
    for piece in [] if plan is None else plan.pieces:
        values = view.value(piece)
        where = view.holds(connection, piece, names)
        query = select(*values, *(func.sum(piece.table.c[name]) for name in COUNTS)).where(*where).group_by(*values)
        for row in connection.execute(query):
            named = view.group_of(tuple(row[: len(values)]))
            if named is not None and (wanted is None or named in wanted):
                found.setdefault(named, Figures()).add_counts([int(value or 0) for value in row[len(values) :]])
    return found


def _stretches(view: View, plan: Cover | None) -> list[tuple[int, int | None]]:
    """The times of which the calls themselves must be read."""
    return [(view.filters.since_ns or 0, view.filters.until_ns)] if plan is None else plan.edges
