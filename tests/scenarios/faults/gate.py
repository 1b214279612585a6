"""A gateway inside the test's own event loop, over real sockets: its tasks, pools and Records can be looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from headgate.compose import Core
from headgate.config.load import load_settings
from headgate.core.call import Principal
from headgate.core.record import Record
from headgate.core.rule import LimitRule
from headgate.server.app import App
from headgate.server.guard import Limits
from headgate.server.native import protocol_for
from headgate.transport.pool import Pool


class MemoryJournal:
    """A journal that keeps Records by their call's id."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def append(self, record: Record) -> None:
        """Takes a Record; each call has one."""
        assert record.id not in self.records, "two Records of one call"
        self.records[record.id] = record

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        """Payloads are off here."""

    def close(self) -> None:
        """Nothing to flush."""


class NoKeys:
    """The key ring of keyless mode."""

    empty = True
    rules: tuple[LimitRule, ...] = ()

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing ever changes."""

    def find(self, digest: bytes) -> Principal | None:
        """Nobody has a key."""
        return None


class LoopGateway:
    """An async context manager: the gateway on a free port of loopback, over real sockets.

    Attributes:
        port: where it listens.
        core: what it is made of.
        journal: its Records.
    """

    def __init__(self, config: dict[str, Any], *, native: bool = True) -> None:
        """Args:
        config: what would stand in headgate.yaml.
        native: serve by the project's own protocol; else by uvicorn's, as any ASGI server would.
        """
        self._native = native
        self._settings = load_settings(text=json.dumps(config), environ={})
        self.journal = MemoryJournal()
        self.port = 0

    async def __aenter__(self) -> LoopGateway:
        limits = Limits.of(self._settings.server)
        self._app = App(self._compose, limits, keyless=True)
        await self._app.startup()
        protocol = HttpToolsProtocol
        if self._native:
            protocol = protocol_for(self._app, head_limit=64 * 1024, head_count=100)
        config = uvicorn.Config(
            self._app, http=protocol, lifespan="off", log_config=None, server_header=False, date_header=False
        )
        config.load()
        self._state = ServerState()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=self._state, app_state={}), "127.0.0.1", 0, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._app.shutdown()
        await self._server.wait_closed()

    async def _compose(self) -> Core:
        self.core = Core(self._settings, journal=self.journal, keys=NoKeys(), keyless=True)
        return self.core

    def unquiet(self) -> list[str]:
        """Returns what is still under way here, a line each; nothing where every call has been let go of."""
        found = []
        if self.core.account.open:
            found.append(f"{self.core.account.open} calls are open")
        if self._app._guards:
            found.append(f"{len(self._app._guards)} guards watch")
        if self._state.connections:
            found.append(f"{len(self._state.connections)} client connections are open")
        for name, health in self.core.deployments.items():
            if health.limiter.in_flight or health.limiter.waiting:
                found.append(f"{health.limiter.in_flight} places at {name} are taken, {health.limiter.waiting} wait")
        for name, provider in self.core._providers.items():
            if isinstance(provider.transport, Pool):
                stats = provider.transport.stats()
                if stats["open"] != stats["idle"] or stats["waiting"] or provider.transport._opening:
                    found.append(f"connections to {name}: {stats}")
        return found
