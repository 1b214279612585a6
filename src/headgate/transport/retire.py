"""Retirement: closes transports that newer settings do without, once the calls that may still use them have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headgate.core.ports import Transport

PAUSE = 0.25
"""Seconds between two looks whether calls are still under way."""


class Retirement:
    """All transports of one event loop that are on their way out."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[None], Sequence[Transport]] = {}

    def add(self, transports: Sequence[Transport], busy: Callable[[], bool]) -> None:
        """Closes ``transports`` as soon as ``busy`` says False, which is asked four times a second."""
        if transports:
            task = asyncio.get_running_loop().create_task(self._retire(transports, busy))
            self._waiting[task] = transports
            task.add_done_callback(self._waiting.pop)

    async def aclose(self) -> None:
        """Closes what is left, now."""
        waiting = dict(self._waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for transports in waiting.values():
            for transport in transports:
                await transport.aclose()

    @staticmethod
    async def _retire(transports: Sequence[Transport], busy: Callable[[], bool]) -> None:
        while busy():  # noqa: ASYNC110 - an event would cost every call something
            await asyncio.sleep(PAUSE)
        for transport in transports:
            await transport.aclose()
