"""When a second attempt starts, which of two wins, and what becomes of the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.core.call import Attempt, Call, Deployment
from headgate.core.clock import SystemClock
from headgate.core.errors import HeadgateError, UpstreamError
from headgate.core.event import Summary
from headgate.core.record import Record
from headgate.core.reply import Reply
from headgate.core.ticker import Ticker
from headgate.pipeline.balance import Group
from headgate.pipeline.breaker import Breaker
from headgate.pipeline.health import Health
from headgate.pipeline.hedge import HedgePolicy, hedge
from headgate.pipeline.limit import Limiter
from headgate.pipeline.retry import Budget
from headgate.pipeline.route import Route, route

from .conftest import View

SLOW = 5.0


class Stage:
    """Deployments ``a/m`` and ``b/m`` that answer or fail after so many seconds; ``a/m`` is known to take 30 ms."""

    def __init__(self, **takes: float | tuple[float, HeadgateError]) -> None:
        self.cancelled: list[str] = []
        self.replies: list[Reply] = []
        clock = SystemClock()
        deployments = [self._make(f"{name}/m", what, clock) for name, what in takes.items()]
        plan = Route([Group([one], random=lambda: 0.0) for one in deployments])
        inner = route({"fast": plan}, lambda _: None, clock, lambda: True)
        self.policy = HedgePolicy(min_delay=0.001)
        self.handler = hedge(inner, {"fast": self.policy}, Ticker(asyncio.get_running_loop()))
        self.clock = clock

    def _make(self, name: str, what: float | tuple[float, HeadgateError], clock: SystemClock) -> Deployment:
        from headgate.core.call import Timeouts

        seconds, error = what if isinstance(what, tuple) else (what, None)

        async def answer(attempt: Attempt) -> Reply:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.cancelled.append(name)
                attempt.record.outcome = "cancelled"
                raise
            if error is not None:
                raise error
            self.replies.append(Reply((), None, Summary(), position=attempt.position))
            return self.replies[-1]

        health = Health(Breaker(name), Limiter(name, clock.monotonic), Budget(0.2), adaptive=False)
        for _ in range(40):
            health.latency.observe(0.03, 0.0, stream=False)
        return Deployment(name, name[0], "m", answer, Timeouts(), health=health)

    def call(self) -> Call:
        call = Call(Record("hg_1", self.clock.time_ns()), None, b"{}", self.clock.monotonic())
        call.view = View()
        return call


async def test_the_second_wins_and_the_first_is_cancelled() -> None:
    """The slow one has ended, and says so, before the answer goes on."""
    stage = Stage(a=SLOW, b=0.001)
    call = stage.call()
    reply = await stage.handler(call)
    assert reply is stage.replies[0]
    assert stage.cancelled == ["a/m"]
    assert (call.record.winner, [one.deployment for one in call.record.attempts]) == (1, ["a/m", "b/m"])
    assert stage.policy.hedged == 1
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_first_wins_and_the_second_is_cancelled() -> None:
    """A first attempt that is late but not too late ends the second."""
    stage = Stage(a=0.12, b=SLOW)
    call = stage.call()
    await stage.handler(call)
    assert (call.record.winner, stage.cancelled) == (0, ["b/m"])


async def test_quick_calls_have_no_second_attempt() -> None:
    """What answers within the usual time is alone."""
    stage = Stage(a=0.005, b=0.001)
    call = stage.call()
    await stage.handler(call)
    await asyncio.sleep(0.1)
    assert (len(call.record.attempts), stage.policy.hedged) == (1, 0)


async def test_the_second_answers_when_the_first_fails() -> None:
    """The plan is used up by the second attempt; it is waited for, and its answer counts."""
    stage = Stage(a=(0.1, UpstreamError("x", status=500)), b=0.15)
    call = stage.call()
    await stage.handler(call)
    assert call.record.winner == 1


async def test_both_fail() -> None:
    """The caller hears of the first attempt's error."""
    stage = Stage(a=(0.1, UpstreamError("the first", status=500)), b=(0.1, UpstreamError("the second", status=502)))
    with pytest.raises(UpstreamError, match="the first"):
        await stage.handler(stage.call())


async def test_a_failing_second_leaves_the_first_alone() -> None:
    """A hedge that fails changes nothing."""
    stage = Stage(a=0.15, b=(0.001, UpstreamError("x", status=500)))
    call = stage.call()
    await stage.handler(call)
    assert (call.record.winner, stage.cancelled) == (0, [])


async def test_a_client_that_leaves_ends_both() -> None:
    """Cancellation from outside reaches every attempt."""
    stage = Stage(a=SLOW, b=SLOW)
    task = asyncio.ensure_future(stage.handler(stage.call()))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(stage.cancelled) == ["a/m", "b/m"]


async def test_the_budget_bounds_second_attempts() -> None:
    """When everything is slow, hedges are a few per cent, not twice the load."""
    policy = HedgePolicy(budget=0.05)
    hedges = 0
    for _ in range(1000):
        policy.earn()
        hedges += policy.spend()
    assert hedges <= 51


async def test_little_known_is_no_reason_to_hedge(make_call: Callable[..., Call]) -> None:
    """Without a plan, without samples, or for the other kind of answer there is no delay to go by."""
    stage = Stage(a=0.001)
    call = stage.call()
    assert stage.policy.delay(call) is None
    await stage.handler(call)
    assert stage.policy.delay(call) == pytest.approx(0.033)
    call.view.stream = True
    assert stage.policy.delay(call) is None


async def test_slow_calls_that_were_hedged_are_known_as_slow() -> None:
    """The time that the loser took goes into the quantile: hedging must not make the usual look quicker than it is."""
    stage = Stage(a=SLOW, b=0.001)
    call = stage.call()
    await stage.handler(call)
    assert call.plan is not None
    health = call.plan.deployments[0].health
    assert isinstance(health, Health)
    assert max(health.latency.unary._ring) > 0.03
