"""Gateways with limits, in the test's own event loop, over real sockets to a simulator that meters what it serves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from tests.scenarios.faults.client import PATHS, Got, ask
from tests.scenarios.faults.gate import LoopGateway

from headgate.sim.meter import ModelMeter
from headgate.sim.server import SimServer
from headgate.sim.testing import AsyncSim


def pytest_asyncio_loop_factories(config, item):
    """Every asynchronous test here runs on the event loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


INPUT, OUTPUT = 1_000, 2_000
"""Nano-dollars a token at the simulator."""
DEAR = 50_000
"""The same at the provider ``dear``, by whom ``words-20`` is asked."""


class Desk:
    """A gateway before a simulator; ``fast`` is answered by either wire's own upstream."""

    def __init__(self, gateway: LoopGateway, sim: SimServer) -> None:
        self.gateway, self.sim = gateway, sim

    async def ask(self, wire: str = "openai_chat", **fields: Any) -> Got:
        """Sends one request; fields beginning with ``x_`` are headers."""
        return await ask(self.gateway.port, self.request(wire, **fields))

    def request(self, wire: str = "openai_chat", **fields: Any) -> bytes:
        """Returns one request's bytes."""
        headers = {name.replace("_", "-"): fields.pop(name) for name in list(fields) if name.startswith("x_")}
        body = {"model": "fast", "max_tokens": 20, "messages": [{"role": "user", "content": "one two three"}], **fields}
        data = json.dumps(body).encode()
        lines = [f"POST {PATHS[wire]} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
        lines += ["connection: close", f"content-length: {len(data)}", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + data

    @property
    def served(self) -> int:
        """Nano-dollars, by the simulator's own meter."""
        meter = self.sim.sim.meter
        dear = meter.models.get("words-20", ModelMeter())
        given, made = meter.input_tokens - dear.input_tokens, meter.output_tokens - dear.output_tokens
        return given * INPUT + made * OUTPUT + (dear.input_tokens + dear.output_tokens) * DEAR

    def used(self, unit: str = "dollars") -> int:
        """What the gateway counts as used or reserved, in all windows of a unit."""
        windows = self.gateway.core.metering.meter.windows.values()
        return sum(window.rule.amount - window.left for window in windows if window.rule.unit == unit)


@pytest.fixture
async def desk() -> AsyncIterator[Any]:
    """Makes a Desk from limits; ``models`` are further ones."""
    made: list[LoopGateway] = []
    async with AsyncSim() as sim:

        async def make(*limits: dict[str, Any], models: dict[str, Any] | None = None, **more: Any) -> Desk:
            own, dear = ({"*": {"input": i / 1000, "output": o / 1000}} for i, o in ((INPUT, OUTPUT), (DEAR, DEAR)))
            url = f"{sim.url}/v1"
            providers = {wire: {"dialect": wire, "url": url, "prices": own} for wire in PATHS}
            routes = {"fast": {"route": ["openai_chat/echo"]}, "claude": {"route": ["anthropic/echo"]}}
            config = {
                "providers": {**providers, "dear": {"dialect": "openai_chat", "url": url, "prices": dear}},
                "models": {**routes, **(models or {})},
                "limits": list(limits),
                **more,
            }
            gateway = LoopGateway(config)
            await gateway.__aenter__()
            made.append(gateway)
            return Desk(gateway, sim)

        yield make
        for gateway in made:
            await gateway.__aexit__(None, None, None)
