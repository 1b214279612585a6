"""The page of spend: by whom or what, day by day, and where the month is going."""

from __future__ import annotations

import calendar
import time
from datetime import UTC, datetime

from headgate.console.budgets import read_budgets
from headgate.console.calls import WORDS
from headgate.console.overview import change
from headgate.console.page import Page, View, Visit
from headgate.console.plot import Line, Plot
from headgate.core.errors import BadRequest
from headgate.stores.query import Filters
from headgate.stores.rollups import DAY_NS
from headgate.stores.stats import StatsStore

_GROUPS = ("feature", "user", "team", "key", "model", "deployment", "provider", "prompt")
_DAYS = {"7d": ("7 days", 7), "30d": ("30 days", 30), "90d": ("90 days", 90)}
_ROWS = 50


def _show(visit: Visit) -> View:
    group = visit.query.get("by", "feature")
    if group not in _GROUPS:
        raise BadRequest(f"There is spend by {', '.join(_GROUPS)}.", code="invalid_value", param="by")
    chosen = visit.query.get("range") if visit.query.get("range") in _DAYS else "30d"
    now = time.time_ns()
    first = (now // DAY_NS - _DAYS[chosen][1] + 1) * DAY_NS
    stats = StatsStore(visit.desk.engine)
    filters = Filters(since_ns=first)
    total = stats.counts(filters)
    before = stats.counts(Filters(since_ns=first - (now - first), until_ns=first))
    days = stats.series(filters, DAY_NS) if total.calls else []
    groups = stats.top(group, filters, _ROWS, "cost", plain=True)
    spent, forecast = _month(stats, now)
    data = {
        "budgets": [one for one in read_budgets(visit.desk.engine, visit.desk.core, now) if one.rule.unit == "dollars"],
        "by": group,
        "groups": _GROUPS,
        "range": chosen,
        "ranges": [(name, title) for name, (title, _) in _DAYS.items()],
        "total": total,
        "change": change(total.cost, before.cost),
        "month": spent,
        "forecast": forecast,
        "rows": [
            {
                "value": one.value,
                "label": one.label,
                "figures": one.figures,
                "share": one.figures.cost / total.cost if total.cost else 0.0,
                "per": one.figures.cost // one.figures.completed if one.figures.completed else None,
            }
            for one in groups
        ],
        "link": group if group in WORDS else "",
        "days": Plot(
            "Spend by day",
            "money",
            [start for start, _ in days],
            [Line("spend", 0, [figures.cost for _, figures in days], "bars")],
        ),
    }
    return View("spend.html", data)


def _month(stats: StatsStore, now_ns: int) -> tuple[int, int | None]:
    """Returns what this calendar month (UTC) has cost, and what it will if its days go on like the last seven."""
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    begin = int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * 10**9
    days = calendar.monthrange(now.year, now.month)[1]
    spent = stats.counts(Filters(since_ns=begin)).cost
    week = stats.counts(Filters(since_ns=now_ns - 7 * DAY_NS)).cost
    left = begin + days * DAY_NS - now_ns
    return spent, spent + week * left // (7 * DAY_NS) if week else None


PAGES = (Page(path="/spend", does=_show, title="Spend", group="Run"),)
