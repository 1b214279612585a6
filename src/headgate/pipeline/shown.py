"""Shown: what is left of requests or tokens, as OpenAI's ``x-ratelimit-*`` headers say it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headgate.pipeline.meter import Window

_Header = tuple[bytes, bytes]


class Shown:
    """One kind's headers: of its windows, that of which least is left. When it ends is worked out once a second."""

    __slots__ = ("_kind", "_limit", "_name", "_reset", "_until", "_window", "_windows")

    def __init__(self, kind: str, windows: Sequence[Window]) -> None:
        """Args:
        kind: ``"requests"`` or ``"tokens"``.
        windows: at least one.
        """
        self._kind = kind.encode()
        self._name = b"x-ratelimit-remaining-" + self._kind
        self._windows = windows
        self._window: Window | None = None
        self._until = 0.0
        self._limit: _Header = (b"", b"")
        self._reset: _Header = (b"", b"")

    def lines(self, now: float) -> tuple[_Header, _Header, _Header]:
        """Returns limit, remaining and reset; ``now`` is monotonic (s)."""
        windows = self._windows
        window = windows[0] if len(windows) == 1 else min(windows, key=_left)
        if now >= self._until or window is not self._window:
            self._window = window
            reset = window.reset
            self._until = now + (reset % 1.0 or 1.0)
            self._limit = (b"x-ratelimit-limit-" + self._kind, b"%d" % window.rule.amount)
            self._reset = (b"x-ratelimit-reset-" + self._kind, show_duration(reset))
        left = window.left
        return self._limit, (self._name, b"%d" % left if left > 0 else b"0"), self._reset


def _left(window: Window) -> int:
    return window.left


def show_duration(seconds: float) -> bytes:
    """Returns a time as OpenAI's headers have it, in whole seconds, rounded up.

    Example:
        >>> show_duration(0.2), show_duration(75), show_duration(86400)
        (b'1s', b'1m15s', b'24h0m0s')
    """
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
