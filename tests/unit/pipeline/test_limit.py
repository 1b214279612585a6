"""Who gets a place at a deployment, who waits, and how the bound adapts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.core.call import Attempt, Deployment, Plan
from headgate.core.clock import FixedClock
from headgate.core.errors import Unavailable, UpstreamError
from headgate.core.event import Summary
from headgate.core.reply import Reply
from headgate.pipeline.limit import UNLIMITED, Limiter, limit

from .conftest import View


class Inner:
    """An inner layer whose attempts end when told; notes who got in, in order."""

    def __init__(self) -> None:
        self.entered: list[Attempt] = []
        self.gates: dict[int, asyncio.Future[Reply]] = {}

    async def __call__(self, attempt: Attempt) -> Reply:
        self.entered.append(attempt)
        gate = asyncio.get_running_loop().create_future()
        self.gates[id(attempt)] = gate
        return await gate

    def end(self, attempt: Attempt, error: Exception | None = None) -> Reply:
        reply = Reply((), None, Summary())
        gate = self.gates[id(attempt)]
        if error is not None:
            gate.set_exception(error)
        else:
            gate.set_result(reply)
        return reply


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def start(layer: object, attempt: Attempt) -> asyncio.Task[Reply]:
    return asyncio.ensure_future(layer(attempt))  # type: ignore[operator]


@pytest.fixture
def make_batch(make_attempt: Callable[..., Attempt]) -> Callable[[], Attempt]:
    def make() -> Attempt:
        attempt = make_attempt()
        attempt.call.record.priority = "batch"
        return attempt

    return make


async def test_calls_over_the_bound_wait_for_their_turn(
    make_attempt: Callable[..., Attempt], clock: FixedClock
) -> None:
    """Two places: the third call gets in when the first has left."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=2), Inner()
    layer = limit(inner, limiter)
    attempts = [make_attempt() for _ in range(3)]
    tasks = [start(layer, attempt) for attempt in attempts]
    await settle()
    assert inner.entered == attempts[:2]
    assert (limiter.in_flight, limiter.waiting) == (2, 1)
    inner.end(attempts[0])
    await settle()
    assert inner.entered == attempts
    for attempt in attempts[1:]:
        inner.end(attempt)
    await asyncio.gather(*tasks)
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


