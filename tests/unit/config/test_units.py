"""Amounts are read and shown without loss."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.config.units import parse_bytes, parse_seconds, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30.0), ("1.5s", 1.5), ("2 m", 120.0), ("2min", 120.0), ("12h", 43200.0), ("1d", 86400.0)],
)
def test_seconds(text: str, seconds: float) -> None:
    """A number and a unit of time."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1e3s", "1 s s", "5x", "1S", "1s ", "٣s", "1..5s", "inf", "nan"])
def test_no_seconds(text: str) -> None:
    """Anything else is no time."""
    assert parse_seconds(text) is None


@pytest.mark.parametrize(("text", "size"), [("1B", 1), ("1kB", 1000), ("64KiB", 65536), ("1.5MiB", 1572864)])
def test_bytes(text: str, size: int) -> None:
    """A number and a unit of size; kilo is 1000, kibi 1024."""
    assert parse_bytes(text) == size


@given(st.integers(0, 2**40))
@settings(max_examples=50)
def test_what_is_shown_is_read_back(number: int) -> None:
    """Showing and reading are inverse, for whole bytes and whole milliseconds."""
    assert parse_bytes(show_bytes(number)) == number
    shown = parse_seconds(show_seconds(number / 1000))
    assert shown is not None
    assert shown == pytest.approx(number / 1000, rel=1e-12)
