"""The checklist: every item, asked of the facts; what it comes to; and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headgate.check import access, content, money, resilience, storage, traffic
from headgate.check.facts import Facts
from headgate.check.item import Item

ITEMS: tuple[Callable[[Facts], Item], ...] = (
    *content.ITEMS,
    *traffic.ITEMS,
    *resilience.ITEMS,
    *money.ITEMS,
    *access.ITEMS,
    *storage.ITEMS,
)
"""Every item, in the order in which they are shown."""

_MARKS = {"pass": "pass", "fail": "FAIL", "n/a": "n/a "}


def ask(facts: Facts) -> list[Item]:
    """Returns every item with its verdict."""
    return [item(facts) for item in ITEMS]


def failures(items: Sequence[Item], *, strict: bool) -> list[Item]:
    """Returns what stands against a release; ``strict`` counts what no call has shown yet."""
    return [item for item in items if item.verdict == "fail" or (strict and item.unproven)]


def show_text(items: Sequence[Item], *, strict: bool) -> str:
    """Renders one item a paragraph: verdict, title, evidence, and for what does not pass its mend; then the sum."""
    width = max(len(item.title) for item in items)
    lines = []
    for item in items:
        mark = "FAIL" if strict and item.unproven else _MARKS[item.verdict]
        lines.append(f"{mark}  {item.title:<{width}}  {item.evidence}")
        if item.mend and item.verdict != "pass":
            lines.append(f"{'':<{width + 6}}  -> {item.mend}")
    bad = failures(items, strict=strict)
    counts = {name: sum(item.verdict == name for item in items) for name in ("pass", "n/a")}
    unready = f"{len(bad)} to mend: {', '.join(item.id for item in bad)}" if bad else "ready"
    lines.append(f"{counts['pass']} pass, {counts['n/a']} not applicable; {unready}")
    return "\n".join(lines)


def plain(items: Sequence[Item], facts: Facts, *, strict: bool) -> dict[str, Any]:
    """Returns the checklist for programs."""
    bad = failures(items, strict=strict)
    return {
        "ready": not bad,
        "days": facts.days,
        "calls": facts.calls.total,
        "failed": [item.id for item in bad],
        "items": [msgspec.structs.asdict(item) for item in items],
    }
