"""Which failures are tried again at the same deployment, when, and how often."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.call import Attempt, Deployment, Plan
from headgate.core.clock import FixedClock
from headgate.core.errors import (
    ConnectFailed,
    HeadgateError,
    Timeout,
    Unavailable,
    UpstreamBroken,
    UpstreamError,
)
from headgate.core.event import Summary
from headgate.core.reply import Reply
from headgate.pipeline import retry as module
from headgate.pipeline.retry import Budget, RetryPolicy, is_retryable, retry

BUSY = UpstreamError("busy", status=503, code="overloaded")


class Script:
    """An inner layer that fails as told, then answers."""

    def __init__(self, *failures: HeadgateError, rotated: int = 0) -> None:
        self.failures = list(failures)
        self.rotated = rotated
        self.attempts: list[Attempt] = []

    async def __call__(self, attempt: Attempt) -> Reply:
        self.attempts.append(attempt)
        if self.failures:
            attempt.rotated = len(self.attempts) <= self.rotated
            raise self.failures.pop(0)
        return Reply((), None, Summary(), position=attempt.position)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, clock: FixedClock) -> list[float]:
    """The waits between tries, which take no time here."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    # The module's own view alone: other threads of the test process (a browser's) sleep in earnest.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    return waits


def build(inner: Script, clock: FixedClock, budget: Budget | None = None, **policy: float) -> object:
    return retry(inner, RetryPolicy(**policy), budget or Budget(0.2), clock, lambda: 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (BUSY, True),
        (UpstreamError("x", status=429, code="rate_limited"), True),
        (UpstreamError("x", status=500), True),
        (UpstreamError("x", status=429, code="quota"), False),
        (UpstreamError("x", status=401, code="auth"), False),
        (UpstreamError("x", status=400, code="invalid_request", fault="caller"), False),
        (UpstreamError("x", status=400, code="content_filter", fault="caller"), False),
        (ConnectFailed("x"), True),
        (UpstreamBroken("x"), True),
        (UpstreamBroken("x", code="response_too_large"), False),
        (Timeout("x", code="first_content_timeout"), True),
        (Timeout("x", code="total_timeout"), False),
        (Timeout("x", code="deadline_exceeded"), False),
        (Unavailable("x", code="deployment_paused"), True),
        (Unavailable("x", code="breaker_open"), False),
        (Unavailable("x", code="queue_full"), False),
    ],
)
def test_what_is_tried_again(error: HeadgateError, again: bool) -> None:
    """What may be better a moment later; not what costs the whole time again, nor what a breaker guards."""
    assert is_retryable(error) is again


async def test_each_try_is_an_attempt_of_the_record(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """Waits double from the base; every try stands in the Record with its start; the last one's reply is returned."""
    inner = Script(BUSY, BUSY)
    attempt = make_attempt()
    reply = await build(inner, clock, attempts=2, base=0.25)(attempt)
    assert slept == [0.25, 0.5]
    assert reply.position == 2
    starts = [record.started_us for record in attempt.call.record.attempts]
    assert starts == [0, 250_000, 750_000]


async def test_the_error_of_the_last_try_is_told(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """So many extra tries and no more."""
    last = ConnectFailed("the last")
    inner = Script(BUSY, BUSY, last)
    with pytest.raises(ConnectFailed, match="the last"):
        await build(inner, clock, attempts=2)(make_attempt())
    assert len(inner.attempts) == 3


async def test_another_deployment_goes_first(
    make_attempt: Callable[..., Attempt],
    make_deployment: Callable[..., Deployment],
    clock: FixedClock,
    slept: list[float],
) -> None:
    """Where the plan goes on, so does the call; eager policies try here first; a blocked one is no reason to leave."""

    class Blocked:
        def is_blocked(self, now: float) -> bool:
            return True

    for eager, blocked, tries in ((False, False, 1), (True, False, 2), (False, True, 2)):
        attempt = make_attempt()
        other = make_deployment("other/m")
        other.health = Blocked() if blocked else None  # type: ignore[assignment]
        attempt.call.plan = Plan([attempt.deployment, other])
        attempt.call.plan.take(attempt.call)
        inner = Script(BUSY)
        layer = build(inner, clock, eager=eager)
        if tries == 1:
            with pytest.raises(UpstreamError):
                await layer(attempt)
        else:
            await layer(attempt)
        assert len(inner.attempts) == tries


async def test_hints_are_kept_with_jitter_on_top(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """The upstream's own delay is the least that is waited; one beyond the cap is not worth it."""
    limited = UpstreamError("x", status=429, code="rate_limited", retry_after=3.0)
    await build(Script(limited), clock, base=0.5)(make_attempt())
    assert slept == [3.25]
    long = UpstreamError("x", status=429, code="rate_limited", retry_after=30.0)
    with pytest.raises(UpstreamError):
        await build(Script(long), clock, cap=8.0)(make_attempt())
    assert len(slept) == 1


async def test_no_try_begins_behind_the_deadline(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """A wait that the call's deadline does not allow is not begun: the caller gets the error at once."""
    attempt = make_attempt(deadline=clock.monotonic() + 0.2)
    with pytest.raises(UpstreamError):
        await build(Script(BUSY), clock, base=0.25)(attempt)
    assert slept == []


async def test_an_outage_does_not_multiply_its_load(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """Once the budget is used up each call is one attempt; successes earn retries back."""
    budget = Budget(0.2)
    attempts = 0
    for _ in range(100):
        inner = Script(*[BUSY] * 9)
        with pytest.raises(UpstreamError):
            await build(inner, clock, budget)(make_attempt())
        attempts += len(inner.attempts)
    assert attempts == 110
    for _ in range(5):
        await build(Script(), clock, budget)(make_attempt())
    inner = Script(BUSY)
    await build(inner, clock, budget)(make_attempt())
    assert len(inner.attempts) == 2


async def test_a_pause_costs_no_budget(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """Waiting for a paused deployment sends nothing to it."""
    budget = Budget(0.2)
    paused = Unavailable("x", code="deployment_paused", retry_after=1.0)
    await build(Script(paused, paused), clock, budget)(make_attempt())
    assert budget.left == Budget.LIMIT


async def test_the_next_key_is_tried_at_once(
    make_attempt: Callable[..., Attempt], clock: FixedClock, slept: list[float]
) -> None:
    """A refused key costs neither a wait nor budget nor one of the tries."""
    refused = UpstreamError("x", status=401, code="auth")
    inner = Script(refused, refused, rotated=2)
    await build(inner, clock, attempts=0)(make_attempt())
    assert (len(inner.attempts), slept) == (3, [])


@given(st.integers(0, 40), st.one_of(st.none(), st.floats(0, 100)), st.integers())
def test_waits_are_bounded(tries: int, hint: float | None, seed: int) -> None:
    """No wait is under the hint, nor over hint and cap together."""
    error = UpstreamError("x", status=429, code="rate_limited", retry_after=hint)
    wait = RetryPolicy(cap=8.0).wait(tries, error, random.Random(seed).random)
    if wait is None:
        assert hint is not None
        assert hint > 8.0
    else:
        assert (hint or 0.0) <= wait <= (hint or 0.0) + 8.0
