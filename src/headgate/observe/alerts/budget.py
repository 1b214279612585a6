"""Readings of budgets: which share of its dollars is spent in a calendar window, and where that is going."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from headgate.core.alert import PROJECTED, AlertRule, Reading
from headgate.core.rule import LimitRule
from headgate.stores.budgets import Budget

_NS = 1_000_000_000
_FORESEEN = 0.05
"""The share of a window, and of the budget, before which nothing is projected."""
_EVERYTHING = "everything"


class Spending(Protocol):
    """What budgets ask of the store."""

    def spent(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, int]: ...
    def limits(self) -> list[LimitRule]: ...
    def budgets(self, now_ns: int) -> list[Budget] | None: ...


class _Spent(NamedTuple):
    """Nano-dollars of one subject in one window: used for good, and reserved by calls under way."""

    used: int
    reserved: int = 0


def budget_readings(rule: AlertRule, spending: Spending, now_ns: int) -> list[Reading]:
    """Returns, of each subject that has spent something, one reading per level.

    A rule with an amount of its own watches what finished calls cost; one without watches every limit in dollars that
    calls are held to, by the ledger of their leases: what is used, and what calls under way have reserved.
    """
    if rule.amount:
        begin, end = window_of(rule.per, now_ns)
        spent = spending.spent(rule.by, rule.where, begin, end)
        whole = round(rule.amount * _NS)
        return [
            one
            for name, cost in spent.items()
            for one in _levels(rule, name, whole, _Spent(cost), (begin, end), now_ns)
        ]
    found: list[Reading] = []
    ledger = spending.budgets(now_ns)
    for limit in spending.limits():
        if limit.unit != "dollars" or limit.per == "minute" or not limit.amount:
            continue
        begin, end = window_of(limit.per, now_ns)
        members = _counted(spending, limit, begin, end) if ledger is None else _leased(ledger, limit, begin)
        for name, spent_there in members.items():
            subject = f"{' '.join(filter(None, (limit.scope, limit.value or name)))}, {limit.shown}"
            subject += f", {limit.priority}" if limit.priority else ""
            found += _levels(rule, subject, limit.amount, spent_there, (begin, end), now_ns)
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


def _leased(ledger: Sequence[Budget], limit: LimitRule, begin: int) -> dict[str, _Spent]:
    """By member: what the windows of this limit hold now."""
    place = (limit.scope, limit.per, limit.priority, begin)
    return {
        one.rule.value: _Spent(one.used, one.reserved)
        for one in ledger
        if (one.rule.scope, one.rule.per, one.rule.priority, one.start_ns) == place
        and limit.value in ("", one.rule.value)
    }


def _counted(spending: Spending, limit: LimitRule, begin: int, end: int) -> dict[str, _Spent]:
    """By member: what finished calls cost, where no store knows more; of one priority alone nothing is known."""
    if limit.priority:
        return {}
    scope = "" if limit.scope == _EVERYTHING else limit.scope
    if scope and limit.value:
        found = spending.spent("", {scope: limit.value}, begin, end)
    else:
        found = spending.spent(scope, {}, begin, end)
    return {name: _Spent(cost) for name, cost in found.items()}


def _levels(
    rule: AlertRule, subject: str, whole: int, spent: _Spent, window: tuple[int, int], now_ns: int
) -> Iterator[Reading]:
    """One reading per level. What was told stays told until the window ends, though reservations come and go."""
    share = (spent.used + spent.reserved) / whole
    begin, end = window
    for level in rule.levels:
        yield Reading(subject, share, level, 0.0, f"{level:.0%}", begin)
    if rule.projected:
        passed = (now_ns - begin) / (end - begin)
        early = passed < _FORESEEN or share < _FORESEEN
        # What is reserved is under way once; only what is used grows with time.
        foreseen = None if early else (spent.used / passed + spent.reserved) / whole
        yield Reading(subject, foreseen, rule.above, rule.recover, PROJECTED, begin)
