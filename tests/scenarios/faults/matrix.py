"""The matrix: every fault, whole and streamed, by both dialects on either side, alone and with a fallback.

All cases are played once, in one event loop with the gateway and its upstreams, a fault's cases side by side. The
tests then look at what was observed, each at its own case.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pathlib
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import trustme

from headgate.core.record import Record
from headgate.sim.behaviour import Behaviour
from headgate.sim.fault import parse_fault
from headgate.sim.server import SimServer
from headgate.sim.testing import AsyncSim

from . import breaker
from .client import Got, ask, request
from .gate import LoopGateway
from .table import FAULTS, WIRES, Fate, Fault

PROMPT = " ".join(f"word{number}" for number in range(12))
"""What is asked; the answer that is meant repeats it."""

QUIET_SECONDS = 5.0
SHAPES = ("unary", "streamed")


class Case(NamedTuple):
    """One cell: the client's and the upstream's dialect, whole or streamed, with or without a second deployment."""

    fault: Fault
    client: str
    upstream: str
    stream: bool
    rescued: bool

    @property
    def name(self) -> str:
        """Its name, also its model's."""
        wires = self.client if self.client == self.upstream else f"{self.client}-of-{self.upstream}"
        return ".".join((self.fault.name, SHAPES[self.stream], "rescued" if self.rescued else "alone", wires))

    @property
    def fate(self) -> Fate:
        """What is to become of it."""
        fate = self.fault.fate(self.upstream, self.stream)
        assert fate is not None
        return fate

    @property
    def provider(self) -> str:
        """The provider that has the fault."""
        shape = f"-{self.fault.name}-{SHAPES[self.stream]}" if self.fault.timeouts[self.stream] else ""
        return f"{self.fault.upstream}-{self.upstream}{shape}"


class Seen(NamedTuple):
    """What became of a case."""

    got: Got
    record: Record | None
    breaker: str


def cases(faults: Iterable[Fault] = FAULTS) -> list[Case]:
    """Returns every cell that there is."""
    axes = (WIRES, WIRES, (False, True), (False, True))
    found = [Case(fault, *cell) for fault in faults for cell in itertools.product(*axes)]
    return [case for case in found if case.fault.fate(case.upstream, case.stream) is not None]


class Upstreams:
    """The simulators: ``sick`` fails as each model's name says, ``well`` never does, the others always."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)
        self.sims: dict[str, SimServer] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Starts them all; they are gone at the end."""
        scripts: dict[str, tuple[list[dict[str, Any]], ssl.SSLContext | None]] = {
            "well": ([], None),
            "sick": (
                [{**fault.script, "when": {"model": f"{fault.name}.*"}} for fault in FAULTS if fault.script],
                None,
            ),
            "closed": ([{"fault": "refuse"}], None),
            "alert": ([{"fault": "tls-failure"}], self._tls()),
            "untrusted": ([], self._tls()),
        }
        async with contextlib.AsyncExitStack() as stack:
            for name, (script, tls) in scripts.items():
                behaviour = Behaviour(faults=tuple(parse_fault(fault, name) for fault in script))
                self.sims[name] = await stack.enter_async_context(AsyncSim(behaviour, tls=tls))
            await until_closed(self.sims["closed"].port)
            yield

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        return context

    def provider(self, name: str, wire: str, timeouts: dict[str, float]) -> dict[str, Any]:
        """Returns a provider's configuration."""
        ca = {"ca_file": str(self.ca_file)} if name == "alert" else {}
        return {"dialect": wire, "url": f"{self.sims[name].url}/v1", "proxy": "none", "timeouts": timeouts, **ca}


def configure(upstreams: Upstreams, all_cases: Iterable[Case]) -> dict[str, Any]:
    """Returns the gateway's configuration: a model per case, so that each has breakers of its own."""
    providers = {f"well-{wire}": upstreams.provider("well", wire, {}) for wire in WIRES}
    models = {}
    for case in all_cases:
        timeouts = case.fault.timeouts[case.stream]
        providers[case.provider] = upstreams.provider(case.fault.upstream, case.upstream, timeouts)
        route = [f"{case.provider}/{case.name}"]
        if case.rescued:
            route.append(f"well-{case.client}/echo")
        models[case.name] = {"route": route}
    return {"providers": providers, "models": models, "defaults": breaker.ONE_IS_ENOUGH}


class Matrix:
    """Plays the cases and keeps what was seen.

    Attributes:
        seen: by the case's name.
        leaks: by the fault's name: what was still under way long after its calls had ended.
        left_over: what was left of it all at the end.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self.seen: dict[str, Seen] = {}
        self.leaks: dict[str, list[str]] = {}
        self.left_over: list[str] = []

    async def play(self) -> None:
        """Plays every case."""
        upstreams, all_cases = Upstreams(self._folder), cases()
        alone = asyncio.all_tasks()
        async with upstreams.running():
            async with LoopGateway(configure(upstreams, all_cases)) as gateway:
                idle = asyncio.all_tasks()
                for fault in FAULTS:
                    side_by_side = [case for case in all_cases if case.fault is fault]
                    for case, got in zip(side_by_side, await self._ask(gateway, side_by_side), strict=True):
                        self.seen[case.name] = self._look(gateway, case, got)
                    self.leaks[fault.name] = await self._settle(gateway, upstreams, idle)
            for name, sim in upstreams.sims.items():
                if sim.sim.meter.live_connections:
                    self.left_over.append(f"{sim.sim.meter.live_connections} connections to {name}")
        self.left_over += [repr(task) for task in asyncio.all_tasks() - alone]

    async def _ask(self, gateway: LoopGateway, side_by_side: list[Case]) -> list[Got]:
        calls = [
            ask(gateway.port, request(case.client, case.name, PROMPT, stream=case.stream)) for case in side_by_side
        ]
        return await asyncio.gather(*calls)

    def _look(self, gateway: LoopGateway, case: Case, got: Got) -> Seen:
        record = gateway.journal.records.get(got.headers.get("x-headgate-id", ""))
        return Seen(got, record, breaker.seen(gateway.core, f"{case.provider}/{case.name}"))

    async def _settle(self, gateway: LoopGateway, upstreams: Upstreams, idle: set[asyncio.Task[Any]]) -> list[str]:
        """Waits until nothing is under way any more; returns what still is after a long while."""
        loop = asyncio.get_running_loop()
        end = loop.time() + QUIET_SECONDS
        while True:
            found = gateway.unquiet()
            found += [f"a task: {task!r}" for task in asyncio.all_tasks() - idle]
            for name, sim in upstreams.sims.items():
                if sim.sim.meter.live_calls:
                    found.append(f"{sim.sim.meter.live_calls} calls under way at {name}")
            if not found or loop.time() > end:
                return found
            await asyncio.sleep(0.01)


async def until_closed(port: int) -> None:
    """Waits until nobody listens on a port."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.transport.abort()
        await asyncio.sleep(0.01)
