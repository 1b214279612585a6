"""Time, randomness and ids, injected so that tests can hold them still."""

from __future__ import annotations

import os
import random as _random
import re
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. ``monotonic`` for intervals (s), ``time_ns`` for stamps (ns since 1970, UTC)."""

    def monotonic(self) -> float: ...
    def time_ns(self) -> int: ...


class SystemClock:
    """The machine's clock. Its ``monotonic`` is the one that asyncio's and uvloop's timers use."""

    __slots__ = ()
    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)


class FixedClock:
    """A clock for tests: stands still until ``advance`` is called."""

    def __init__(self, now: float = 1000.0, epoch_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now, self._epoch_ns = now, epoch_ns

    def monotonic(self) -> float:
        return self._now

    def time_ns(self) -> int:
        return self._epoch_ns

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._epoch_ns += int(seconds * 1e9)


class Ids:
    """Makes call ids: time-ordered, unique over processes and machines, 30 characters of ``[a-z0-9_]``.

    Layout: ``hg_`` + 11 hex digits of milliseconds since 1970 + 8 hex digits drawn once per process +
    8 hex digits counted up from a random start. Time first keeps a database index append-only.
    """

    __slots__ = ("_clock", "_count", "_process")

    def __init__(self, clock: Clock | None = None, seed: bytes | None = None) -> None:
        self._clock = clock or SystemClock()
        entropy = seed or os.urandom(8)
        self._process = entropy[:4].hex()
        self._count = int.from_bytes(entropy[4:8], "big")

    def new(self) -> str:
        """Returns the next id."""
        self._count = (self._count + 1) & 0xFFFFFFFF
        return f"hg_{self._clock.time_ns() // 1_000_000:011x}{self._process}{self._count:08x}"


_ID = re.compile(r"hg_([0-9a-f]{11})[0-9a-f]{16}", re.ASCII)


def made_ms(call_id: str) -> int | None:
    """Returns when a call was made, in ms since 1970, as its id says; None for what ``Ids`` does not make."""
    match = _ID.fullmatch(call_id)
    return None if match is None else int(match[1], 16)


Random = _random.Random
