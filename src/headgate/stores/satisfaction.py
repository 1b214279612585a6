"""Reads feedback back: one by one, and as a series of satisfaction next to cost and latency. Loads SQLAlchemy.

Only feedback that its giver may give counts: of the call's own key, or trusted; so what came before its Record counts
from when that is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Engine, Row, Select, case, func, literal_column, or_, select, tuple_

from headgate.core.errors import BadRequest
from headgate.stores.feedback_rows import plain_feedback
from headgate.stores.figures import Figures
from headgate.stores.query import Filters, conditions, key_names, refuse_twice
from headgate.stores.rollups import DAY_NS, HOUR_NS
from headgate.stores.schema import CALLS_BY, calls, feedback
from headgate.stores.stats import StatsStore

BAD_BELOW = 0.5
"""A score below this counts as bad."""
GROUPS = ("hour", "day", "key", "user", "team", "feature", "prompt", "model", "deployment", "label")
_MOST_VALUES = 100
"""Values of one dimension whose calls are asked of the rollups, one by one."""
_BUCKETS = {"hour": HOUR_NS, "day": DAY_NS}
_COLUMNS: dict[str, ColumnElement[Any]] = {
    # Written out: Postgres would take a bound number in SELECT and in GROUP BY for two.
    **{name: calls.c.time_ns // literal_column(str(size), BigInteger) for name, size in _BUCKETS.items()},
    **CALLS_BY,
    "label": feedback.c.label,
}
COUNTS_FEEDBACK = or_(feedback.c.trusted, feedback.c.key_id == calls.c.key_id)
_JOIN = calls.join(feedback, (feedback.c.call_id == calls.c.id) & COUNTS_FEEDBACK)
_BY_ID = (calls, "INDEXED BY sqlite_autoindex_calls_1", "sqlite")
"""For SQLite, which would go through all calls of the time instead of the few that somebody has judged."""


class Satisfaction(msgspec.Struct):
    """What one group of calls was thought of, next to what they cost and took.

    Attributes:
        group: the values that it was grouped by; "" where calls have none.
        feedback: how many times feedback was given.
        scored: how many of these have a score.
        score: their mean, from 0 to 1; None without any.
        bad: how many scores lie below 0.5.
        calls: all calls of the group, judged or not; None where grouped by label, which calls do not have.
        cost: nano-dollars of them; None as well.
        latency: their median time to the whole answer (s), within 1 %; None without any that completed, and where
            several things other than time are grouped by.
    """

    group: tuple[str, ...]
    feedback: int = 0
    scored: int = 0
    score: float | None = None
    bad: int = 0
    calls: int | None = None
    cost: int | None = None
    latency: float | None = None


class Step(msgspec.Struct, frozen=True):
    """What the calls of one step of time were thought of: begin (ns since 1970), judgements, scores,
    the sum of these, and the bad ones among them.

    ``late`` says on which side of the moment that splits the time they lie.
    """

    start_ns: int
    late: bool
    feedback: int
    scored: int
    total: float
    bad: int


class FeedbackStore:
    """The feedback in a database, for reading."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(
        self,
        filters: Filters,
        limit: int,
        after: tuple[int, str] | None = None,
        *,
        label: str | None = None,
        below: float | None = None,
    ) -> list[dict[str, Any]]:
        """Returns at most ``limit`` feedbacks, newest first, each with model, deployment and feature of its call.

        Args:
            filters: which calls.
            limit: how many.
            after: time and id of the last one shown before.
            label: only with this label.
            below: only with a score below this.

        Raises:
            BadRequest: a filter that can not be understood.
        """
        if below is not None and not 0 <= below <= 1:  # so that NaN, which is below nothing, is refused
            raise BadRequest("below must be a score from 0 to 1", code="invalid_value", param="below")
        f, c = feedback.c, calls.c
        query = select(feedback, c.model, c.deployment, c.feature, c.prompt).select_from(_JOIN).where(*_where(filters))
        query = query.with_hint(*_BY_ID)
        if after is not None:
            query = query.where(tuple_(f.time_ns, f.id) < tuple_(*after))
        if label is not None:
            query = query.where(f.label == label)
        if below is not None:
            query = query.where(f.score < below)
        query = query.order_by(f.time_ns.desc(), f.id.desc()).limit(limit)
        more = ("model", "deployment", "feature", "prompt")
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [{**plain_feedback(dict(row)), **{name: row[name] for name in more}} for row in rows]

    def series(self, groups: Sequence[str], filters: Filters, *, beside: bool = True) -> list[Satisfaction]:
        """Returns the satisfaction of each group that has feedback, in the order of their names or times.

        Args:
            groups: of ``GROUPS``; none for one sum of all.
            filters: which calls; hours and days are those of the calls.
            beside: whether their number, cost and latency are wanted, too. From rollups where time and one other
                thing are grouped by; else that reads all calls of the time.

        Raises:
            BadRequest: a group or filter that does not exist, or a group that stands twice.
        """
        for name in groups:
            if name not in GROUPS:
                raise BadRequest(f"unknown group {name!r}: one of {', '.join(GROUPS)}", param="by")
        refuse_twice(groups)
        columns = [_COLUMNS[name].label(f"by_{n}") for n, name in enumerate(groups)]
        query = select(*columns, *_sums()).select_from(_JOIN).where(*_where(filters)).group_by(*columns)
        query = query.with_hint(*_BY_ID)
        with self._engine.connect() as connection:
            names = key_names(connection) if "key" in groups else {}
            rows = [_satisfaction(groups, row, names) for row in connection.execute(query)]
            found = {one.group: one for one in rows if one.feedback}
        if beside and "label" not in groups:
            for one in found.values():
                one.calls = one.cost = 0
            self._add_calls(groups, filters, found, names)
        return [found[group] for group in sorted(found)]

    def course(self, since_ns: int, split_ns: int, until_ns: int, step_ns: int) -> list[Step]:
        """Returns the steps of a time that have feedback, in any order, all in one pass.

        Args:
            since_ns, until_ns: of which calls.
            split_ns: a moment between; its step may come twice, before and after it.
            step_ns: how long a step is; they begin at its multiples.
        """
        c, f = calls.c, feedback.c
        # Written out, as above.
        start = c.time_ns // literal_column(str(step_ns), BigInteger)
        late = case((c.time_ns >= literal_column(str(split_ns), BigInteger), 1), else_=0)
        given, scored, _, bad = _sums()
        query = select(start, late, given, scored, func.sum(f.score), bad).select_from(_JOIN)
        # The sum keeps the index of calls by time out of it: judgements are few, and lead to their calls by id.
        made = c.time_ns + literal_column("0", BigInteger)
        inside = (f.time_ns >= since_ns - HOUR_NS, made >= since_ns, made < until_ns)
        query = query.where(*inside).group_by(start, late)
        with self._engine.connect() as connection:
            return [
                Step(int(at) * step_ns, bool(side), int(given), int(scored), float(total or 0), int(bad or 0))
                for at, side, given, scored, total, bad in connection.execute(query)
            ]

    def scores(self, since_ns: int, until_ns: int, filters: Filters | None = None) -> tuple[int, float | None]:
        """Returns how many scores were given in a time, by when they were given, and their mean. Cheap; for alerts."""
        c = feedback.c
        inside = (c.time_ns >= since_ns, c.time_ns < until_ns, c.score.is_not(None))
        query = select(func.count(), func.avg(c.score)).select_from(_JOIN).with_hint(*_BY_ID)
        query = query.where(*inside, *conditions(filters or Filters()))
        with self._engine.connect() as connection:
            count, mean = connection.execute(query).one()
        return int(count), None if mean is None else float(mean)

    def _add_calls(
        self,
        groups: Sequence[str],
        filters: Filters,
        found: dict[tuple[str, ...], Satisfaction],
        names: dict[str, str],
    ) -> None:
        """Puts number, cost and latency of all their calls beside the groups that have feedback."""
        times = [name for name in groups if name in _BUCKETS]
        others = [name for name in groups if name not in _BUCKETS]
        at = groups.index(others[0]) if others else -1
        values = {group[at] if others else "all" for group in found}
        taken = bool(others) and getattr(filters, others[0]) is not None
        crossed = len(times) > 1 or len(others) > 1 or (taken and len(values) > 1)
        if crossed or len(values) > _MOST_VALUES or (times and filters.since_ns is None):
            self._scan_calls(groups, filters, found, names)
            return
        if "" in values:
            # Calls that have none of it: filters can not say that, and calls tell.
            self._scan_calls(groups, filters, found, names, without=others[0])
        for value in values - {""}:
            narrowed = filters
            if others and not taken:
                word = _key_id(value) if others[0] == "key" else value
                narrowed = msgspec.structs.replace(filters, **{others[0]: word})
            for time, figures in self._figures(times, narrowed):
                group = tuple(time if name in _BUCKETS else value for name in groups)
                if group in found:
                    _add_figures(found[group], figures)

    def _figures(self, times: Sequence[str], filters: Filters) -> Iterator[tuple[str, Figures]]:
        """Yields the figures of each hour or day, or of all in one."""
        stats = StatsStore(self._engine)
        if not times:
            yield "", stats.total(filters)
            return
        size = _BUCKETS[times[0]]
        for start, figures in stats.series(filters, size):
            yield _show(times[0], start // size, {}), figures

    def _scan_calls(
        self,
        groups: Sequence[str],
        filters: Filters,
        found: dict[tuple[str, ...], Satisfaction],
        names: dict[str, str],
        without: str = "",
    ) -> None:
        columns = [_COLUMNS[name].label(f"by_{n}") for n, name in enumerate(groups)]
        query: Select[Any] = select(*columns, func.count(), func.sum(calls.c.cost))
        query = query.where(*conditions(filters)).group_by(*columns)
        if without:
            query = query.where(_COLUMNS[without].is_(None))
        with self._engine.connect() as connection:
            for row in connection.execute(query).all():
                one = found.get(_group(groups, row, names))
                if one is not None:
                    one.calls, one.cost = int(row[-2]), int(row[-1] or 0)


def _where(filters: Filters) -> list[ColumnElement[bool]]:
    found = conditions(filters)
    if filters.since_ns is not None:
        # Nobody judges a call before it is made: the index by time serves. An hour for clocks that disagree.
        found.append(feedback.c.time_ns >= filters.since_ns - HOUR_NS)
    return found


def _sums() -> tuple[ColumnElement[Any], ...]:
    score = feedback.c.score
    bad = func.sum(case((score < BAD_BELOW, 1), else_=0))
    return func.count(), func.count(score), func.avg(score), bad


def _satisfaction(groups: Sequence[str], row: Row[Any], names: dict[str, str]) -> Satisfaction:
    given, scored, mean, bad = row[len(groups) :]
    score = None if mean is None else float(mean)
    return Satisfaction(_group(groups, row, names), int(given), int(scored), score, int(bad or 0))


def _add_figures(one: Satisfaction, figures: Figures) -> None:
    median = figures.latency.quantile(0.5)
    one.calls, one.cost = figures.calls, figures.cost
    one.latency = None if median is None else median / 1e6


def _key_id(shown: str) -> str:
    """The id in ``name (id)``."""
    return shown.rpartition("(")[2].removesuffix(")") if shown.endswith(")") else shown


def _group(groups: Sequence[str], row: Row[Any], names: dict[str, str]) -> tuple[str, ...]:
    return tuple(_show(name, value, names) for name, value in zip(groups, row, strict=False))


def _show(name: str, value: Any, names: dict[str, str]) -> str:
    if name in _BUCKETS:
        moment = datetime.fromtimestamp(int(value) * _BUCKETS[name] / 1e9, UTC)
        return moment.date().isoformat() if name == "day" else moment.isoformat(timespec="minutes")[:16]
    if name == "key" and value in names:
        return f"{names[value]} ({value})"
    return "" if value is None else str(value)
