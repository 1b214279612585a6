"""Heartbeats: a long silence is broken by a comment, which commits to nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from headgate.sim.testing import AsyncSim

from . import breaker
from .client import Got, Said, ask, read, request
from .gate import LoopGateway
from .table import WIRES

PROMPT = "Hello there."
BEAT = 0.05
SILENCES = {"hang-before-headers": "headers_timeout", "hang-before-content": "first_content_timeout"}
TIMEOUT_TYPES = {"openai_chat": "server_error", "anthropic": "timeout_error"}


@pytest.fixture(params=[True, False], ids=["native", "asgi"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[LoopGateway]:
    """A gateway that beats every 50 ms, before an upstream that falls silent as its models are called."""
    async with AsyncSim() as sim:
        bounds = {"headers": "700ms", "first_content": "800ms"}
        providers = {
            f"{name}-{wire}": {"dialect": wire, "url": f"{sim.url}/v1", "timeouts": timeouts}
            for name, timeouts in (("silent", bounds), ("well", {}))
            for wire in WIRES
        }
        models = {
            f"{silence}.{wire}.{plan}": {"route": [f"silent-{wire}/echo+{silence}", *others]}
            for silence in SILENCES
            for wire in WIRES
            for plan, others in (("alone", []), ("rescued", [f"well-{wire}/echo"]))
        }
        server = {"heartbeat_seconds": BEAT}
        config = {"providers": providers, "models": models, "server": server, "defaults": breaker.WITHOUT}
        async with LoopGateway(config, native=request.param) as one:
            yield one


async def ask_all(gateway: LoopGateway, client: str, plan: str) -> list[tuple[str, Got, Said]]:
    """Asks every silence of both upstreams, side by side; returns the silence, what came, and what it says."""
    cells = list(itertools.product(SILENCES, WIRES))
    asked = [
        ask(gateway.port, request(client, f"{silence}.{upstream}.{plan}", PROMPT, stream=True))
        for silence, upstream in cells
    ]
    got = await asyncio.gather(*asked)
    assert [(one.status, one.whole) for one in got] == [(200, True)] * len(cells)
    return [(silence, one, read(client, one.body, stream=True)) for (silence, _), one in zip(cells, got, strict=True)]


@pytest.mark.parametrize("client", WIRES)
async def test_a_late_failure_comes_in_band(gateway: LoopGateway, client: str) -> None:
    """Status 200 and comments, then the error event, and nothing that looks like success; the Record says 200 too."""
    for silence, got, said in await ask_all(gateway, client, "alone"):
        assert said.comments >= 2, silence
        assert said.error is not None, silence
        assert said.error["type"] == TIMEOUT_TYPES[client]
        assert (said.text, said.finish, said.marker, said.after_error) == ("", "", False, 0)
        record = gateway.journal.records[got.headers["x-headgate-id"]]
        assert (record.outcome, record.status, record.error) == ("failed", 200, SILENCES[silence])


@pytest.mark.parametrize("client", WIRES)
async def test_the_next_deployment_may_still_answer(gateway: LoopGateway, client: str) -> None:
    """Comments commit to nothing: the next deployment's answer comes whole, with one beginning."""
    for silence, got, said in await ask_all(gateway, client, "rescued"):
        assert said.comments >= 2, silence
        assert (said.text, said.marker, said.error, said.starts) == (PROMPT, True, None, 1)
        record = gateway.journal.records[got.headers["x-headgate-id"]]
        assert (record.outcome, record.status, record.winner) == ("completed", 200, 1)
        assert [attempt.error for attempt in record.attempts] == [SILENCES[silence], ""]


@pytest.mark.parametrize("client", WIRES)
async def test_a_whole_answer_has_no_heartbeat(client: str) -> None:
    """A caller who does not stream gets one status, the right one, however long it takes."""
    async with AsyncSim() as sim:
        config = {
            "providers": {"up": {"dialect": client, "url": f"{sim.url}/v1", "timeouts": {"total": "200ms"}}},
            "models": {"fast": {"route": ["up/echo+hang-before-headers"]}},
            "server": {"heartbeat_seconds": BEAT},
        }
        async with LoopGateway(config) as gateway:
            got = await ask(gateway.port, request(client, "fast", "Hello.", stream=False))
    assert (got.status, got.whole) == (504, True)
    assert read(client, got.body, stream=False).error is not None
