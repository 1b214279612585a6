"""However a call ends, what it reserved is settled once, and what the provider serves stays within the budget."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.scenarios.faults.client import until

from headgate.core.rule import LimitRule

PLENTY = {"amount": 1, "per": "day"}
ENDINGS = [
    "",
    "+503",
    "+close-before-headers",
    "+reset-mid-stream",
    "+cut",
    "+error-event",
    "+malformed-json",
    "+empty",
]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_end_is_settled(desk: Any, ending: str, stream: bool) -> None:
    """Nothing stays reserved; the budget counts what the record says, which is no less than the provider's meter."""
    here = await desk(PLENTY, models={"m": {"route": [f"openai_chat/echo{ending}"], "retry": {"attempts": 0}}})
    got = await here.ask(model="m", stream=stream)
    await until(lambda: not here.gateway.core.account.open)
    record = here.gateway.journal.records[got.headers["x-headgate-id"]]
    assert here.used() == record.cost
    assert here.used() >= here.served
    if not ending:
        assert here.used() == here.served


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_settled(desk: Any, stream: bool) -> None:
    """At what was reserved: the provider may go on."""
    here = await desk(PLENTY, models={"m": {"route": ["openai_chat/echo+hang-mid-stream"]}})
    call = asyncio.create_task(here.ask(model="m", stream=stream))
    await until(lambda: here.sim.sim.meter.live_calls)
    reserved = here.used()
    call.cancel()
    await until(lambda: not here.gateway.core.account.open)
    (record,) = here.gateway.journal.records.values()
    assert record.outcome == "cancelled"
    assert here.used() == record.cost == reserved >= here.served


async def test_every_attempt_is_charged_at_its_own_price(desk: Any) -> None:
    """A fallback at a dearer deployment reserves and settles there; what failed before it costs nothing."""
    here = await desk(PLENTY, models={"m": {"route": ["openai_chat/echo+503", "dear/echo"], "retry": {"attempts": 0}}})
    got = await here.ask(model="m")
    assert got.headers["x-headgate-deployment"] == "dear/echo"
    meter = here.sim.sim.meter
    assert here.used() == (meter.input_tokens + meter.output_tokens) * 50_000


async def test_a_fallback_that_does_not_fit_ends_the_plan(desk: Any) -> None:
    """402: the cheap one failed, the dear one is not even tried."""
    budget = {"amount": 0.001, "per": "day"}
    here = await desk(budget, models={"m": {"route": ["openai_chat/echo+503", "dear/echo"], "retry": {"attempts": 0}}})
    got = await here.ask(model="m")
    assert got.status == 402
    assert here.sim.sim.meter.calls == 1
    assert here.used() == 0


@pytest.mark.parametrize("budget", [1, 0.001])
async def test_a_hedge_reserves_too(desk: Any, budget: float) -> None:
    """At its own price; one that does not fit is not made, and the call's first attempt goes on."""
    silent = "openai_chat/echo+hang-before-headers"
    hedge = {"quantile": 0.5, "budget": 1.0, "min_delay": 0.01}
    models = {"m": {"route": [silent, "dear/echo"], "hedge": hedge}}
    here = await desk({"amount": budget, "per": "day"}, models=models)
    latency = here.gateway.core.deployments[silent].latency
    for _ in range(20):
        latency.unary.add(0.01)
    call = asyncio.create_task(here.ask(model="m"))
    if budget == 1:
        got = await call
        assert got.headers["x-headgate-deployment"] == "dear/echo"
        (record,) = here.gateway.journal.records.values()
        lost, won = record.attempts
        assert (lost.outcome, won.outcome) == ("cancelled", "completed")
        assert here.used() == lost.cost + won.cost == record.cost
        assert lost.cost > 0
    else:
        await until(lambda: here.sim.sim.meter.live_calls)
        reserved = here.used()
        await asyncio.sleep(0.2)
        assert not call.done()
        assert here.used() == reserved
        assert here.sim.sim.meter.calls == 1
        call.cancel()
    await until(lambda: not here.gateway.core.account.open)


async def test_new_limits_hold_at_once_and_old_ones_no_longer(desk: Any) -> None:
    """Set while it runs: the layers come into the chain, and leave it; what is under way ends as it began."""
    here = await desk()
    metering = here.gateway.core.metering
    assert not metering.on
    keys = here.gateway.core.keys
    keys.rules = (LimitRule("everything", "", "requests", "day", 1),)
    await asyncio.get_running_loop().run_in_executor(None, metering.changed)
    assert [(await here.ask()).status for _ in range(2)] == [200, 429]
    keys.rules = ()
    metering.changed()
    assert (await here.ask()).status == 200
    keys.rules = (LimitRule("everything", "", "requests", "day", 3),)
    metering.changed()
    assert [(await here.ask()).status for _ in range(3)] == [200, 200, 429]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), budget=st.integers(200_000, 2_000_000))
async def test_spend_never_passes_the_budget(desk: Any, seed: int, budget: int) -> None:
    """Whatever calls are made at once, of whatever size and price, failing or left: what they may cost stays within."""
    pick = random.Random(seed)
    models = {f"m{n}": {"route": [f"openai_chat/echo{end}", "dear/words-20"]} for n, end in enumerate(ENDINGS)}
    here = await desk({"amount": budget / 1e9, "per": "day"}, models=models)
    here.sim.sim.meter.reset()

    async def one() -> int:
        size = pick.choice((1, 5, 40, 200))
        messages = [{"role": "user", "content": "word " * size}]
        stream, leaves = pick.random() < 0.6, pick.random() < 0.3
        work = here.ask(model=f"m{pick.randrange(len(ENDINGS))}", stream=stream, messages=messages, max_tokens=size)
        call = asyncio.create_task(work)
        if leaves:
            await asyncio.sleep(pick.random() * 0.01)
            call.cancel()
        return (await asyncio.gather(call, return_exceptions=True))[0] is not None

    await asyncio.gather(*(one() for _ in range(40)))
    await until(lambda: not here.gateway.core.account.open)
    assert here.served <= here.used() <= budget
    assert here.used() == sum(record.cost or 0 for record in here.gateway.journal.records.values())
