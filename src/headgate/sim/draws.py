"""Seeded draws: a tiny splitmix64 generator, ten times cheaper to start than ``random.Random``."""

from __future__ import annotations

import math
import zlib
from statistics import NormalDist

_MASK = (1 << 64) - 1
_NORMAL = NormalDist()


class Draws:
    """Random numbers of one call; the same key gives the same numbers on every machine.

    Example:
        >>> Draws(7).uniform() == Draws(7).uniform()
        True
    """

    __slots__ = ("_state",)

    def __init__(self, key: int) -> None:
        self._state = (key * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK

    def bits(self) -> int:
        """Returns the next 64 random bits."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def uniform(self) -> float:
        """Returns a number in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53

    def below(self, bound: int) -> int:
        """Returns a whole number in [0, bound)."""
        return self.bits() % bound

    def normal(self) -> float:
        """Returns a standard normal number."""
        return _NORMAL.inv_cdf(min(max(self.uniform(), 1e-12), 1 - 1e-12))

    def exponential(self) -> float:
        """Returns an exponential number with mean 1."""
        return -math.log(1.0 - self.uniform())

    def word(self) -> str:
        """Returns 24 hex digits, for ids."""
        return f"{self.bits():016x}{self.bits() & 0xFFFFFFFF:08x}"


def call_key(seed: int, body: bytes, occurrence: int) -> int:
    """Returns the key of one call: which seed, which request, and how often it came before."""
    return (seed << 40) ^ (zlib.crc32(body) << 20) ^ occurrence