async def test_a_stream_keeps_its_place_to_its_end(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """A streamed answer has begun, not ended, when the layer returns."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=1), Inner()
    attempt = make_attempt(View(stream=True))
    task = start(limit(inner, limiter), attempt)
    await settle()
    inner.end(attempt)
    reply = await task
    assert limiter.in_flight == 1
    await reply.aclose()
    assert limiter.in_flight == 0


async def test_a_full_deployment_sends_calls_on(
    make_attempt: Callable[..., Attempt],
    make_batch: Callable[[], Attempt],
    make_deployment: Callable[..., Deployment],
    clock: FixedClock,
) -> None:
    """Where the plan has another that would take the call, an interactive call goes there; a batch call waits."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=1), Inner()
    layer = limit(inner, limiter)
    first, second, third = make_attempt(), make_attempt(), make_batch()
    tasks = [start(layer, first)]
    await settle()
    for attempt in (second, third):
        attempt.call.plan = Plan([attempt.deployment, make_deployment("other/m")])
        attempt.call.plan.take(attempt.call)
    with pytest.raises(Unavailable) as busy:
        await layer(second)
    assert (busy.value.code, second.record.outcome) == ("deployment_busy", "skipped")
    tasks.append(start(layer, third))
    await settle()
    assert limiter.waiting == 1
    inner.end(first)
    await settle()
    inner.end(third)
    await asyncio.gather(*tasks)


async def test_waits_and_the_queue_are_bounded(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """A full queue refuses at once, a long wait is given up; both say when to come back, and free nothing twice."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=1, queue=1, wait=0.02), Inner()
    layer = limit(inner, limiter)
    first, second, third = make_attempt(), make_attempt(), make_attempt()
    tasks = [start(layer, first), start(layer, second)]
    await settle()
    with pytest.raises(Unavailable) as full:
        await layer(third)
    with pytest.raises(Unavailable) as late:
        await tasks[1]
    assert [full.value.code, late.value.code] == ["queue_full", "queue_timeout"]
    assert full.value.retry_after is not None
    assert full.value.retry_after >= 1
    assert third.record.outcome == second.record.outcome == "skipped"
    inner.end(first)
    await tasks[0]
    assert (limiter.in_flight, limiter.waiting, limiter.queue.shed) == (0, 0, 2)


async def test_interactive_calls_push_batch_calls_out_of_a_full_queue(
    make_attempt: Callable[..., Attempt], make_batch: Callable[[], Attempt], clock: FixedClock
) -> None:
    """The batch call that came last makes room."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=1, queue=2), Inner()
    layer = limit(inner, limiter)
    first, old, young, urgent = make_attempt(), make_batch(), make_batch(), make_attempt()
    tasks = [start(layer, one) for one in (first, old, young)]
    await settle()
    tasks.append(start(layer, urgent))
    with pytest.raises(Unavailable, match="interactive calls fill the queue"):
        await tasks[2]
    inner.end(first)
    await settle()
    assert inner.entered == [first, urgent]
    inner.end(urgent)
    await settle()
    inner.end(old)
    await asyncio.gather(tasks[0], tasks[1], tasks[3])


async def test_batch_calls_get_their_share_while_others_wait(
    make_attempt: Callable[..., Attempt], make_batch: Callable[[], Attempt], clock: FixedClock
) -> None:
    """One place in four goes to a batch call, so that they are slowed, not starved."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=1, batch_share=0.25), Inner()
    layer = limit(inner, limiter)
    everybody = [make_attempt(), *(make_batch() for _ in range(3)), *(make_attempt() for _ in range(8))]
    tasks = [start(layer, one) for one in everybody]
    await settle()
    for _ in everybody:
        inner.end(inner.entered[-1])
        await settle()
    await asyncio.gather(*tasks)
    order = "".join(one.call.record.priority[0] for one in inner.entered)
    assert order == "iiiibiiibiib"


async def test_a_cancelled_waiter_loses_no_place(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """Cancelled while it waits, or in the very moment in which it got its place: the place goes on to the next."""
    limiter, inner = Limiter("up/m", clock.monotonic, concurrency=1), Inner()
    layer = limit(inner, limiter)
    first, second, third, fourth = (make_attempt() for _ in range(4))
    tasks = [start(layer, one) for one in (first, second, third, fourth)]
    await settle()
    tasks[1].cancel()
    await settle()
    inner.end(first)
    await asyncio.sleep(0)
    tasks[2].cancel()
    await settle()
    assert inner.entered == [first, fourth]
    inner.end(fourth)
    await tasks[3]
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


async def test_rate_limits_lower_the_bound_and_good_answers_raise_it(
    make_attempt: Callable[..., Attempt], clock: FixedClock
) -> None:
    """AIMD: a 429 takes a third of what was under way, once per moment; each round of answers gives one back."""
    limiter, inner = Limiter("up/m", clock.monotonic), Inner()
    layer = limit(inner, limiter)
    attempts = [make_attempt() for _ in range(20)]
    tasks = [start(layer, attempt) for attempt in attempts]
    await settle()
    assert limiter.allowed == UNLIMITED
    limited = UpstreamError("x", status=429, code="rate_limited")
    for attempt in attempts[:5]:
        inner.end(attempt, limited)
    await settle()
    assert limiter.allowed == pytest.approx(20 * 0.7)
    before = limiter.allowed
    for attempt in attempts[5:]:
        inner.end(attempt)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert before < limiter.allowed < before + 1.1
    assert limiter.in_flight == 0


async def test_what_the_provider_says_is_left_is_heeded(
    make_attempt: Callable[..., Attempt], clock: FixedClock
) -> None:
    """With one request left in the provider's window, one goes and the next waits until the window is over."""
    limiter, inner = Limiter("up/m", clock.monotonic), Inner()
    layer = limit(inner, limiter)
    limiter.left(1, 0.02)
    attempts = [make_attempt(), make_attempt()]
    tasks = [start(layer, one) for one in attempts]
    await settle()
    assert (len(inner.entered), limiter.waiting) == (1, 1)
    clock.advance(0.03)
    await asyncio.sleep(0.03)
    assert len(inner.entered) == 2
    for attempt in attempts:
        inner.end(attempt)
    await asyncio.gather(*tasks)
    assert limiter.in_flight == 0
