"""When a deployment is left alone, and how it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.call import Attempt
from headgate.core.clock import FixedClock
from headgate.core.errors import (
    BadRequest,
    ConnectFailed,
    HeadgateError,
    Timeout,
    Unavailable,
    UpstreamBroken,
    UpstreamError,
)
from headgate.core.event import Summary
from headgate.core.reply import Reply
from headgate.pipeline.breaker import Breaker, breaker, is_sickness
from headgate.pipeline.latency import Latency

from .conftest import View

SICK = UpstreamError("x", status=500)


def make(**settings: float) -> Breaker:
    return Breaker("up/m", random=lambda: 0.5, **{"min_calls": 4, **settings})  # type: ignore[arg-type]


def fail(state: Breaker, times: int, now: float, error: HeadgateError = SICK) -> None:
    for _ in range(times):
        state.failed(error, now)


@pytest.mark.parametrize(
    ("error", "sick"),
    [
        (UpstreamError("x", status=500), True),
        (UpstreamError("x", status=529, code="overloaded"), True),
        (ConnectFailed("x"), True),
        (UpstreamBroken("x"), True),
        (Timeout("x", code="first_content_timeout"), True),
        (Timeout("x", code="deadline_exceeded"), False),
        (Timeout("x", code="connect_timeout", fault="gateway"), False),
        (UpstreamError("x", status=429, code="rate_limited"), False),
        (UpstreamError("x", status=401, code="auth"), True),
        (UpstreamError("x", status=429, code="quota"), True),
        (UpstreamError("x", status=400, code="context_length", fault="caller"), False),
        (BadRequest("x"), False),
        (Unavailable("x"), False),
    ],
)
def test_what_is_sickness(error: HeadgateError, sick: bool) -> None:
    """Only what speaks of an ill upstream: neither rates, nor keys, nor requests, nor our own queue or pool."""
    assert is_sickness(error) is sick


def test_it_opens_at_the_failure_rate_and_not_before() -> None:
    """Half of at least four calls must fail; then nothing passes until a probe is due."""
    state = make()
    for _ in range(3):
        state.succeeded(0.1, 100.0)
    fail(state, 2, 100.0)
    assert (state.state, state.guarded) == ("closed", False)
    fail(state, 1, 100.0)
    assert (state.state, state.guarded, state.opened) == ("open", True, 1)
    refused = state.refusal(100.4)
    assert refused is not None
    assert (refused.code, refused.retry_after) == ("breaker_open", pytest.approx(0.6))


def test_an_outage_is_noticed_behind_many_successes() -> None:
    """Failures in a row open it, though they are few beside what the window holds; a success between starts anew."""
    state = make()
    for _ in range(500):
        state.succeeded(0.1, 100.0)
    fail(state, 3, 100.0)
    state.succeeded(0.1, 100.0)
    fail(state, 3, 100.0)
    assert state.state == "closed"
    fail(state, 1, 100.0)
    assert state.state == "open"


def test_too_few_calls_conclude_nothing() -> None:
    """Three failures of three are no rate yet."""
    state = make()
    fail(state, 3, 100.0)
    assert state.state == "closed"


def test_old_failures_leave_the_window() -> None:
    """What is older than the window counts no more, whether time passed in steps or at once."""
    for pause in (2.5, 11.0):
        state = make()
        fail(state, 3, 100.0)
        now = 100.0
        while now < 111.0:
            now += pause
            state.succeeded(0.1, now)
        fail(state, 1, now)
        assert state.state == "closed"


def test_one_probe_closes_it() -> None:
    """After the wait one call passes, others do not; its success closes the breaker with a clean window."""
    state = make()
    fail(state, 4, 100.0)
    assert state.admit(101.0) is None
    assert state.state == "half_open"
    assert state.admit(101.1) is not None
    state.succeeded(0.1, 101.2)
    assert (state.state, state.guarded) == ("closed", False)
    fail(state, 2, 101.3)
    assert state.state == "closed"


def test_a_failed_probe_opens_it_again_and_a_hanging_one_is_followed() -> None:
    """A probe's failure starts another wait; a probe that hangs does not keep the next one from going."""
    state = make()
    fail(state, 4, 100.0)
    assert state.admit(101.0) is None
    fail(state, 1, 101.1)
    assert state.state == "open"
    assert state.admit(101.9) is not None
    assert state.admit(102.2) is None
    assert state.admit(103.3) is None


