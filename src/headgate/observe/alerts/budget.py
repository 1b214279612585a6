"""Readings of budgets: which share of its dollars is spent in a calendar window, and where that is going."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from headgate.core.alert import PROJECTED, AlertRule, Reading
from headgate.stores.alert_readings import Counts

_NS = 1_000_000_000
_FORESEEN = 0.05
"""The share of a window, and of the budget, before which nothing is projected."""


def budget_readings(
    rule: AlertRule, counts: Callable[[str, Mapping[str, str], int, int], dict[str, Counts]], now_ns: int
) -> list[Reading]:
    """Returns, of each subject that has spent something, one reading per level."""
    begin, end = window_of(rule.per, now_ns)
    passed = (now_ns - begin) / (end - begin)
    found = []
    for subject, one in counts(rule.by, rule.where, begin, end).items():
        spent = one.cost / (rule.amount * _NS)
        # What was told stays told until the window ends, which is when a share is lower again.
        found += [Reading(subject, spent, level, level, f"{level:.0%}") for level in rule.levels]
        if rule.projected:
            early = passed < _FORESEEN or spent < _FORESEEN
            found.append(Reading(subject, None if early else spent / passed, rule.above, rule.recover, PROJECTED))
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
