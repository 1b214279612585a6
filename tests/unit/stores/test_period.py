"""A stretch of time as people ask for it: within what a database holds, and never one that nothing can be in."""

from __future__ import annotations

import pytest

from headgate.core.errors import BadRequest
from headgate.stores.period import read_period
from headgate.stores.query import LATEST_NS, Filters, conditions, parse_time

HOUR = 3600 * 10**9
NOW = 1_800_000_000 * 10**9


def test_spans_and_defaults() -> None:
    """Each end is read by itself; without a beginning the default's holds."""
    assert read_period(None, None, NOW) == (None, None)
    assert read_period("2h", "1h", NOW) == (NOW - 2 * HOUR, NOW - HOUR)
    assert read_period(None, "1h", NOW, begin=NOW - 3 * HOUR) == (NOW - 3 * HOUR, NOW - HOUR)


@pytest.mark.parametrize("since", ["99999999d", "9" * 400 + "d", "0001-01-01", "1900-01-01"])
def test_before_all_time(since: str) -> None:
    """Longer ago than a 64-bit integer of ns can say is from the very beginning, not a failure of the database."""
    assert read_period(since, None, NOW) == (0, None)


def test_after_all_time() -> None:
    """A date that no database holds is the last one that each holds."""
    assert read_period(None, "9999-12-31", NOW) == (None, LATEST_NS)


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("1h", "2h", "since ('1h') must lie before until ('2h')"),
        ("2026-01-31", "2026-01-31", "must lie before"),
        (None, "2020-01-01", "since, which was left out, must lie before until ('2020-01-01')"),
    ],
)
def test_nothing_between(since: str | None, until: str, said: str) -> None:
    """Ends that are the wrong way round are an error: an empty answer would look like no traffic."""
    with pytest.raises(BadRequest) as caught:
        read_period(since, until, NOW, begin=NOW - HOUR)
    assert said in caught.value.message
    assert caught.value.param == "since"


@pytest.mark.parametrize("text", ["9" * 400 + "d", "99999999d", "9999-12-31", "0001-01-01"])
def test_a_moment_beyond_any_database_is_refused(text: str) -> None:
    """Who asks for one moment is told, in a line, that none can be recorded there."""
    with pytest.raises(BadRequest, match="lies beyond what can be recorded") as caught:
        parse_time(text, NOW)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("filters", "param"),
    [
        (Filters(since_ns=2**63), "since_ns"),
        (Filters(until_ns=-(2**70)), "until_ns"),
        (Filters(status=2**70), "status"),
        (Filters(status=-1), "status"),
        (Filters(status=600), "status"),
    ],
)
def test_filters_that_no_database_can_be_asked_for(filters: Filters, param: str) -> None:
    """The library takes any number; a database would fail at it."""
    with pytest.raises(BadRequest) as caught:
        conditions(filters)
    assert caught.value.param == param
