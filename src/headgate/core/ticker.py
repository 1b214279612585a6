"""One timer for many waits: whatever is over soon costs no timer of its own (DESIGN §4: nothing per request)."""

from __future__ import annotations

import asyncio
from typing import Protocol

PERIOD = 0.025
"""Seconds between two ticks; what is added is looked at after one to two of them."""


class Patient(Protocol):
    """Something that needs watching only if it lasts."""

    over: bool

    def lasts(self) -> None:
        """It was added one to two periods ago and is not over: now it may set timers of its own."""


class Ticker:
    """Calls ``lasts`` on what is still not over after a moment. Two generations: no time is read per item."""

    __slots__ = ("_old", "_timer", "_young", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._young: list[Patient] = []
        self._old: list[Patient] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Patient) -> None:
        """Begins to watch ``item``."""
        self._young.append(item)
        if self._timer is None:
            self._timer = self.loop.call_later(PERIOD, self._tick)

    def _tick(self) -> None:
        aged, self._old, self._young = self._old, self._young, []
        for item in aged:
            if not item.over:
                item.lasts()
        busy = self._old or self._young
        self._timer = self.loop.call_later(PERIOD, self._tick) if busy else None
