"""Bounds learn: one too low is widened; where told so, what is usually taken is reserved, not the worst case."""

from __future__ import annotations

import logging

import pytest

from headgate.pipeline.learned import ENOUGH, Learned


def test_the_worst_case_is_reserved() -> None:
    """Whatever calls took, unless a share of them is asked for."""
    learned = Learned("up/m")
    for _ in range(200):
        learned.settled(learned.money, 1000, 10)
    assert learned.plain
    assert learned.reserve(learned.money, 1000) == 1000


def test_a_call_above_its_bound_widens_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and logged; the like of it fits from then on, and a smaller one does not narrow it again."""
    learned = Learned("up/m")
    with caplog.at_level(logging.WARNING, "headgate.charge"):
        learned.settled(learned.money, 1000, 2500)
    assert "up/m took 2500 where at most 1000" in caplog.text
    assert (learned.exceeded, learned.plain) == (1, False)
    assert learned.reserve(learned.money, 1000) == 2500
    learned.settled(learned.money, 1000, 2400)
    assert learned.exceeded == 1
    assert learned.reserve(learned.money, 100) == 250
    assert learned.reserve(learned.output, 100) == 100


def test_a_share_is_reserved_once_enough_is_known() -> None:
    """Until then the worst case is; then the share that so many calls in a hundred stayed within."""
    learned = Learned("up/m", 0.9)
    for number in range(ENOUGH - 1):
        learned.settled(learned.money, 1000, 100 if number % 10 else 600)
    assert learned.reserve(learned.money, 1000) == 1000
    learned.settled(learned.money, 1000, 100)
    assert learned.reserve(learned.money, 1000) == 100
    assert Learned("up/m", 0.99).reserve(learned.money, 1000) == 600


def test_what_is_long_past_fades() -> None:
    """Calls that became longer are reserved for as long ones, soon."""
    learned = Learned("up/m", 0.5)
    for _ in range(3000):
        learned.settled(learned.money, 1000, 100)
    for _ in range(1500):
        learned.settled(learned.money, 1000, 900)
    assert learned.reserve(learned.money, 1000) == 900
