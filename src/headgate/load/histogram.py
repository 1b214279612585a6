"""Histogram: any number of times in a bounded space, each within one percent of what it was."""

from __future__ import annotations

import math
from collections.abc import Iterator

_GROWTH = math.log(1.01)
_LEAST_US = 1.0


class Histogram:
    """Counts times by size: 1 µs to an hour takes at most 2,200 numbers.

    Attributes:
        count: how many there are.
        total_us: their sum in µs.
        most_us: the longest, exactly.
    """

    __slots__ = ("_counts", "count", "most_us", "total_us")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total_us = 0.0
        self.most_us = 0.0

    def add(self, us: float) -> None:
        """Takes one in."""
        place = int(math.log(us) / _GROWTH) if us > _LEAST_US else 0
        self._counts[place] = self._counts.get(place, 0) + 1
        self.count += 1
        self.total_us += us
        self.most_us = max(self.most_us, us)

    def quantile(self, part: float) -> float | None:
        """Returns the time in µs that ``part`` (0 to 1) of them do not exceed, None where there are none."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(part * self.count))
        seen = 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            if seen >= wanted:
                # The upper end of its place: a figure never flatters.
                return min(math.exp((place + 1) * _GROWTH), self.most_us)
        return self.most_us

    def steps(self) -> Iterator[tuple[float, float]]:
        """Yields, for a curve: a time in µs, and which part of all is at most that long."""
        seen = 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            yield min(math.exp((place + 1) * _GROWTH), self.most_us), seen / self.count
