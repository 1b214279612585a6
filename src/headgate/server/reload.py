"""Reloader: follows the configuration on a thread of its own, and hands what is new to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import Future

from headgate.compose import prepare
from headgate.config.follow import Apply, Follower
from headgate.config.settings import Settings
from headgate.config.source import Source
from headgate.core.errors import ConfigError


class Reloader:
    """One process's own. Reading and parsing is the thread's; the loop only swaps one core for another."""

    def __init__(
        self, source: Source, settings: Settings, version: str, *, fixed: Collection[str] = (), speaks: bool = True
    ) -> None:
        """Arguments as ``Follower``; ``settings`` are those that the process starts with."""
        self._follower = Follower(source, settings, self._apply, version=version, fixed=fixed, speaks=speaks)
        self._wake = threading.Event()
        self._asked = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taker: Apply | None = None

    def start(self, apply: Apply) -> None:
        """Begins to follow. ``apply`` is called on the running loop."""
        self._loop, self._taker = asyncio.get_running_loop(), apply
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="headgate-reload", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Reads the configuration now, whether it has changed or not; not to be called inside a signal handler."""
        self._asked = True
        self._wake.set()

    async def stop(self) -> None:
        """Ends the thread; nothing is applied afterwards."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping = True
            self._wake.set()
            while thread.is_alive():  # noqa: ASYNC110 - it may wait for this very loop
                await asyncio.sleep(0.01)

    def _run(self) -> None:
        pause = 0.0
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            if self._stopping or self._loop is None or self._loop.is_closed():
                return
            asked, self._asked = self._asked, False
            pause = self._follower.look(asked=asked)

    def _apply(self, settings: Settings, version: str) -> None:
        """On the thread: has the loop take the settings, and waits until it has."""
        prepare(settings)
        taken: Future[None] = Future()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._take, settings, version, taken)
        while not self._stopping:
            try:
                return taken.result(0.2)
            except TimeoutError:
                continue
        raise ConfigError("this process is shutting down")

    def _take(self, settings: Settings, version: str, taken: Future[None]) -> None:
        assert self._taker is not None
        try:
            self._taker(settings, version)
        except Exception as error:
            taken.set_exception(error)
        else:
            taken.set_result(None)
