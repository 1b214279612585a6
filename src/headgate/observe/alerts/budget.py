"""Readings of budgets: which share of its dollars is spent in a calendar window, and where that is going."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from headgate.core.alert import PROJECTED, AlertRule, Reading
from headgate.core.rule import LimitRule

_NS = 1_000_000_000
_FORESEEN = 0.05
"""The share of a window, and of the budget, before which nothing is projected."""
_EVERYTHING = "everything"


class Spending(Protocol):
    """What budgets ask of the store."""

    def spent(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, int]: ...
    def limits(self) -> list[LimitRule]: ...


def budget_readings(rule: AlertRule, spending: Spending, now_ns: int) -> list[Reading]:
    """Returns, of each subject that has spent something, one reading per level.

    A rule with an amount of its own watches that; one without watches every limit in dollars that calls are held to.
    """
    if rule.amount:
        begin, end = window_of(rule.per, now_ns)
        spent = spending.spent(rule.by, rule.where, begin, end)
        whole = round(rule.amount * _NS)
        return [one for name, cost in spent.items() for one in _levels(rule, name, cost / whole, begin, end, now_ns)]
    found: list[Reading] = []
    known: dict[tuple[str, str, str], dict[str, int]] = {}
    for limit in spending.limits():
        if limit.unit != "dollars" or limit.per == "minute" or limit.priority or not limit.amount:
            continue
        begin, end = window_of(limit.per, now_ns)
        place = (limit.scope, limit.value, limit.per)
        if place not in known:
            known[place] = _spent(spending, limit, begin, end)
        for name, cost in known[place].items():
            subject = f"{' '.join(filter(None, (limit.scope, limit.value or name)))}, {limit.shown}"
            found += _levels(rule, subject, cost / limit.amount, begin, end, now_ns)
    return found


def window_of(per: str, now_ns: int) -> tuple[int, int]:
    """Returns begin and end of the calendar window (UTC) of a moment, in ns since 1970.

    Args:
        per: ``hour``, ``day`` or ``month``.
        now_ns: the moment.
    """
    now = datetime.fromtimestamp(now_ns // _NS, UTC).replace(minute=0, second=0, microsecond=0)
    if per == "hour":
        begin, end = now, now + timedelta(hours=1)
    elif per == "day":
        begin = now.replace(hour=0)
        end = begin + timedelta(days=1)
    else:
        begin = now.replace(day=1, hour=0)
        end = (begin + timedelta(days=32)).replace(day=1)
    return int(begin.timestamp()) * _NS, int(end.timestamp()) * _NS


def _spent(spending: Spending, limit: LimitRule, begin: int, end: int) -> dict[str, int]:
    scope = "" if limit.scope == _EVERYTHING else limit.scope
    if scope and limit.value:
        return spending.spent("", {scope: limit.value}, begin, end)
    return spending.spent(scope, {}, begin, end)


def _levels(rule: AlertRule, subject: str, share: float, begin: int, end: int, now_ns: int) -> Iterator[Reading]:
    """One reading per level. What was told stays told until the window ends, which is when a share is lower again."""
    for level in rule.levels:
        yield Reading(subject, share, level, level, f"{level:.0%}")
    if rule.projected:
        passed = (now_ns - begin) / (end - begin)
        early = passed < _FORESEEN or share < _FORESEEN
        yield Reading(subject, None if early else share / passed, rule.above, rule.recover, PROJECTED)
