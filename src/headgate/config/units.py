"""Human amounts of time and bytes: ``30s``, ``500ms``, ``32MiB``, or a plain number."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s?([A-Za-z]{1,3})", re.ASCII)


def parse_seconds(text: str) -> float | None:
    """Returns the seconds that ``text`` (``"1.5s"``, ``"500ms"``, ``"2h"``) stands for, or None."""
    match = _AMOUNT.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        return None
    return float(match[1]) * _SECONDS[match[2]]


def parse_bytes(text: str) -> int | None:
    """Returns the bytes that ``text`` (``"32MiB"``, ``"10 kB"``) stands for, or None."""
    match = _AMOUNT.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        return None
    return int(float(match[1]) * _BYTES[match[2]])


def show_seconds(seconds: float) -> str:
    """Returns the shortest exact form: ``90s`` stays, ``3600`` is ``1h``, ``0.5`` is ``500ms``."""
    for unit in ("d", "h", "m"):
        amount = seconds / _SECONDS[unit]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{unit}"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    millis = round(seconds * 1000, 6)
    return f"{int(millis)}ms" if millis == int(millis) else f"{seconds:.9f}".rstrip("0") + "s"


def show_bytes(size: int) -> str:
    """Returns the shortest exact form: ``33554432`` is ``32MiB``."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"
