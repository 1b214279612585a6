"""Runs the gateway under uvicorn: one process, or N workers on one listening socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from headgate.compose import open_core, prepare
from headgate.config.changes import FIXED_SERVER
from headgate.config.checks import is_loopback
from headgate.config.follow import Follower
from headgate.config.settings import Settings
from headgate.config.source import Source
from headgate.core.errors import ConfigError, Unavailable
from headgate.server.app import App
from headgate.server.guard import Limits
from headgate.server.native import protocol_for
from headgate.server.reload import Reloader
from headgate.server.terminal import Terminal, nothing
from headgate.server.workers import supervise
from headgate.stores.data import DataDir

CUT_SECONDS = 3
"""What streams that outlive the drain are given to be told so, before uvicorn cancels them."""


LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def make_app(settings: Settings) -> App:
    """Returns the ASGI application for these settings; its core is made at startup."""
    keyless = is_loopback(settings.server.host)
    return App(lambda: open_core(settings, keyless=keyless), Limits.of(settings.server), keyless)


def run(settings: Settings, source: Source) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code.

    Args:
        settings: what to begin with, just read from ``source``.
        source: followed from then on.

    Raises:
        ConfigError: the address can not be listened on.
    """
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"

    def ready() -> None:
        print(_greeting(settings, url), flush=True)

    _log_to_stderr()
    signal.signal(signal.SIGHUP, nothing)
    workers = settings.server.workers
    if workers == 1:
        return _serve(settings, source, source.version, listener, ready, speaks=True)

    def check(settings: Settings, version: str) -> None:
        prepare(settings)

    # What holds last is what a worker starts with that replaces another, even if the file is wrong by then.
    last = Follower(source, settings, check, version=source.version, fixed=FIXED_SERVER)

    def serve(tell: Callable[[], None]) -> int:
        return _serve(last.settings, source, last.version, listener, tell, speaks=False)

    # While the workers drain, a connection that nobody will take must be refused, not left waiting.
    return supervise(workers, serve, ready, lambda asked: last.look(asked=asked), listener.close)


def _log_to_stderr() -> None:
    log = logging.getLogger("headgate")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


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

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready
        self._terminal = Terminal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
            _calm_collector()
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn asks ten times a second whether to go on."""
        if counter % 10 == 0:
            self._terminal.look()
        return await super().on_tick(counter)

    def _hang_up(self) -> None:
        """SIGHUP: reads the configuration again; drains where it means that the terminal was closed."""
        if self._terminal.has_closed():
            self.should_exit = True
        elif self._app.reloader is not None:
            self._app.reloader.wake()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drains at the first signal, ends at once at a second SIGINT. Not raised again afterwards: a clean drain
        ends with exit code 0."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.draining = True
        seconds = self._app.limits.drain
        self.config.timeout_graceful_shutdown = math.ceil(seconds) + CUT_SECONDS
        cut = asyncio.get_running_loop().call_later(seconds, self._app.cut)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()


def _serve(
    settings: Settings,
    source: Source,
    version: str,
    listener: socket.socket,
    ready: Callable[[], None],
    *,
    speaks: bool,
) -> int:
    server = settings.server
    app = make_app(settings)
    app.version = version
    app.reloader = Reloader(source, settings, version, fixed=FIXED_SERVER, speaks=speaks)
    config = uvicorn.Config(
        app,
        http=protocol_for(app, server.header_limit, server.header_count),
        ws="none",
        lifespan="on",
        loop=_loop_factory(),
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_keep_alive=75,
        backlog=4096,
    )
    uvicorn_server = _Server(config, app, ready)
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


def _asks_for_keys(settings: Settings) -> bool:
    """Whether a call without a key would be refused: one exists, or nobody can tell for now."""
    if settings.admin_key is not None or not is_loopback(settings.server.host):
        return True
    try:
        return DataDir(settings.data.dir, url=settings.database_url).has_keys()
    except Unavailable:
        return True


def _greeting(settings: Settings, url: str) -> str:
    lines = [f"headgate ready on {url} (data in {settings.data.dir}, {settings.server.workers} worker(s))"]
    model = next(iter(settings.models), "sim/echo")
    keyed = _asks_for_keys(settings)
    lines.append("try it, with a key in HEADGATE_KEY:" if keyed else "try it:")
    key = ' -H "authorization: Bearer $HEADGATE_KEY"' if keyed else ""
    lines.append(f"  curl -s {url}/v1/chat/completions{key} -H 'content-type: application/json' \\")
    lines.append(f"""    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello, gate!"}}]}}'""")
    return "\n".join(lines)
