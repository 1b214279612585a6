"""What alerts read of calls: counts, quantiles, history, breakers, feedback, of a window. Loads SQLAlchemy.

Windows are read from the calls that ended in them; long stretches (history, budgets) from rollups.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Engine, case, func, literal_column, or_, select

from headgate.core.rule import LimitRule
from headgate.stores.budgets import Budget, list_budgets
from headgate.stores.detail import attempts_of
from headgate.stores.figures import Figures
from headgate.stores.limits import list_limits
from headgate.stores.query import LATE_NUMBERS, Filters, conditions, during, key_names
from headgate.stores.rollups import HOUR_NS, MINUTE_NS
from headgate.stores.satisfaction import COUNTS_FEEDBACK
from headgate.stores.schema import CALLS_BY, calls, feedback
from headgate.stores.stats import StatsStore

BY = ("key", "user", "team", "feature", "model", "deployment", "prompt")
"""What calls may be told apart by, and filtered by."""
MOST = 1000
"""Subjects of one rule; those with the most calls are watched."""
SAMPLES = 50_000
_LONGEST_NS = 20 * 60 * 10**9
"""Calls that take longer than this are not seen by shorter windows."""
_MARKED_NS = 2 * 3600 * 10**9
_LOOKED_AT = 2000
_NO_TEXT = ("count_tokens", "embeddings")
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "": literal_column("''"),
    **CALLS_BY,
}
Amount = Literal["cost", "calls", "tokens"]


class Counts(msgspec.Struct):
    """What the calls of one subject came to. ``cost`` is nano-dollars; ``errors`` are calls by error code."""

    calls: int = 0
    completed: int = 0
    failed: int = 0
    empty: int = 0
    long: int = 0
    fallbacks: int = 0
    cost: int = 0
    tokens: int = 0
    errors: dict[str, int] = {}


class Score(msgspec.Struct):
    """How many scores feedback gave, and their sum."""

    scores: int
    sum: float


class CallReadings:
    """Reads the calls in a database, and the windows of limits.

    Args:
        engine: the database.
        configured: the limits of the configuration.
        leased: whether the database knows what is used of limits.
    """

    def __init__(self, engine: Engine, configured: Sequence[LimitRule] = (), *, leased: bool = True) -> None:
        self._engine = engine
        self._configured = configured
        self._leased = leased
        self._marks: deque[tuple[int, int]] = deque()

    def mark(self, now_ns: int) -> None:
        """Notes which calls are there by now, so that later looks need not go through older ones; once a look."""
        with self._engine.connect() as connection:
            last = connection.execute(select(func.coalesce(func.max(calls.c.n), 0))).scalar_one()
        if self._marks and self._marks[-1][0] >= now_ns:
            self._marks.clear()  # the clock was set back
        self._marks.append((now_ns, int(last)))
        while self._marks[0][0] < now_ns - _MARKED_NS:
            self._marks.popleft()

    def _ended(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> list[ColumnElement[bool]]:
        """Calls that ended since then: what takes longer than the window must be seen, too."""
        c = calls.c
        found = [c.time_ns + c.duration_us * 1000 >= since_ns, *during(since_ns - _LONGEST_NS, until_ns)]
        known = [number for moment, number in self._marks if moment <= since_ns]
        if known:
            # Several recorders take numbers before they commit: a lower one may show up late.
            found.append(c.n > known[-1] - (LATE_NUMBERS if self._engine.dialect.name == "postgresql" else 0))
        return [*found, *_only(by, where)]

    def counts(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, Counts]:
        """Returns the counts of each subject that has calls; of each kind of call at most ``MOST`` subjects."""
        c = calls.c
        subject = _COLUMNS[by]
        text = c.dialect.not_in(_NO_TEXT)
        empty = (c.outcome == "completed") & (c.output_tokens == 0) & text
        tokens = func.coalesce(c.input_tokens, 0) + func.coalesce(c.output_tokens, 0)
        query = (
            select(
                subject.label("subject"),
                c.outcome,
                c.error,
                func.count().label("calls"),
                func.sum(case((empty, 1), else_=0)),
                func.sum(case((c.finish == "length", 1), else_=0)),
                func.sum(case((c.tried.is_not(None), 1), else_=0)),
                func.sum(c.cost),
                func.sum(tokens),
            )
            .where(*self._ended(by, where, since_ns, until_ns))
            .group_by("subject", c.outcome, c.error)
        )
        found: dict[str, Counts] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                _add(found.setdefault(str(row[0]), Counts(errors={})), row[1], row[2], [int(n or 0) for n in row[3:]])
        if len(found) > MOST:
            busiest = sorted(found, key=lambda name: (-found[name].calls, name))[:MOST]
            found = {name: found[name] for name in busiest}
        return found

    def quantiles(
        self,
        field: Literal["latency", "first_content"],
        quantile: float,
        by: str,
        where: Mapping[str, str],
        since_ns: int,
        until_ns: int,
    ) -> dict[str, tuple[int, float]]:
        """Returns how many of each subject's calls count, and the quantile of their times in seconds.

        Completed calls count; for first content streamed ones. Of very many calls the newest are looked at.
        """
        c = calls.c
        column = c.duration_us if field == "latency" else c.first_content_us
        only = [c.outcome == "completed", column >= 0]
        if field == "first_content":
            only.append(c.stream)
        newest = (
            select(_COLUMNS[by].label("subject"), column.label("us"))
            .where(*self._ended(by, where, since_ns, until_ns), *only)
            .order_by(c.time_ns.desc())
            .limit(SAMPLES)
        )
        times: dict[str, list[int]] = {}
        with self._engine.connect() as connection:
            for subject, us in connection.execute(newest):
                times.setdefault(str(subject), []).append(us)
        found = {}
        for subject, values in times.items():
            values.sort()
            place = max(0, math.ceil(quantile * len(values)) - 1)
            found[subject] = (len(values), values[place] / 1e6)
        return found

    def history(
        self, amount: Amount, by: str, where: Mapping[str, str], since_ns: int, until_ns: int, step_ns: int
    ) -> dict[str, dict[int, int]]:
        """Returns each subject's amount by number of the step, counted from ``since_ns``; steps without calls lack.

        ``since_ns`` is a multiple of ``step_ns``. Whole hours come from rollups, so do minutes where these know.
        """
        if _rolled(by, where, step_ns):
            filters = _filters(where, since_ns, until_ns)
            steps: dict[str, dict[int, int]] = {}
            for (start, subject), figures in StatsStore(self._engine).steps(by, filters, step_ns).items():
                if subject or not by:
                    steps.setdefault(subject, {})[(start - since_ns) // step_ns] = _amount(amount, figures)
            return steps
        c = calls.c
        tokens = func.coalesce(c.input_tokens, 0) + func.coalesce(c.output_tokens, 0)
        value = {"cost": func.sum(c.cost), "calls": func.count(), "tokens": func.sum(tokens)}[amount]
        # Written out: Postgres would take a bound number in SELECT and in GROUP BY for two.
        first, size = (literal_column(str(number), BigInteger) for number in (since_ns, step_ns))
        step = ((c.time_ns - first) // size).label("step")
        query = (
            select(_COLUMNS[by].label("subject"), step, value)
            .where(*_where(by, where, since_ns, until_ns))
            .group_by("subject", "step")
        )
        found: dict[str, dict[int, int]] = {}
        with self._engine.connect() as connection:
            for subject, number, total in connection.execute(query):
                found.setdefault(str(subject), {})[int(number)] = int(total or 0)
        return found

    def spent(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, int]:
        """Returns the cost of each subject's calls, nano-dollars, since the begin of an hour."""
        if not _rolled(by, where, HOUR_NS):
            whole = self.history("cost", by, where, since_ns, until_ns, until_ns - since_ns)
            return {name: sum(steps.values()) for name, steps in whole.items()}
        found = StatsStore(self._engine).groups(by, _filters(where, since_ns, None))
        return {name: figures.cost for name, figures in found.items() if name or not by}

    def breakers(self, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, int]:
        """Returns how many attempts an open breaker turned away, by deployment; of many calls the newest count."""
        c = calls.c
        query = (
            select(c.detail)
            .where(*self._ended("", where, since_ns, until_ns), or_(c.error.is_not(None), c.tried.is_not(None)))
            .order_by(c.time_ns.desc())
            .limit(_LOOKED_AT)
        )
        found: dict[str, int] = {}
        with self._engine.connect() as connection:
            for (detail,) in connection.execute(query):
                for attempt in attempts_of(detail):
                    if attempt.error == "breaker_open":
                        found[attempt.deployment] = found.get(attempt.deployment, 0) + 1
        return found

    def scores(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, Score]:
        """Returns the scores that feedback gave in the window, of each subject's calls."""
        f = feedback.c
        query = (
            select(_COLUMNS[by].label("subject"), func.count(), func.sum(f.score))
            .select_from(feedback.join(calls, (calls.c.id == f.call_id) & COUNTS_FEEDBACK))
            .where(f.time_ns >= since_ns, f.time_ns < until_ns, f.score.is_not(None), *_only(by, where))
            .group_by("subject")
        )
        with self._engine.connect() as connection:
            return {str(row[0]): Score(row[1], float(row[2])) for row in connection.execute(query)}

    def limits(self) -> list[LimitRule]:
        """Returns the limits that calls are held to: of the configuration, and of the store."""
        with self._engine.connect() as connection:
            return [*self._configured, *(info.rule for info in list_limits(connection))]

    def budgets(self, now_ns: int) -> list[Budget] | None:
        """Returns what is used and reserved of limits in dollars, the fullest; None where only workers know."""
        return list_budgets(self._engine, now_ns, unit="dollars", limit=MOST) if self._leased else None

    def key_names(self) -> dict[str, str]:
        """Returns the names of keys by id."""
        with self._engine.connect() as connection:
            return key_names(connection)


