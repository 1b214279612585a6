"""Learned: what calls of one deployment really took of their bound: bounds that proved too low are widened by it.

Where the configuration says so, it also tells what share of its bound a call usually takes (``reserve`` below 1): then
less than the worst case is reserved, and a budget may be overshot (see docs/limits.md).
"""

from __future__ import annotations

import logging
import math

_log = logging.getLogger("headgate.charge")

ENOUGH = 100
"""Calls below which a share would be a guess: until then the worst case is reserved."""
_STEPS = 100
_MEMORY = 2000
"""Calls after which the older half counts for half as much."""
_WIDEST = 64.0


class Share:
    """Of how much of its bound a call took, as a histogram of whole percents; of money, or of tokens."""

    __slots__ = ("_counts", "_total", "wide")

    def __init__(self) -> None:
        self.wide = 1.0
        self._counts = [0] * (_STEPS + 1)
        self._total = 0

    def observe(self, reserved: int, settled: int) -> None:
        """Takes one call."""
        place = _STEPS if settled >= reserved else math.ceil(settled * _STEPS / reserved)
        self._counts[place] += 1
        self._total += 1
        if self._total >= _MEMORY:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def at(self, quantile: float) -> float:
        """Returns the share of its bound that this part of all calls (0..1) stayed within; 1.0 while unknown."""
        if self._total < ENOUGH:
            return 1.0
        left = quantile * self._total
        for place, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return place / _STEPS
        return 1.0

    def widen(self, bound: int, settled: int) -> None:
        """A call took more than its bound: bounds are wider from now on, so that the like of it fits."""
        self.wide = min(_WIDEST, max(self.wide, settled / max(1, bound)))


class Learned:
    """What is known of one deployment.

    Attributes:
        money, input, output: its shares.
        plain: the worst case is reserved as it is: nothing has been learned, and nothing is to be.
        exceeded: settlements above what was bound for them.
    """

    __slots__ = ("_name", "exceeded", "input", "money", "output", "plain", "quantile")

    def __init__(self, name: str, quantile: float = 1.0) -> None:
        """Args:
        name: the deployment's, for the log.
        quantile: the share of calls whose reservation is to suffice; 1.0 reserves the worst case.
        """
        self._name = name
        self.quantile = quantile
        self.money = Share()
        self.input = Share()
        self.output = Share()
        self.plain = quantile >= 1.0
        self.exceeded = 0

    def reserve(self, share: Share, bound: int) -> int:
        """Returns what to reserve where a call is bound to take at most so much."""
        if share.wide > 1.0:
            bound = math.ceil(bound * share.wide)
        return bound if self.quantile >= 1.0 else max(1, math.ceil(bound * share.at(self.quantile)))

    def settled(self, share: Share, bound: int, settled: int) -> None:
        """Takes in what a call took."""
        if self.quantile < 1.0 and bound > 0:
            share.observe(bound, settled)
        if settled > bound * share.wide and bound > 0:
            self.exceeded += 1
            self.plain = False
            share.widen(bound, settled)
            _log.warning(
                "a call at %s took %d where at most %d were thought possible (%s): bounds are %.2f times as wide now",
                self._name,
                settled,
                bound,
                "nano-dollars" if share is self.money else "tokens",
                share.wide,
            )
