"""Terminal: tells the two meanings of SIGHUP apart, a closed terminal and the wish for a new configuration."""

from __future__ import annotations

import os

_LONG = 2
"""Looks that find no terminal until its end was not just now: SIGHUP comes moments after it."""


def nothing(number: int, frame: object) -> None:
    """A signal handler that does nothing; unlike SIG_IGN, it is not inherited by programs that are started."""


class Terminal:
    """The terminal that this process was started from, if any, as its standard input."""

    def __init__(self) -> None:
        self._missed = 0 if _is_terminal() else _LONG

    def look(self) -> None:
        """To be called about once a second: who outlives a terminal that was closed earlier was meant to."""
        if self._missed < _LONG:
            self._missed = 0 if _is_terminal() else self._missed + 1

    def has_closed(self) -> bool:
        """Returns, at SIGHUP, whether that is because the terminal has just been closed."""
        closed = self._missed < _LONG and not _is_terminal()
        if closed:
            self._missed = _LONG
        return closed


def _is_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False