def _filters(where: Mapping[str, str], since_ns: int | None = None, until_ns: int | None = None) -> Filters:
    named: dict[str, Any] = dict(where)
    return Filters(since_ns=since_ns, until_ns=until_ns, **named)


def _rolled(by: str, where: Mapping[str, str], step_ns: int) -> bool:
    """Whether rollups answer this without reading calls: one dimension, and steps that they have."""
    asked = {*where, *([by] if by else [])}
    return len(asked) < 2 and step_ns % (MINUTE_NS if asked <= {"model", "deployment"} else HOUR_NS) == 0


def _amount(amount: Amount, figures: Figures) -> int:
    if amount == "tokens":
        return figures.input_tokens + figures.output_tokens
    return figures.cost if amount == "cost" else figures.calls


def _only(by: str, where: Mapping[str, str]) -> list[ColumnElement[bool]]:
    found = conditions(_filters(where))
    if by:
        found += [_COLUMNS[by].is_not(None), _COLUMNS[by] != ""]
    return found


def _where(by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> list[ColumnElement[bool]]:
    return [*during(since_ns, until_ns), *_only(by, where)]


def _add(counts: Counts, outcome: str, error: str | None, numbers: list[int]) -> None:
    count, empty, long, tried, cost, tokens = numbers
    counts.calls += count
    counts.completed += count if outcome == "completed" else 0
    counts.failed += count if outcome == "failed" else 0
    counts.empty += empty
    counts.long += long
    counts.fallbacks += tried if outcome == "completed" else 0
    counts.cost += cost
    counts.tokens += tokens
    if error:
        counts.errors[error] = counts.errors.get(error, 0) + count
