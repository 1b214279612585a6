"""Reads what a good answer's headers say is left of the provider's own rate limits, where it is little."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from headgate.dialects.delay import parse_duration

_SCARCE_REQUESTS = 2
_SCARCE_TOKENS = 4
"""Digits up to which a number is little: looking at more would cost every request."""

_UNKNOWN_RESET = 1.0
_LONGEST = 120.0


def read_allowance(headers: Mapping[bytes, bytes]) -> tuple[int, float] | None:
    """Returns how many more requests may start, and within how many seconds; None where that is no concern.

    OpenAI: ``x-ratelimit-remaining-requests`` with ``x-ratelimit-reset-requests`` (a duration), and the same of tokens.
    Anthropic: ``anthropic-ratelimit-requests-remaining`` with ``…-reset`` (an RFC 3339 time), and of tokens.
    Under 10,000 tokens left are taken for room for one request per thousand.
    """
    left = headers.get(b"x-ratelimit-remaining-requests")
    if left is not None:
        if len(left) <= _SCARCE_REQUESTS:
            return _read(left, 1, headers.get(b"x-ratelimit-reset-requests"))
        tokens = headers.get(b"x-ratelimit-remaining-tokens")
        if tokens is not None and len(tokens) <= _SCARCE_TOKENS:
            return _read(tokens, 1000, headers.get(b"x-ratelimit-reset-tokens"))
        return None
    left = headers.get(b"anthropic-ratelimit-requests-remaining")
    if left is None:
        return None
    if len(left) <= _SCARCE_REQUESTS:
        return _read(left, 1, headers.get(b"anthropic-ratelimit-requests-reset"))
    tokens = headers.get(b"anthropic-ratelimit-tokens-remaining")
    if tokens is not None and len(tokens) <= _SCARCE_TOKENS:
        return _read(tokens, 1000, headers.get(b"anthropic-ratelimit-tokens-reset"))
    return None


def _read(left: bytes, each: int, reset: bytes | None) -> tuple[int, float] | None:
    if not left.isdigit():
        return None
    return int(left) // each, min(_seconds(reset), _LONGEST)


def _seconds(reset: bytes | None) -> float:
    if reset is None:
        return _UNKNOWN_RESET
    text = reset.decode("latin-1")
    duration = parse_duration(text)
    if duration is not None:
        return duration
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _UNKNOWN_RESET
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
