"""Item: one line of the deployment checklist: what must hold, whether it does, by what evidence, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

Verdict = Literal["pass", "fail", "n/a"]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One line.

    Attributes:
        id: a stable word for programs, e.g. ``"fallback"``.
        title: what must hold.
        verdict: ``"pass"``, ``"fail"`` or ``"n/a"`` (not applicable).
        evidence: why, with figures from the configuration or the records.
        mend: what to do about it; "" where nothing is to be done.
        unproven: it is n/a only for want of calls; ``--strict`` counts that as a failure.
        figures: the evidence's numbers, for programs.
    """

    id: str
    title: str
    verdict: Verdict
    evidence: str
    mend: str = ""
    unproven: bool = False
    figures: dict[str, Any] = {}


class Line:
    """What an item is called, and its three ways to end."""

    def __init__(self, id: str, title: str) -> None:
        self._id, self._title = id, title

    def passed(self, evidence: str, **figures: Any) -> Item:
        """It holds."""
        return Item(id=self._id, title=self._title, verdict="pass", evidence=evidence, figures=figures)

    def failed(self, evidence: str, mend: str, **figures: Any) -> Item:
        """It does not hold."""
        return Item(id=self._id, title=self._title, verdict="fail", evidence=evidence, mend=mend, figures=figures)

    def not_applicable(self, evidence: str, mend: str = "", **figures: Any) -> Item:
        """There is nothing here that it could be asked of."""
        return Item(id=self._id, title=self._title, verdict="n/a", evidence=evidence, mend=mend, figures=figures)

    def unproven(self, evidence: str, mend: str = "", **figures: Any) -> Item:
        """It could hold, but no call has shown it yet."""
        return Item(
            id=self._id, title=self._title, verdict="n/a", evidence=evidence, mend=mend, unproven=True, figures=figures
        )


def some(names: list[str], most: int = 4) -> str:
    """Returns names for a sentence: ``a, b, c, d and 3 more``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def count(number: int, noun: str) -> str:
    """Returns ``1 call``, ``1,200 calls``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def share(part: int, whole: int) -> str:
    """Returns ``98.7 %`` of a whole that is not 0; never 100 % unless it is all."""
    percent = 100 * part / whole
    return f"{min(percent, 99.9) if part < whole else 100:.1f} %".replace(".0 %", " %")


Check = Callable[..., Item]
