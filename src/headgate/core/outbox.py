"""Outbox: what is written to sockets in one tick of the event loop goes out together at its end.

Writes one after the other keep the kernel's path in the processor's caches; apart, each pays for loading it again.
Measured at 64 connections: 16 µs a write in place, 6 µs in a batch (ADR 0008).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

_log = logging.getLogger("headgate.outbox")


class Outbox:
    """Calls what was posted at the end of the tick, in order. A ``put`` that raises is logged and harms no other."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Callable[[bytes], None], bytes]] = []

    def post(self, put: Callable[[bytes], None], data: bytes) -> None:
        """Has ``put(data)`` called at the end of this tick."""
        if not self._waiting:
            self._loop.call_soon(self._empty)
        self._waiting.append((put, data))

    def _empty(self) -> None:
        waiting, self._waiting = self._waiting, []
        for put, data in waiting:
            try:
                put(data)
            except Exception:
                _log.exception("a write at the end of a tick failed")
