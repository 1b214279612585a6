"""Latency: how soon a deployment's answers begin, as a running mean that rises at once, and as quantiles."""

from __future__ import annotations

import math

SAMPLES = 256
ENOUGH = 20
"""Samples below which a quantile would be a guess."""

_RESORT = 16
_FADE_SECONDS = 10.0


class Quantiles:
    """The last 256 values; sorted again only when asked, and only once 16 more have come."""

    __slots__ = ("_at", "_fresh", "_ring", "_sorted")

    def __init__(self) -> None:
        self._ring: list[float] = []
        self._at = 0
        self._fresh = 0
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """Takes one value."""
        ring = self._ring
        if len(ring) < SAMPLES:
            ring.append(value)
        else:
            ring[self._at] = value
            self._at = (self._at + 1) % SAMPLES
        self._fresh += 1

    def at(self, quantile: float) -> float | None:
        """Returns the value that ``quantile`` (0..1) of the samples do not exceed; None while there are too few."""
        if len(self._ring) < ENOUGH:
            return None
        if self._fresh >= _RESORT or not self._sorted:
            self._sorted = sorted(self._ring)
            self._fresh = 0
        return self._sorted[min(len(self._sorted) - 1, math.ceil(quantile * len(self._sorted)) - 1)]


class Latency:
    """First-content times of one deployment, in seconds.

    Attributes:
        mean: a peak-sensitive moving average (peak EWMA): a slow answer counts at once, quick ones win it
            back over about ten seconds. 0.0 before the first answer.
        streamed, unary: quantiles of either kind; they differ too much to share one.
    """

    __slots__ = ("_last", "mean", "streamed", "unary")

    def __init__(self) -> None:
        self.mean = 0.0
        self._last = 0.0
        self.streamed = Quantiles()
        self.unary = Quantiles()

    def observe(self, seconds: float, now: float, *, stream: bool) -> None:
        """Takes one answer's first-content time."""
        if seconds >= self.mean:
            self.mean = seconds
        else:
            kept = math.exp((self._last - now) / _FADE_SECONDS)
            self.mean = self.mean * kept + seconds * (1.0 - kept)
        self._last = now
        (self.streamed if stream else self.unary).add(seconds)
