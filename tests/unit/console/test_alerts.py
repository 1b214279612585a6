"""Alerts as the console shows them: every number with its unit."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.console.alerts import bound, firing_first, read
from headgate.core.alert import AlertPlan, AlertRule, AlertState


def rule(kind: Any, above: float, **fields: Any) -> AlertRule:
    """A rule of this kind."""
    return AlertRule(name="r", kind=kind, above=above, recover=above, window=300, **fields)


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (rule("error_rate", 0.05), "5 %"),
        (rule("length", 0.125), "12.5 %"),
        (rule("first_content", 3), "3 s"),
        (rule("cost_spike", 3), "3 times as usual"),
        (rule("breaker", 1), "1"),
        (rule("budget", 1, amount=1500, per="month", levels=(0.5, 1.0)), "50 %, 100 % of $1,500 per month"),
        (rule("budget", 1, levels=(0.8,), projected=True), "80 % of each limit, or on its way there"),
    ],
)
def test_from_where_on_it_is_wrong(one: AlertRule, shown: str) -> None:
    """Shares in percent, times in seconds, budgets in dollars."""
    assert bound(one) == shown


def test_a_state_is_read_by_its_rule() -> None:
    """Units are the rule's; a rule that is gone leaves bare numbers."""
    state = AlertState("r", "fast", "", "firing", 1, 0.25, 0.05)
    assert read(AlertPlan(rules=(rule("error_rate", 0.05),)), state) == ("25 %", "5 %")
    assert read(None, state) == ("0.25", "0.05")


def test_what_fires_stands_first() -> None:
    """Then what is pending; of each the newest first."""
    states = [AlertState("r", name, "", phase, at, None, 1) for name, phase, at in _STATES]
    assert [state.subject for state in firing_first(states)] == ["b", "d", "c", "a"]


_STATES: tuple[tuple[str, Any, int], ...] = (
    ("a", "pending", 1),
    ("b", "firing", 4),
    ("c", "pending", 9),
    ("d", "firing", 2),
)
