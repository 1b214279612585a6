"""Upstreams that fail for a time: flapping, and an outage with refused connections."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest

from headgate.core.record import Record
from headgate.sim.testing import AsyncSim

from . import breaker
from .client import Got, ask, read, request
from .gate import LoopGateway
from .table import WIRES

SCHEDULES = {
    "flapping": ("faults: [{fault: 503, when: {period_s: 0.3, down_s: 0.15}}]", {"overloaded"}, {503}),
    "outage": (
        "faults: [{fault: refuse, when: {after_s: 0.15, before_s: 0.45}}]",
        {"connect_failed", "upstream_reset", "upstream_closed", "body_cut"},
        {502},
    ),
}
"""What the upstream plays; the errors and statuses of calls that meet it while it is down."""

PROMPT = "Are you there?"
SECONDS = 10.0


class Called(NamedTuple):
    """One call: what came, and its Record."""

    stream: bool
    got: Got
    record: Record

    @property
    def whole(self) -> bool:
        """Whether the answer is whole."""
        return self.got.status == 200


@pytest.fixture(params=SCHEDULES)
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, LoopGateway]]:
    """A gateway before an upstream that keeps to a schedule, and one that is always well."""
    async with AsyncSim(SCHEDULES[request.param][0]) as moody, AsyncSim() as well:
        providers = {
            f"{name}-{wire}": {"dialect": wire, "url": f"{sim.url}/v1", "proxy": "none"}
            for name, sim in (("moody", moody), ("well", well))
            for wire in WIRES
        }
        models = {}
        for wire in WIRES:
            models[f"alone-{wire}"] = {"route": [f"moody-{wire}/echo"]}
            models[f"rescued-{wire}"] = {"route": [f"moody-{wire}/echo", f"well-{wire}/echo"]}
        config = {"providers": providers, "models": models, "defaults": breaker.WITHOUT}
        async with LoopGateway(config) as one:
            yield request.param, one


async def call_until(
    gateway: LoopGateway, wire: str, model: str, enough: Callable[[list[Called]], bool]
) -> list[Called]:
    """Calls again and again, whole and streamed in turn, until the calls so far are enough."""
    calls: list[Called] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    for number in itertools.count():
        stream = number % 2 == 1
        got = await ask(gateway.port, request(wire, model, PROMPT, stream=stream))
        assert got.status, "a call hung, or was cut"
        assert got.whole
        calls.append(Called(stream, got, gateway.journal.records[got.headers["x-headgate-id"]]))
        if enough(calls):
            return calls
        assert loop.time() < end, [(call.got.status, call.record.winner) for call in calls]
        await asyncio.sleep(0.01)
    raise AssertionError


def turns(calls: list[Called], well: Callable[[Called], bool]) -> int:
    """How often in a row of calls the first deployment has come back."""
    return sum(not well(one) and well(other) for one, other in itertools.pairwise(calls))


@pytest.mark.parametrize("wire", WIRES)
async def test_with_a_fallback_every_call_is_answered(gateway: tuple[str, LoopGateway], wire: str) -> None:
    """However the first deployment comes and goes: whole answers only, and it is used again once it is back."""
    name, gate = gateway
    calls = await call_until(
        gate, wire, f"rescued-{wire}", lambda calls: turns(calls, lambda call: call.record.winner == 0) == 1
    )
    codes = set()
    for call in calls:
        said = read(wire, call.got.body, stream=call.stream)
        assert (said.text, said.error, said.marker, said.starts) == (PROMPT, None, True, 1)
        assert (call.record.outcome, call.record.status) == ("completed", 200)
        first, *_ = call.record.attempts
        assert call.record.winner == (1 if first.error else 0)
        codes |= {first.error} - {""}
    assert codes
    assert codes <= SCHEDULES[name][1]


@pytest.mark.parametrize("wire", WIRES)
async def test_alone_every_call_is_answered_or_fails_with_a_type(gateway: tuple[str, LoopGateway], wire: str) -> None:
    """While it is away callers are told so at once; after its return they are answered."""
    name, gate = gateway
    calls = await call_until(gate, wire, f"alone-{wire}", lambda calls: turns(calls, lambda call: call.whole) == 1)
    for call in calls:
        if call.whole:
            assert read(wire, call.got.body, stream=call.stream).text == PROMPT
            assert call.record.outcome == "completed"
        else:
            assert call.got.status in SCHEDULES[name][2]
            assert read(wire, call.got.body, stream=False).error is not None
            assert (call.record.outcome, call.record.status) == ("failed", call.got.status)
            assert call.record.error in SCHEDULES[name][1]
