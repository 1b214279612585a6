"""Numbers become words that can be compared at a glance."""

from __future__ import annotations

import pytest

from headgate.console.look import NOTHING, money, span


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (None, NOTHING),
        (0, "$0.00"),
        (49_999, "<$0.0001"),
        (50_000, "$0.0001"),
        (3_000_000, "$0.0030"),
        (-3_000_000, "-$0.0030"),
        (500_000_000, "$0.5000"),
        (999_999_999, "$1.0000"),
        (1_000_000_000, "$1.00"),
        (12_345_678_900_000, "$12345.68"),
    ],
)
def test_money(nano: int | None, shown: str) -> None:
    """Four places below a dollar, two from there."""
    assert money(nano).replace(",", "") == shown


@pytest.mark.parametrize(
    ("us", "shown"),
    [
        (None, NOTHING),
        (-1, NOTHING),
        (840, "840 µs"),
        (12_300, "12.3 ms"),
        (1_520_000, "1.52 s"),
        (125e6, "2 min 5 s"),
        (300e6, "5 min"),
        (3600e6, "1 h"),
        (5400e6, "1 h 30 min"),
    ],
)
def test_span(us: float | None, shown: str) -> None:
    """In the unit that fits, without a zero behind it."""
    assert span(us) == shown
