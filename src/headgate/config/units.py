"""Human amounts of time, bytes and money: ``30s``, ``500ms``, ``32MiB``, ``0.15``, or a plain number."""

from __future__ import annotations

import re
from typing import NamedTuple

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
_DOLLARS = re.compile(r"(?=.)(\d{0,6})(?:\.(\d{1,9}))?", re.ASCII)
_STEP = re.compile(r"(\S+) above (\d{1,3}(?:_?\d{1,3}){0,3})", re.ASCII)
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


class Amount(str):
    """A number as it was written, digit by digit: what it may be depends on a unit that stands beside it."""

    __slots__ = ()


class Rate(NamedTuple):
    """Dollars per million tokens (or per piece), in nano-dollars; ``steps`` are ``(above, rate)`` by prompt length."""

    base: int
    steps: tuple[tuple[int, int], ...] = ()


def parse_dollars(value: object) -> int | None:
    """Returns the nano-dollars that a number or text (``0.15``, ``"0.15"``, ``"$3"``) stands for, exactly.

    None for anything else: what is negative, has over 9 decimals, or is a million dollars and more.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    # A float that was written with so few digits is written so again: nothing is lost by its having been one.
    text = value.removeprefix("$") if isinstance(value, str) else str(value)
    match = _DOLLARS.fullmatch(text)
    if match is None and isinstance(value, float) and "e" in text:
        from decimal import Decimal  # only for amounts like 1.5e-07

        match = _DOLLARS.fullmatch(format(Decimal(text), "f"))
    if match is None:
        return None
    return int(match[1] or 0) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def parse_rate(value: object) -> Rate | None:
    """Returns a rate: ``3``, ``0.15``, or with steps ``"3, 6 above 200000"``; None where it is none."""
    if not isinstance(value, str):
        base = parse_dollars(value)
        return None if base is None else Rate(base)
    first, *rest = (part.strip() for part in value.split(","))
    base = parse_dollars(first)
    steps = []
    for part in rest:
        match = _STEP.fullmatch(part)
        rate = None if match is None else parse_dollars(match[1])
        if match is None or rate is None:
            return None
        steps.append((int(match[2].replace("_", "")), rate))
    return None if base is None else Rate(base, tuple(sorted(steps)))
