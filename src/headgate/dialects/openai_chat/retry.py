"""When an upstream that refused wants to be asked again: from its headers, or from the text of its error."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from headgate.dialects.delay import delay_in_text, parse_duration


def retry_delay(headers: Mapping[bytes, bytes], text: str, *, limited: bool) -> float | None:
    """Returns the seconds to wait before another try, or None where the upstream does not say.

    Args:
        headers: of the error answer, lower-case names.
        text: its body.
        limited: a rate limit was hit, so that ``x-ratelimit-reset-*`` says when it ends.
    """
    delay = _number(headers.get(b"retry-after-ms"), 1000.0)
    if delay is None:
        delay = _retry_after(headers)
    if delay is None:
        delay = delay_in_text(text)
    if delay is None and limited:
        delay = _reset(headers)
    return delay


def _number(value: bytes | None, scale: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) / scale
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds, or a date, which is measured against the answer's own ``date``: clocks differ."""
    value = headers.get(b"retry-after")
    if value is None:
        return None
    seconds = parse_duration(value.decode("latin-1"))
    if seconds is not None or b"date" not in headers:
        return seconds
    try:
        until = parsedate_to_datetime(value.decode("latin-1"))
        now = parsedate_to_datetime(headers[b"date"].decode("latin-1"))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _reset(headers: Mapping[bytes, bytes]) -> float | None:
    """The longest reset of the limits that are used up; where none says so, the shortest of all."""
    used_up: list[float] = []
    others: list[float] = []
    for unit in (b"requests", b"tokens", b"input-tokens", b"output-tokens"):
        value = headers.get(b"x-ratelimit-reset-" + unit)
        delay = None if value is None else parse_duration(value.decode("latin-1"))
        if delay is not None:
            remaining = headers.get(b"x-ratelimit-remaining-" + unit, b"").strip()
            (used_up if remaining == b"0" else others).append(delay)
    if used_up:
        return max(used_up)
    return min(others) if others else None
