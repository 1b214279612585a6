"""The first page: is all well, what does it cost, who uses it, what went wrong; and what comes in now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from headgate.console.alerts import firing
from headgate.console.budgets import Budget, read_budgets
from headgate.console.calls import row_of
from headgate.console.feedback import Judged, read_judged
from headgate.console.page import Page, View, Visit
from headgate.console.plot import Line, Plot
from headgate.stores.figures import Figures
from headgate.stores.query import CallStore, Filters
from headgate.stores.stats import Moved, StatsStore

_MINUTE = 60 * 10**9
_HOUR = 60 * _MINUTE
RECENT = 12
_TOP = 6


class Range(msgspec.Struct, frozen=True):
    """A stretch of time that ends now, and the steps of its charts (ns)."""

    name: str
    title: str
    length: int
    step: int


RANGES = (
    Range("1h", "1 hour", _HOUR, _MINUTE),
    Range("24h", "24 hours", 24 * _HOUR, 15 * _MINUTE),
    Range("7d", "7 days", 7 * 24 * _HOUR, 2 * _HOUR),
    Range("30d", "30 days", 30 * 24 * _HOUR, 12 * _HOUR),
)


def range_of(visit: Visit, default: str = "24h") -> Range:
    """Returns the range that the visit asks for; the default one for a word that names none."""
    by_name = {one.name: one for one in RANGES}
    return by_name.get(visit.query.get("range"), by_name[default])


def change(now: float | None, before: float | None) -> float | None:
    """Returns by what part a figure has grown; None where that can not be said."""
    return None if now is None or not before else now / before - 1


def quantile(figures: Figures, what: str, at: float) -> float | None:
    """Returns a quantile of ``latency`` or ``first_content`` in µs; None without any."""
    sketch = getattr(figures, what)
    return float(sketch.quantile(at)) if sketch.count else None


def plots(series: Sequence[tuple[int, Figures]]) -> list[Plot]:
    """Returns the charts of a series of figures."""
    times = [start for start, _ in series]
    figures = [one for _, one in series]
    sketches = {"latency": [one.latency for one in figures], "first": [one.first_content for one in figures]}

    def line(name: str, color: int, what: str, at: float) -> Line:
        return Line(name, color, [sketch.quantile(at) for sketch in sketches[what]])

    calls: list[float | None] = [one.calls for one in figures]
    bad: list[float | None] = [one.failed for one in figures]
    return [
        Plot("Calls", "count", times, [Line("calls", 0, calls, "bars"), Line("failed", 2, bad, "bars")]),
        Plot(
            "Time to the whole answer",
            "span",
            times,
            [line("p50", 0, "latency", 0.5), line("p95", 1, "latency", 0.95), line("p99", 2, "latency", 0.99)],
        ),
        Plot(
            "Time to the first content",
            "span",
            times,
            [line("p50", 0, "first", 0.5), line("p95", 1, "first", 0.95)],
        ),
        Plot("Spend", "money", times, [Line("spend", 0, [one.cost for one in figures], "bars")]),
    ]


def _show(visit: Visit) -> View:
    chosen = range_of(visit)
    now = time.time_ns()
    # From the begin of a step, so that the first one is whole: that is on the charts' axis.
    since = (now - chosen.length) // chosen.step * chosen.step
    stats = StatsStore(visit.desk.engine)
    filters = Filters(since_ns=since)
    series = stats.series(filters, chosen.step)
    total = Figures()
    for _, figures in series:
        total.merge(figures)
    before = stats.total(Filters(since_ns=since - chosen.length, until_ns=since))
    judged = read_judged(visit.desk.engine, since, now)
    recent, _ = CallStore(visit.desk.engine).page(Filters(), RECENT)
    data = {
        "range": chosen,
        "ranges": RANGES,
        "total": total,
        "tiles": [*_tiles(total, before), *_satisfied(judged)],
        "plots": [
            *(plots(series) if total.calls else []),
            *([judged.plot] if judged.plot is not None else []),
        ],
        "disliked": judged.bad,
        "firing": firing(visit),
        "movers": [
            (name, _moved(stats.moved(group, filters, _TOP)))
            for name, group in (("Features", "feature"), ("Models", "model"))
        ],
        "users": [one for one in stats.leaders("user", filters, _TOP, "cost") if one.calls],
        "errors": sorted(total.errors.items(), key=lambda one: -one[1])[:_TOP],
        "budgets": _tightest(visit, now),
        "recent": [row_of(story) for story in recent],
        "models": list(visit.desk.core.settings.models),
    }
    return View("overview.html", data)


def _tightest(visit: Visit, now: int) -> list[Budget]:
    """The budgets in dollars of which most is spent."""
    found = read_budgets(visit.desk.engine, visit.desk.core, now)
    money = [one for one in found if one.rule.unit == "dollars" and one.part is not None]
    return sorted(money, key=lambda one: -(one.part or 0))[:_TOP]


def _tiles(total: Figures, before: Figures) -> list[dict[str, Any]]:
    """The figures at the top: name, value, how it is shown, how it changed, what of that is bad, and one more."""

    def both(what: str, at: float) -> tuple[float | None, float | None]:
        return quantile(total, what, at), quantile(before, what, at)

    p99, first95 = quantile(total, "latency", 0.99), quantile(total, "first_content", 0.95)
    tokens = total.input_tokens + total.output_tokens
    rows: list[tuple[str, tuple[float | None, float | None], str, str, Any]] = [
        ("Calls", (total.calls, before.calls), "count", "", None),
        ("Errors", (total.error_rate, before.error_rate), "percent", "growth", ("count", total.failed, "failed")),
        ("Answer p50", both("latency", 0.5), "span", "growth", None),
        ("Answer p95", both("latency", 0.95), "span", "growth", ("span", p99, "p99")),
        ("First content p50", both("first_content", 0.5), "span", "growth", ("span", first95, "p95")),
        ("Spend", (total.cost, before.cost), "money", "growth", ("count", tokens, "tokens")),
    ]
    return [
        {"name": name, "value": now, "kind": kind, "change": change(now, earlier), "bad": bad, "more": more}
        for name, (now, earlier), kind, bad, more in rows
    ]


def _satisfied(judged: Judged) -> list[dict[str, Any]]:
    """The tile of satisfaction, where anybody has said something."""
    now, before = judged.now, judged.before
    if now is None:
        return []
    earlier = None if before is None else before.score
    more = ("count", now.feedback, "judged")
    grown = change(now.score, earlier)
    return [
        {"name": "Satisfaction", "value": now.score, "kind": "percent", "change": grown, "bad": "fall", "more": more}
    ]


def _moved(movers: Sequence[Moved]) -> list[Moved]:
    return [one for one in movers if one.value and one.now != one.before]


PAGES = (Page(path="/", does=_show, title="Overview", group="Watch"),)
