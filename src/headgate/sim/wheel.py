"""A timer wheel: thousands of waits on a handful of event-loop timers, two milliseconds coarse."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

TICK = 0.002
"""Seconds between two turns of the wheel: what comes due within one happens together."""


class Wheel:
    """Calls back at a time of the loop's clock, up to one tick late."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, dict[int, Callable[[], None]]] = {}
        self._next = 0

    def at(self, when: float, callback: Callable[[], None]) -> tuple[int, int]:
        """Registers ``callback``; returns the handle that ``cancel`` takes."""
        tick = math.ceil(when / TICK)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            self._loop.call_at(tick * TICK, self._fire, tick)
        self._next += 1
        bucket[self._next] = callback
        return tick, self._next

    def cancel(self, handle: tuple[int, int]) -> None:
        """Forgets a callback; does nothing if it has run."""
        bucket = self._buckets.get(handle[0])
        if bucket is not None:
            bucket.pop(handle[1], None)

    def _fire(self, tick: int) -> None:
        for callback in self._buckets.pop(tick, {}).values():
            callback()
