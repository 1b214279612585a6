"""Budgets: what of each limit in dollars, tokens or requests is used in its window now, read from the rollups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Engine

from headgate.compose import Core
from headgate.core.rule import LimitRule
from headgate.stores.figures import Figures
from headgate.stores.limits import LimitInfo, list_limits
from headgate.stores.query import Filters
from headgate.stores.stats import StatsStore

_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}


class Budget(msgspec.Struct, frozen=True):
    """A limit and how much of it is used.

    Attributes:
        id: of a stored limit; "" for one in the configuration.
        rule: the limit.
        used: of its amount, in this window; of whoever used most, where it holds for each; None where that is not
            counted here (calls at once, one priority only).
        who: who that is, "" where the limit names one.
    """

    id: str
    rule: LimitRule
    used: int | None
    who: str = ""

    @property
    def part(self) -> float | None:
        """The part that is used."""
        return None if self.used is None or not self.rule.amount else self.used / self.rule.amount


def read_budgets(engine: Engine, core: Core, now_ns: int) -> list[Budget]:
    """Returns every limit, configured ones first, with what is used of it."""
    with engine.connect() as connection:
        stored = list_limits(connection)
    stats = StatsStore(engine)
    return [_budget(stats, rule, id, now_ns) for id, rule in _rules(core, stored)]


def _rules(core: Core, stored: list[LimitInfo]) -> Iterator[tuple[str, LimitRule]]:
    yield from (("", rule) for rule in core.settings.limits)
    yield from ((info.id, info.rule) for info in stored)


def _budget(stats: StatsStore, rule: LimitRule, id: str, now_ns: int) -> Budget:
    if rule.unit == "concurrency" or rule.priority:
        return Budget(id, rule, None)
    since = window_start(rule.per, now_ns)
    if rule.scope == "everything":
        return Budget(id, rule, _use(rule, stats.total(Filters(since_ns=since))))
    if rule.value:
        mine = msgspec.convert({"since_ns": since, rule.scope: rule.value}, Filters)
        return Budget(id, rule, _use(rule, stats.total(mine)))
    order = "cost" if rule.unit == "dollars" else "calls" if rule.unit == "requests" else "input_tokens"
    groups = [one for one in stats.top(rule.scope, Filters(since_ns=since), 20, order) if one.value]
    if not groups:
        return Budget(id, rule, 0)
    most = max(groups, key=lambda one: _use(rule, one.figures))
    return Budget(id, rule, _use(rule, most.figures), most.label)


def _use(rule: LimitRule, figures: Figures) -> int:
    if rule.unit == "dollars":
        return figures.cost
    if rule.unit == "requests":
        return figures.calls - figures.refused
    given = figures.input_tokens if rule.unit != "output_tokens" else 0
    return given + (figures.output_tokens if rule.unit != "input_tokens" else 0)


def window_start(per: str, now_ns: int) -> int:
    """Returns when the calendar window (UTC) of a moment began, in ns since 1970."""
    now = now_ns // 10**9
    if per == "month":
        at = datetime.fromtimestamp(now, UTC)
        return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) * 10**9
    seconds = _SECONDS[per]
    return now // seconds * seconds * 10**9
