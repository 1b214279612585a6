"""A client that leaves stops the upstream, however far its answer has come, and nobody else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from headgate.sim.server import SimServer
from headgate.sim.testing import AsyncSim

from .client import request, until
from .gate import LoopGateway
from .table import WIRES

PROMISED = 0.1
"""Seconds within which the upstream is stopped. The best try must keep it, others get slack for a busy machine."""
PATIENCE = (0.0, 0.12)
"""Seconds that a client stays: it leaves before the gateway looks after its connection, and after that."""
MOMENTS = {
    "unary": ("hang-before-headers", False, b""),
    "unary-mid-body": ("hang-mid-stream", False, b""),
    "before-headers": ("hang-before-headers", True, b""),
    "before-content": ("hang-before-content", True, b""),
    "mid-stream": ("hang-mid-stream", True, b"hello"),
}
"""When the client leaves: the silence that the upstream keeps, whether it streams, what has come by then."""


class Stage(NamedTuple):
    """A gateway between an upstream that falls silent and one that would answer."""

    gateway: LoopGateway
    silent: SimServer
    well: SimServer


@pytest.fixture(params=[True, False], ids=["native", "asgi"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """It all, in this event loop; at its end no task is left."""
    async with AsyncSim() as silent, AsyncSim() as well:
        sims = {"silent": silent, "well": well}
        providers = {
            f"{name}-{wire}": {"dialect": wire, "url": f"{sim.url}/v1"} for name, sim in sims.items() for wire in WIRES
        }
        models = {
            f"{fault}.{wire}": {"route": [f"silent-{wire}/echo+{fault}", f"well-{wire}/echo"]}
            for fault, _, _ in MOMENTS.values()
            for wire in WIRES
        }
        async with LoopGateway({"providers": providers, "models": models}, native=request.param) as gateway:
            yield Stage(gateway, silent, well)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_client_that_leaves_stops_the_upstream(stage: Stage, moment: str, wire: str) -> None:
    """The upstream's connection is closed within 100 ms; call and attempt are cancelled, and nobody else is tried."""
    gateway, silent, well = stage
    fault, stream, came = MOMENTS[moment]
    delays = []
    for number, patience in enumerate(PATIENCE, 1):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request(wire, f"{fault}.{wire}", "hello " * 20, stream=stream))
        await until(lambda: silent.sim.meter.live_calls == 1)
        if came:
            await reader.readuntil(came)
        await asyncio.sleep(patience)
        writer.close()
        delays.append(await until(lambda wanted=number: silent.sim.meter.cancelled == wanted))  # type: ignore[misc]
        await writer.wait_closed()
    assert min(delays) < PROMISED
    assert max(delays) < 5 * PROMISED
    await until(lambda: len(gateway.journal.records) == len(PATIENCE) and not gateway.unquiet())
    assert silent.sim.meter.live_connections == 0
    assert well.sim.meter.calls == 0
    for record in gateway.journal.records.values():
        assert (record.outcome, record.error, record.fault) == ("cancelled", "", "")
        (attempt,) = record.attempts
        assert (attempt.outcome, attempt.error, attempt.sent) == ("cancelled", "", True)
        assert attempt.usage is not None, "what went out may be billed"
        assert record.winner == (0 if came else -1)
        assert (record.usage is not None) is bool(came)
