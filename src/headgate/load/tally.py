"""Tally: what a run has seen so far, in a space that does not grow with the number of its calls."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from typing import NamedTuple

from headgate.load.histogram import Histogram

SLICES = 120
KEPT = 20_000
SLOWEST = 500
_ERRORS = 50
"""Kinds of errors that are told apart; further ones count as one."""

_ENOUGH = 20
"""Calls that tell whether all of them are refused."""
_REFUSALS = frozenset({"401", "403", "404"})
"""No key, a wrong one, one that may not, no such model or path: no waiting helps."""


class Timed(NamedTuple):
    """One answered call, by its gateway's id: µs from its sending to the first content, and to the end."""

    id: str
    first_us: float
    total_us: float


class Slice:
    """What began within one stretch of a run."""

    __slots__ = ("calls", "errors", "first")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.first = Histogram()


class Tally:
    """Adds up a run.

    Attributes:
        started, ended, skipped: calls begun, calls over, calls not made because too many were under way.
        errors: by kind, how many.
        first, gaps, total: first content and whole answer from the intended start; between two pieces of content.
        service: whole answers from the moment of sending: what a closed loop would have shown.
        lag: how late calls were sent: the load's own fault.
        input_tokens, output_tokens: as reported.
        slices: by stretches of ``width`` seconds.
        width: of a slice, in seconds.
        busiest: most calls that were meant to start within any 60 seconds.
    """

    def __init__(self, seconds: float, *, seed: int = 1) -> None:
        """Args:
        seconds: how long the run is meant to be.
        seed: of the choice of calls that are kept.
        """
        self.started = self.ended = self.skipped = 0
        self.answered = 0
        self.errors: Counter[str] = Counter()
        self.first, self.gaps, self.total = Histogram(), Histogram(), Histogram()
        self.service, self.lag = Histogram(), Histogram()
        self.input_tokens = self.output_tokens = 0
        self.width = max(1.0, seconds / SLICES)
        self.slices: dict[int, Slice] = {}
        self.last_s = 0.0
        self.busiest = 0
        self._minute: deque[tuple[int, int]] = deque()
        self._in_minute = 0
        self._kept: list[Timed] = []
        self._slowest: list[tuple[float, int, Timed]] = []
        self._chance = random.Random(seed)

    @property
    def failed(self) -> int:
        """How many calls did not end well."""
        return self.errors.total()

    def refused(self) -> str:
        """Returns the one refusal that every call so far met and the next ones will meet as well, "" for none."""
        if self.answered or self.ended < _ENOUGH or len(self.errors) != 1:
            return ""
        (kind,) = self.errors
        return kind if kind.split()[0] in _REFUSALS else ""

    def begin(self, at: float, lag_s: float) -> None:
        """A call is sent, so many seconds after it was meant to be."""
        self.started += 1
        self.lag.add(max(0.0, lag_s) * 1e6)
        self._meant(at)

    def skip(self, at: float) -> None:
        """A call was not made: too many were under way."""
        self.skipped += 1
        self.fail(at, "not sent: too many calls under way")
        self._meant(at)

    def fail(self, at: float, kind: str) -> None:
        """A call that was meant to start then failed."""
        known = kind in self.errors or len(self.errors) < _ERRORS
        self.errors[kind if known else "other"] += 1
        self.slice_at(at).errors += 1

    def wait(self, at: float, first_us: float, total_us: float) -> None:
        """A caller waited so long from the intended start, whatever came of it."""
        self.first.add(first_us)
        self.total.add(total_us)
        self.slice_at(at).first.add(first_us)

    def keep(self, timed: Timed) -> None:
        """Remembers an answered call, or not: each with the same chance, and the slowest always."""
        self.answered += 1
        if not timed.id:
            return
        if len(self._kept) < KEPT:
            self._kept.append(timed)
        elif (place := self._chance.randrange(self.answered)) < KEPT:
            self._kept[place] = timed
        entry = (timed.first_us, self.answered, timed)
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, entry)
        else:
            heapq.heappushpop(self._slowest, entry)

    def slice_at(self, at: float) -> Slice:
        """Returns the slice of calls that were meant to start then, in seconds since the run's start."""
        place = int(at / self.width)
        found = self.slices.get(place)
        if found is None:
            found = self.slices[place] = Slice()
        return found

    def _meant(self, at: float) -> None:
        """A call was to start then. Calls come in the order of their times."""
        self.last_s = max(self.last_s, at)
        self.slice_at(at).calls += 1
        second = int(at)
        if self._minute and self._minute[-1][0] == second:
            self._minute[-1] = (second, self._minute[-1][1] + 1)
        else:
            self._minute.append((second, 1))
        self._in_minute += 1
        while self._minute[0][0] <= second - 60:
            self._in_minute -= self._minute.popleft()[1]
        self.busiest = max(self.busiest, self._in_minute)

    def kept(self) -> dict[str, Timed]:
        """Returns the calls that are remembered, by id."""
        return {timed.id: timed for timed in (*self._kept, *(entry[2] for entry in self._slowest))}
