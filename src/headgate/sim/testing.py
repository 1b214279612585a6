"""The simulator for people's own tests: start one, point a client at it, let it fail, ask it what it saw."""

from __future__ import annotations

import asyncio
import copy
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from headgate.sim.behaviour import Behaviour
from headgate.sim.meter import Meter
from headgate.sim.scenario import Scenario, load_scenario, parse_scenario
from headgate.sim.server import SimServer, serve

T = TypeVar("T")
Script = Behaviour | Scenario | str | None
"""What a simulator is told to do: typed, a shipped scenario's name, a file's path, or YAML text (with a newline)."""


def read_script(script: Script) -> Behaviour:
    """Returns the behaviour that ``script`` describes.

    Raises:
        ConfigError: no such scenario, or a wrong one.
    """
    if isinstance(script, Behaviour):
        return script
    if isinstance(script, Scenario):
        return script.behaviour
    if script is None:
        return Behaviour()
    loaded = parse_scenario(script, "scenario") if "\n" in script or ":" in script else load_scenario(script)
    return loaded.behaviour


class AsyncSim:
    """An async context manager around a simulator on the running loop; gives the ``SimServer``.

    Example:
        >>> async def check() -> str:
        ...     async with AsyncSim("flaky") as server:
        ...         return server.url + "/v1"
    """

    def __init__(
        self, script: Script = None, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Args:
        script: what it does.
        host: address to listen on.
        port: 0 takes a free one.
        tls: makes it an HTTPS server.
        """
        self._behaviour = read_script(script)
        self._host, self._port, self._tls = host, port, tls
        self._server: SimServer | None = None

    async def __aenter__(self) -> SimServer:
        self._server = await serve(self._behaviour, self._host, self._port, tls=self._tls)
        return self._server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.aclose()


class RunningSim(str):
    """The origin of a simulator that runs in a thread of its own: a ``str`` that can be asked and told things."""

    _thread: _Thread

    @property
    def v1(self) -> str:
        """What the OpenAI SDK wants as ``base_url`` (Anthropic's wants the bare origin)."""
        return f"{self}/v1"

    def meter(self) -> Meter:
        """Returns a copy of what it has seen."""
        return self._thread.call(lambda server: copy.deepcopy(server.sim.meter))

    def load(self, script: Script) -> None:
        """Behaves differently from now on; counts and schedules start anew.

        Raises:
            ConfigError: a wrong scenario.
        """
        behaviour = read_script(script)
        self._thread.call(lambda server: server.sim.load(behaviour))

    def reset(self) -> None:
        """Starts counts and schedules anew."""
        self._thread.call(lambda server: server.sim.reset())


@contextmanager
def running_sim(script: Script = None, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[RunningSim]:
    """Runs a simulator in a thread of its own, for synchronous tests.

    Example:
        >>> with running_sim("faults: [{fault: 503, when: {first: 1}}]") as url:
        ...     url.startswith("http://127.0.0.1:")
        True
    """
    thread = _Thread(read_script(script), host, port)
    try:
        url = RunningSim(thread.start())
        url._thread = thread
        yield url
    finally:
        thread.stop()


class _Thread:
    """A thread with an event loop and one simulator on it."""

    def __init__(self, behaviour: Behaviour, host: str, port: int) -> None:
        self._where = (behaviour, host, port)
        self._ready: threading.Event = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._server: SimServer | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="headgate-sim", daemon=True)

    def start(self) -> str:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        assert self._server is not None
        return self._server.url

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def call(self, action: Callable[[SimServer], T]) -> T:
        assert self._loop is not None
        assert self._server is not None
        return asyncio.run_coroutine_threadsafe(_do(action, self._server), self._loop).result(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._server = await serve(*self._where)
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            await self._server.aclose()


async def _do(action: Callable[[SimServer], T], server: SimServer) -> T:
    return action(server)


__all__ = ["AsyncSim", "RunningSim", "Script", "read_script", "running_sim"]
