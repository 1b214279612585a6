"""Sketches of distributions that can be merged: a quantile of the merged one is within 1 % of the exact value.

A sketch counts values in bins whose edges grow by a constant factor (DDSketch: Masson, Rim, Lee, VLDB 2019). Merging
adds counts, so that minutes make hours, hours make days, and machines make a fleet, without any loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

ACCURACY = 0.01
"""The largest relative error of a quantile."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_PER_LOG = 1 / math.log(_GAMMA)
_MIDDLE = 2 / (_GAMMA + 1)
_ceil, _log = math.ceil, math.log


def bin_of(value: float) -> int:
    """Returns the number of the bin that holds a value, which must be above 0."""
    return _ceil(_log(value) * _PER_LOG)


def value_of(number: int) -> float:
    """Returns the value that a bin stands for: within ``ACCURACY`` of every value in it."""
    return math.exp(number / _PER_LOG) * _MIDDLE


class Sketch:
    """Counts of values above 0, by bin.

    Attributes:
        bins: number of values by bin (see ``bin_of``).
    """

    __slots__ = ("bins",)

    def __init__(self, bins: Mapping[int, int] | None = None) -> None:
        self.bins: dict[int, int] = dict(bins) if bins else {}

    @property
    def count(self) -> int:
        """How many values it holds."""
        return sum(self.bins.values())

    def add(self, value: float) -> None:
        """Counts a value; one of 0 or below is passed over."""
        if value > 0:
            number = bin_of(value)
            self.bins[number] = self.bins.get(number, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Adds what another sketch holds."""
        for number, count in other.bins.items():
            self.bins[number] = self.bins.get(number, 0) + count

    def quantile(self, q: float) -> float | None:
        """Returns the value below which a share ``q`` (0 to 1) of all lies, None for an empty sketch.

        Of ``n`` values in order that is number ``floor(q * (n - 1))``, counted from 0.
        """
        total = self.count
        if not total:
            return None
        rank = int(q * (total - 1))
        seen = 0
        for number in sorted(self.bins):
            seen += self.bins[number]
            if seen > rank:
                return value_of(number)
        raise AssertionError("a rank below the count is in some bin")

    def above(self, value: float) -> int:
        """Returns how many values lie above ``value``, give or take those in its own bin."""
        edge = bin_of(value) if value > 0 else -(1 << 30)
        return sum(count for number, count in self.bins.items() if number > edge)

    def counts_up_to(self, edges: list[float]) -> list[int]:
        """Returns, for each edge (above 0, ascending), how many values lie at or below it: a cumulative histogram."""
        numbers = [bin_of(edge) for edge in edges]
        found = [0] * len(edges)
        for number, count in self.bins.items():
            for place, edge in enumerate(numbers):
                if number <= edge:
                    found[place] += count
        return found
