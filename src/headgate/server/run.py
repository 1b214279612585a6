"""Runs the gateway under uvicorn: one process, or N workers on one listening socket."""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from headgate.compose import open_core
from headgate.config.checks import is_loopback
from headgate.config.settings import Settings
from headgate.core.errors import ConfigError
from headgate.server.app import App
from headgate.server.guard import Limits
from headgate.server.native import protocol_for
from headgate.server.workers import supervise

CUT_SECONDS = 3
"""What streams that outlive the drain are given to be told so, before uvicorn cancels them."""


def make_app(settings: Settings, limits: Limits) -> App:
    """Returns the ASGI application for these settings; its core is made at startup."""
    keyless = is_loopback(settings.server.host)
    return App(lambda: open_core(settings, keyless=keyless), limits, keyless)


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: the address can not be listened on.
    """
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"

    def ready() -> None:
        print(_greeting(settings, url), flush=True)

    workers = settings.server.workers
    if workers > 1:
        return supervise(workers, lambda tell: _serve(settings, listener, tell), ready)
    return _serve(settings, listener, ready)


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host.strip("[]"), settings.server.port
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"Can not listen on {host}:{port}: {error.strerror or error}; choose another with --port or --host.",
            code="port_unavailable",
        ) from error
    listener.listen(4096)
    listener.set_inheritable(True)
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server; says when it is ready, and tells the application that it drains."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[], None], drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _calm_collector()
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drains at the first signal, ends at once at a second SIGINT. Not raised again afterwards: a clean drain
        ends with exit code 0."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.draining = True
        cut = asyncio.get_running_loop().call_later(self._drain_seconds, self._app.cut)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()


def _serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> int:
    server = settings.server
    limits = Limits.of(server)
    app = make_app(settings, limits)
    config = uvicorn.Config(
        app,
        http=protocol_for(app, limits, server.header_limit, server.header_count),
        ws="none",
        lifespan="on",
        loop=_loop_factory(),
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=math.ceil(server.drain_seconds) + CUT_SECONDS,
        backlog=4096,
    )
    uvicorn_server = _Server(config, app, ready, server.drain_seconds)
    uvicorn_server.run(sockets=[listener])
    return 0 if uvicorn_server.started else 1


def _calm_collector() -> None:
    """Takes what start-up made out of the cycle collector's sight, and lets it look less often.

    A request leaves hardly a cycle behind; looking for them every 700 allocations cost 9 % of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return "asyncio"
    return "uvloop"


def _greeting(settings: Settings, url: str) -> str:
    lines = [f"headgate ready on {url} (data in {settings.data.dir}, {settings.server.workers} worker(s))"]
    model = next(iter(settings.models), "sim/echo")
    lines.append("try it:")
    lines.append(f"  curl -s {url}/v1/chat/completions -H 'content-type: application/json' \\")
    lines.append(f"""    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello, gate!"}}]}}'""")
    return "\n".join(lines)