def test_a_cancelled_probe_makes_room_for_another() -> None:
    """What was cancelled says nothing; the next call may probe at once."""
    state = make()
    fail(state, 4, 100.0)
    assert state.admit(101.0) is None
    state.forgotten(101.1)
    assert state.state == "half_open"
    assert state.admit(101.1) is None


def test_pauses_are_respected_and_capped() -> None:
    """A retry-after is a pause, not sickness; no longer than the cap; the longer of two counts."""
    state = make(max_pause=5.0)
    limited = UpstreamError("x", status=429, code="rate_limited", retry_after=100.0)
    fail(state, 9, 100.0, limited)
    assert state.state == "closed"
    refused = state.refusal(104.0)
    assert refused is not None
    assert (refused.code, refused.retry_after) == ("deployment_paused", pytest.approx(1.0))
    state.pause(0.5, 104.0)
    assert state.refusal(104.9) is not None
    assert state.admit(105.0) is None
    assert not state.guarded


def test_slow_calls_open_it() -> None:
    """Where slow calls count, too many of them are as bad as failures."""
    state = make(slow=1.0, slow_rate=0.5)
    for seconds in (0.2, 0.2, 1.5):
        state.succeeded(seconds, 100.0)
    assert state.state == "closed"
    state.succeeded(1.0, 100.0)
    assert state.state == "open"


def test_a_disabled_one_only_pauses() -> None:
    """Failures never open it; a pause that the upstream asks for holds."""
    state = make(enabled=False)
    fail(state, 20, 100.0)
    assert not state.guarded
    fail(state, 1, 100.0, UpstreamError("x", status=503, code="overloaded", retry_after=1.0))
    assert state.refusal(100.5) is not None


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["ok", "sick", "limited", "gone"])), max_size=60))
def test_it_always_lets_a_call_through_in_the_end(story: list[tuple[float, str]]) -> None:
    """Whatever happened, a call passes once the longest wait is over; and a success then closes it."""
    state = make(max_pause=2.0)
    now = 100.0
    for pause, what in story:
        now += pause
        if state.guarded and state.admit(now) is not None:
            continue
        if what == "ok":
            state.succeeded(0.1, now)
        elif what == "gone":
            state.forgotten(now)
        else:
            fail(
                state,
                1,
                now,
                SICK if what == "sick" else UpstreamError("", status=429, code="rate_limited", retry_after=9),
            )
    now += 2.1
    assert state.admit(now) is None
    state.succeeded(0.1, now)
    assert state.state == "closed"


async def test_the_layer_tells_the_breaker(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """Failures, successes with their time, and streams that break later are counted; a refusal is a skipped attempt."""
    state, latency = make(min_calls=2), Latency()
    replies: list[Reply | HeadgateError] = [SICK, SICK]

    async def inner(attempt: Attempt) -> Reply:
        one = replies.pop(0)
        if isinstance(one, HeadgateError):
            raise one
        clock.advance(0.3)
        attempt.content_at = clock.monotonic()
        return one

    layer = breaker(inner, state, clock, latency)
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await layer(make_attempt())
    skipped = make_attempt()
    with pytest.raises(Unavailable, match="has been failing"):
        await layer(skipped)
    assert (skipped.record.outcome, skipped.record.error) == ("skipped", "breaker_open")
    clock.advance(1.5)
    reply = Reply((), None, Summary())
    replies.append(reply)
    assert await layer(make_attempt(View(stream=True))) is reply
    assert (state.state, latency.mean) == ("closed", pytest.approx(0.3))
    reply._end("failed", UpstreamBroken("cut", code="stream_cut"))
    assert sum(state._failures) == 1


async def test_cancelled_attempts_are_invisible(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """A hedge that lost, or a client that left, counts neither way."""

    async def inner(attempt: Attempt) -> Reply:
        raise asyncio.CancelledError

    state = make()
    layer = breaker(inner, state, clock)
    for _ in range(9):
        with pytest.raises(asyncio.CancelledError):
            await layer(make_attempt())
    assert (state.state, sum(state._calls)) == ("closed", 0)


async def test_a_rotated_key_is_not_the_deployments_trouble(
    make_attempt: Callable[..., Attempt], clock: FixedClock
) -> None:
    """A 429 that another key can answer for pauses the key alone."""

    async def inner(attempt: Attempt) -> Reply:
        attempt.rotated = True
        raise UpstreamError("x", status=429, code="rate_limited", retry_after=30.0)

    state = make()
    with pytest.raises(UpstreamError):
        await breaker(inner, state, clock)(make_attempt())
    assert not state.guarded
