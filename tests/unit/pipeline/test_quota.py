"""Requests and concurrent calls: taken once per call, given back where nothing was sent, told in headers."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.core.call import Attempt, Call, Deployment
from headgate.core.clock import FixedClock
from headgate.core.errors import BadRequest, LimitExceeded, UpstreamError
from headgate.core.event import Frame, Kind, Summary
from headgate.core.reply import Reply
from headgate.core.rule import LimitRule
from headgate.pipeline.local_meter import LocalMeter
from headgate.pipeline.quota import quota
from headgate.pipeline.rulebook import Rulebook
from headgate.pipeline.shown import show_duration


class Inside:
    """The layers inside: an answer, or an error after so many attempts."""

    def __init__(self, error: Exception | None = None, attempts: int = 1) -> None:
        self.error, self.attempts, self.headers = error, attempts, ()

    async def __call__(self, call: Call) -> Reply:
        for _ in range(self.attempts):
            deployment = Deployment("up/m", "up", "m", None, None)  # type: ignore[arg-type]
            Attempt(call, deployment, 0).record.outcome = "completed"
        if self.error is not None:
            raise self.error
        return Reply([Frame(Kind.CONTENT, b"{}")], None, Summary(), headers=[(b"x-ratelimit-limit-requests", b"9")])


def limit(unit: str, amount: int, per: str = "minute", **more: Any) -> LimitRule:
    return LimitRule("key", "", unit, "" if unit == "concurrency" else per, amount, **more)


def layer(clock: FixedClock, inside: Inside, *rules: LimitRule) -> tuple[Any, LocalMeter]:
    meter = LocalMeter(clock)
    return quota(inside, Rulebook(rules, meter.open), meter), meter


def left(meter: LocalMeter) -> list[int]:
    return [window.left for window in meter.windows.values()]


async def test_so_many_requests_and_no_more(clock: FixedClock, make_call: Any) -> None:
    """The next one is a 429 that names the limit and when to come back; in a new minute it passes."""
    handler, _ = layer(clock, Inside(), limit("requests", 2, name="slow down"))
    for _ in range(2):
        await handler(make_call())
    with pytest.raises(LimitExceeded, match="2 requests per minute") as caught:
        await handler(make_call())
    assert (caught.value.code, caught.value.limit) == ("rate_limit_exceeded", "slow down")
    assert 0 < (caught.value.retry_after or 0) <= 60
    clock.advance(60)
    await handler(make_call())


@pytest.mark.parametrize(
    ("error", "attempts", "counted"),
    [(BadRequest("no"), 0, 0), (UpstreamError("no", status=503), 2, 1), (None, 3, 1)],
    ids=["refused", "failed", "answered"],
)
async def test_a_request_counts_once_if_anything_was_sent(
    clock: FixedClock, make_call: Any, error: Exception | None, attempts: int, counted: int
) -> None:
    """However many attempts it took; a call that was refused does not count."""
    handler, meter = layer(clock, Inside(error, attempts), limit("requests", 10))
    if error is None:
        await handler(make_call())
    else:
        with pytest.raises(type(error)):
            await handler(make_call())
    assert left(meter) == [10 - counted]


async def test_a_place_is_taken_until_the_end(clock: FixedClock, make_call: Any) -> None:
    """One more than allowed is refused, and takes no request either; the end of one lets another in."""
    handler, meter = layer(clock, Inside(), limit("requests", 10), limit("concurrency", 1))
    reply = await handler(make_call())
    with pytest.raises(LimitExceeded):
        await handler(make_call())
    assert left(meter) == [9, 0]
    await reply.aclose()
    assert left(meter) == [9, 1]
    await handler(make_call())
    failing, other = layer(clock, Inside(BadRequest("no"), 0), limit("concurrency", 1))
    with pytest.raises(BadRequest):
        await failing(make_call())
    assert left(other) == [1]


async def test_answers_say_what_is_left(clock: FixedClock, make_call: Any) -> None:
    """Of the limit that is nearest, in the place of what the upstream says of its own."""
    handler, _ = layer(clock, Inside(), limit("requests", 100, "day"), limit("requests", 3), limit("tokens", 5000))
    reply = await handler(make_call())
    found = dict(reply.headers)
    assert found[b"x-ratelimit-limit-requests"] == b"3"
    assert found[b"x-ratelimit-remaining-requests"] == b"2"
    assert found[b"x-ratelimit-reset-requests"].endswith(b"s")
    assert found[b"x-ratelimit-limit-tokens"] == b"5000"
    assert len(reply.headers) == 6


async def test_without_a_limit_of_their_kind_there_are_no_headers(clock: FixedClock, make_call: Any) -> None:
    """What the upstream says of itself goes through."""
    handler, _ = layer(clock, Inside(), limit("dollars", 10**9))
    assert (await handler(make_call())).headers == [(b"x-ratelimit-limit-requests", b"9")]


def test_durations_are_whole_seconds() -> None:
    """Rounded up, as OpenAI writes them."""
    assert [show_duration(s) for s in (0, 0.2, 60, 75, 3600)] == [b"0s", b"1s", b"1m0s", b"1m15s", b"1h0m0s"]
