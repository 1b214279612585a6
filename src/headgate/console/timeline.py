"""A call's story as a picture: bars along its time, in parts of the whole, for the template to draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.core.price import Rates
from headgate.core.usage import Usage


class Bar(msgspec.Struct, frozen=True):
    """One line of the picture.

    Attributes:
        label, detail: what it is, and a word more.
        kind: ``call``, ``gateway``, ``wait``, or an attempt's outcome: picks its colour.
        start_us, end_us: since the call's start.
        x, width: the same as percent of the picture.
        first: where the first content came, as percent; None for never.
        note: what came of it.
    """

    label: str
    detail: str
    kind: str
    start_us: int
    end_us: int
    x: float
    width: float
    first: float | None = None
    note: str = ""


class Sum(msgspec.Struct, frozen=True):
    """One line of a cost's arithmetic: how many of what, at which rate, makes how much (exact nano-dollars)."""

    name: str
    count: int
    rate: int
    per_million: bool
    amount: float


def draw(story: dict[str, Any]) -> list[Bar]:
    """Returns the bars of a call, in the order in which they began."""
    total = max(1, _end_of(story))
    attempts = story["attempts"]
    bars = [_bar(total, "Call", story["model"], "call", 0, total, _first(story, total), story["outcome"])]
    before = min((attempt["started_us"] for attempt in attempts), default=total)
    bars.append(_bar(total, "Gateway", "auth, plan, decode", "gateway", 0, before))
    free = before
    for number, attempt in enumerate(attempts, 1):
        start, end = attempt["started_us"], max(attempt["ended_us"], attempt["started_us"])
        if start - free > total * 0.005:
            bars.append(_bar(total, "Wait", "before the next attempt", "wait", free, start))
        first = attempt["first_content_us"]
        bars.append(
            _bar(
                total,
                f"Attempt {number}",
                attempt["deployment"],
                attempt["outcome"] or "completed",
                start,
                end if attempt["ended_us"] >= 0 else total,
                None if first < 0 else 100 * first / total,
                _said(attempt),
            )
        )
        free = max(free, end)
    if attempts and total - free > total * 0.005:
        bars.append(_bar(total, "Gateway", "journal, last bytes", "gateway", free, total))
    return bars


def ticks(story: dict[str, Any]) -> list[tuple[float, int]]:
    """Returns the marks of the time axis: percent of the picture, and µs; at most six, at round times."""
    total = max(1, _end_of(story))
    size = 10 ** (len(str(total)) - 1)
    step = next(size * part // 10 for part in (2, 5, 10, 20) if total / max(1, size * part // 10) <= 5 or part == 20)
    step = max(1, step)
    return [(100 * at / total, at) for at in range(0, total + 1, step)]


def arithmetic(attempt: dict[str, Any]) -> Iterator[Sum]:
    """Yields what an attempt's cost is the sum of, at the rates of its moment; nothing where it has none."""
    if attempt["rates"] is None or attempt["usage"] is None:
        return
    for name, number, rate, per_million in Rates(**attempt["rates"]).parts(Usage(**attempt["usage"])):
        yield Sum(name, number, rate, per_million, number * rate / (1_000_000 if per_million else 1))


def _bar(
    total: int, label: str, detail: str, kind: str, start: int, end: int, first: float | None = None, note: str = ""
) -> Bar:
    start, end = max(0, min(start, total)), max(0, min(end, total))
    width = max(0.3, 100 * (end - start) / total)
    return Bar(label, detail, kind, start, end, min(100 * start / total, 99.7), width, first, note)


def _end_of(story: dict[str, Any]) -> int:
    return int(max(story["duration_us"], *(attempt["ended_us"] for attempt in story["attempts"]), 0))


def _first(story: dict[str, Any], total: int) -> float | None:
    return None if story["first_content_us"] < 0 else 100 * story["first_content_us"] / total


def _said(attempt: dict[str, Any]) -> str:
    if attempt["error"]:
        return str(attempt["error"])
    return str(attempt["finish"] or attempt["outcome"])
