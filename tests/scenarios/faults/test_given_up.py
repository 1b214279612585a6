"""An upstream that has failed, and goes on talking, is not listened to any longer."""

from __future__ import annotations

import asyncio

import pytest

from headgate.sim.testing import AsyncSim

from . import breaker
from .client import ask, read, request, until
from .gate import LoopGateway
from .table import WIRES

TALK = """
default: words-1000
speed: 100
faults:
  - {fault: malformed-json, after: 3, when: {model: torn-event}}
  - {fault: malformed-json, after: 0, when: {model: torn-at-once}}
  - {fault: malformed-sse, after: 3, when: {model: torn-framing}}
  - {fault: splice, when: {model: spliced}}
"""
"""Streams of ten seconds, each spoilt near its beginning."""


CASES = [(model, wire) for model in ("torn-event", "torn-at-once", "torn-framing") for wire in WIRES]


@pytest.mark.parametrize(("model", "wire"), [*CASES, ("spliced", "openai_chat")])
async def test_a_broken_stream_is_stopped_at_once(model: str, wire: str) -> None:
    """The caller is told at once, and the upstream's connection is closed while it still talks."""
    async with AsyncSim(TALK) as sim:
        config = {
            "providers": {"up": {"dialect": wire, "url": f"{sim.url}/v1"}},
            "models": {"fast": {"route": [f"up/{model}"]}},
            "defaults": breaker.WITHOUT,
        }
        async with LoopGateway(config) as gateway:
            got = await asyncio.wait_for(ask(gateway.port, request(wire, "fast", "Talk.", stream=True)), 5)
            said = read(wire, got.body, stream=got.status == 200)
            assert said.error is not None
            assert not said.marker
            await until(lambda: not sim.sim.meter.live_connections and not gateway.unquiet())
            assert sim.sim.meter.cancelled == 1
