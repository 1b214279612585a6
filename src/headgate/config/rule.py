"""Rule: what a setting is for and what it may hold, beside its type in the schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Unit = Literal["", "seconds", "bytes", "days", "dollars"]


class Rule:
    """Stands in a field's ``Annotated``.

    Attributes:
        doc: one sentence for the reference.
        unit: how a number is meant, and which suffixes a text may carry instead.
        low, high: the range of a number, both ends allowed, in that unit.
        check: returns what is wrong with a text, or "" (for a list: with each; for a mapping of texts: with each
            ``key: value``).
        choices: ``"rows"`` or ``"dialects"``: the text must be one of those names.
        secret: a wrong value may be a secret and is never repeated.
        off: ``false`` in the place of a mapping means that there is none.
    """

    __slots__ = ("check", "choices", "doc", "high", "low", "off", "secret", "unit")

    def __init__(
        self,
        doc: str,
        *,
        unit: Unit = "",
        low: float | None = None,
        high: float | None = None,
        check: Callable[[str], str] | None = None,
        choices: Literal["", "rows", "dialects"] = "",
        secret: bool = False,
        off: bool = False,
    ) -> None:
        self.doc = doc
        self.unit: Unit = unit
        self.low = low
        self.high = high
        self.check = check
        self.choices = choices
        self.secret = secret
        self.off = off
