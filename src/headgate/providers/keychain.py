"""KeyChain: several keys of one provider, one in use at a time, the next one at once when it is refused or limited."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core.errors import HeadgateError

REFUSED_SECONDS = 60.0
"""How long a key that was refused (401, 403) is left alone."""

LIMITED_SECONDS = 1.0
"""How long a key that ran into a rate limit is left alone where the provider does not say."""

_TURNING = frozenset({"auth", "rate_limited", "quota"})


class KeyChain:
    """The header lines that carry each key, and when each may be used again.

    Attributes:
        current: which key is in use, counted from 0.
    """

    __slots__ = ("_free_at", "_lines", "current")

    def __init__(self, lines: Sequence[bytes]) -> None:
        """Args:
        lines: one header line per key, ending in CRLF; at least two.
        """
        self._lines = tuple(lines)
        self._free_at = [0.0] * len(lines)
        self.current = 0

    def pick(self, now: float) -> int:
        """Returns the key to use now: the current one while it is free, else the next that is, else the first to be."""
        if self._free_at[self.current] <= now:
            return self.current
        count = len(self._lines)
        order = [(self.current + step) % count for step in range(1, count + 1)]
        free = next((one for one in order if self._free_at[one] <= now), None)
        self.current = free if free is not None else min(order, key=self._free_at.__getitem__)
        return self.current

    def line(self, key: int) -> bytes:
        """Returns the header line of a key."""
        return self._lines[key]

    def has(self, lines: Sequence[bytes]) -> bool:
        """Returns whether these are its keys, in this order."""
        return self._lines == tuple(lines)

    def failed(self, key: int, error: HeadgateError, now: float) -> bool:
        """Notes that a call with this key failed; True where that was the key's own trouble and another one is free."""
        if error.code not in _TURNING:
            return False
        if error.code == "rate_limited":
            pause = error.retry_after if error.retry_after is not None else LIMITED_SECONDS
        else:
            pause = max(REFUSED_SECONDS, error.retry_after or 0.0)
        self._free_at[key] = max(self._free_at[key], now + pause)
        return any(free_at <= now for free_at in self._free_at)
