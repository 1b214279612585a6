"""Spans of time in providers' words: ``6m0s``, ``try again in 20 seconds``."""

from __future__ import annotations

import re

_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h|d)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TEXT = re.compile(
    r"(?:try again in|retry after|retry in)\s+"
    r"((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|seconds?|s|minutes?|m|hours?|h)\b\s*)+"
    r"|(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)|\"retryDelay\":\s*\"([0-9.]+s)\"",
    re.IGNORECASE,
)
_WORDS = (("milliseconds", "ms"), ("millisecond", "ms"), ("seconds", "s"), ("second", "s"))
_LONG_WORDS = (("minutes", "m"), ("minute", "m"), ("hours", "h"), ("hour", "h"))


def parse_duration(text: str) -> float | None:
    """Returns the seconds of ``"6m0s"``, ``"20ms"``, ``"1.2s"`` or a bare number; None for anything else."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return value if 0 <= value < 1e9 else None
    total, end = 0.0, 0
    for piece in _PIECE.finditer(text):
        if piece.start() != end:
            return None
        total += float(piece[1]) * _SECONDS[piece[2]]
        end = piece.end()
    return total if end and end == len(text) else None


def delay_in_text(text: str) -> float | None:
    """Returns the seconds that the text of an error asks to wait before another try, or None."""
    match = _TEXT.search(text)
    if match is None:
        return None
    shown = (match[1] or match[2]).lower()
    for word, short in _WORDS + _LONG_WORDS:
        shown = shown.replace(word, short)
    return parse_duration("".join(shown.split()))
