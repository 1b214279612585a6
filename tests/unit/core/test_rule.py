"""A limit in words and numbers: amounts exact, slips of the hand refused, every rule with a title."""

from __future__ import annotations

import pytest

from headgate.core.rule import LimitRule, parse_amount, show_amount


@pytest.mark.parametrize(
    ("unit", "value", "amount"),
    [
        ("dollars", "0.01", 10_000_000),
        ("dollars", 0.1, 100_000_000),
        ("dollars", "$1_000", 1_000_000_000_000),
        ("dollars", "0.000000001", 1),
        ("dollars", 0, 0),
        ("requests", 60, 60),
        ("tokens", "100_000", 100_000),
        ("requests", 60.0, 60),
    ],
)
def test_amounts_are_exact(unit: str, value: object, amount: int) -> None:
    """Dollars become nano-dollars without a float in between; counts are whole."""
    assert parse_amount(unit, value) == amount


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("dollars", "-0.01"),
        ("dollars", "0.0000000001"),
        ("dollars", "1000000001"),
        ("dollars", "1e99"),
        ("dollars", "nan"),
        ("dollars", "Infinity"),
        ("dollars", ""),
        ("dollars", "ten"),
        ("dollars", True),
        ("dollars", None),
        ("dollars", "9" * 5000),
        ("requests", 0.5),
        ("requests", -1),
        ("tokens", 10**15 + 1),
    ],
)
def test_what_can_be_no_amount_is_told(unit: str, value: object) -> None:
    """Negative, absurd, not finite, finer than a nano-dollar, half a request."""
    assert parse_amount(unit, value) is None


def test_a_limit_is_told_in_words() -> None:
    """Its own name, or whom it is for and what it limits; and how much."""
    every = LimitRule("user", "", "dollars", "day", 1_000_000_000)
    assert (every.title, every.shown) == ("every user, dollars per day", "$1.00 per day")
    batch = LimitRule("key", "key_1", "input_tokens", "hour", 5000, "batch")
    assert (batch.title, batch.shown) == ("key key_1, input tokens per hour, batch", "5,000 input tokens per hour")
    calls = LimitRule("everything", "", "concurrency", "", 8, name="the cap")
    assert (calls.title, calls.shown) == ("the cap", "8 calls at once")
    assert (show_amount("dollars", 10_000_000), show_amount("tokens", 7)) == ("0.01", "7")
