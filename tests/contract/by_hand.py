"""What a lease meter stands on, turned by hand: a store in memory, a loop, a desk whose letters a test carries."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headgate.core.clock import FixedClock
from headgate.core.errors import HeadgateError
from headgate.core.leases import Ask, Cells, Renewal, Told
from headgate.stores.leases.decide import Lease, Standing, end_of_dead, is_stale, renew
from headgate.stores.leases.meter_file import MeterFile


class Store:
    """Windows and leases by the rules of ``decide``; ``presumed`` by window, ``gone`` those who were written off."""

    def __init__(self, clock: FixedClock) -> None:
        self.clock = clock
        self.standings: dict[str, Standing] = {}
        self.leases: dict[str, dict[int, tuple[str, Lease]]] = {}
        self.presumed: dict[str, int] = {}
        self.gone: set[str] = set()

    def renew(self, holder: str, asks: Sequence[Ask]) -> Renewal:
        """One transaction. Who was written off hears so for as long as that does not arrive: see ``gone``."""
        if holder in self.gone:
            return Renewal(self.clock.time_ns(), [], lost=True)
        mine = self.leases.setdefault(holder, {})
        told, now = [], self.clock.time_ns()
        for ask in asks:
            if is_stale(ask, now):
                ask = msgspec.structs.replace(ask, want=0)
            before = mine.get(ask.slot)
            standing, lease, given = renew(
                self.standings.get(ask.id, Standing()), before[1] if before else None, ask, now
            )
            self.standings[ask.id] = standing
            if lease is None:
                mine.pop(ask.slot, None)
            else:
                mine[ask.slot] = (ask.id, lease)
            told.append(Told(given, standing.settled, ask.limit - standing.settled - standing.held))
        short = [id for id, _ in mine.values() if now - self.standings[id].short_ns < 3e9]
        return Renewal(now, told, short)

    def write_off(self, holder: str) -> set[str]:
        """Counts all that a worker had been given as used, as an admin may; returns the windows it had leases in."""
        leases = self.leases.pop(holder, {})
        for id, lease in leases.values():
            self._end(id, lease, max(lease.granted, lease.settled), max(0, lease.granted - lease.settled))
        self.gone.add(holder)
        return {id for id, _ in leases.values()}

    def bury(self, holder: str, left: dict[int, tuple[int, int]]) -> None:
        """Closes a dead worker's leases, as the recorder does."""
        for slot, (id, lease) in self.leases.pop(holder, {}).items():
            settled, presumed = end_of_dead(lease, *left.get(slot, (0, 0)))
            self._end(id, lease, settled, presumed)

    def _end(self, id: str, lease: Lease, settled: int, presumed: int) -> None:
        standing = self.standings[id]
        held = standing.held - (lease.granted - lease.settled)
        self.standings[id] = Standing(standing.settled + settled - lease.settled, held, standing.short_ns)
        self.presumed[id] = self.presumed.get(id, 0) + presumed


class Handle:
    """A callback that can be cancelled."""

    def __init__(self, when: float, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.when, self.callback, self.arguments = when, callback, arguments

    def cancel(self) -> None:
        self.callback = lambda *_: None


class HandLoop:
    """An event loop that a test turns by hand."""

    def __init__(self, clock: FixedClock) -> None:
        self._clock = clock
        self._real = asyncio.new_event_loop()
        self._handles: list[Handle] = []

    def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> Handle:
        return self.call_later(0.0, callback, *arguments)

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> Handle:
        self._handles.append(Handle(self._clock.monotonic() + delay, callback, arguments))
        return self._handles[-1]

    def create_future(self) -> asyncio.Future[None]:
        return self._real.create_future()

    def turn(self) -> None:
        """Calls what is due."""
        now = self._clock.monotonic()
        due = [handle for handle in self._handles if handle.when <= now]
        self._handles = [handle for handle in self._handles if handle.when > now]
        for handle in due:
            handle.callback(*handle.arguments)

    def close(self) -> None:
        self._real.close()


class Mailbox:
    """A desk whose letters a test carries, loses, or lets come late."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self.file = MeterFile(folder, name)
        self.letters: list[tuple[Sequence[Ask], Callable[[Renewal | HeadgateError], None]]] = []

    def renew(self, asks: Sequence[Ask], done: Callable[[Renewal | HeadgateError], None]) -> None:
        self.letters.append((asks, done))

    def take(self) -> tuple[int, Cells, int]:
        return self.file.take()

    def give_back(self, slot: int) -> None:
        self.file.give_back(slot)

    def close(self, asks: Sequence[Ask]) -> None:
        raise AssertionError("nobody leaves in peace here")
