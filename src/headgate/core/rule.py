"""LimitRule: how much of something one caller, group or model may use, in which window: what an admin sets."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

from headgate.core.price import NANO, show_dollars, show_money

UNITS = ("dollars", "tokens", "input_tokens", "output_tokens", "requests", "concurrency")
"""What can be limited; ``tokens`` are input and output together."""
PERIODS = ("minute", "hour", "day", "month")
"""Windows, by the calendar in UTC. ``concurrency`` has none."""
SCOPES = ("key", "user", "team", "feature", "model", "everything")
PRIORITIES = ("", "interactive", "batch")
ATTEMPT_UNITS = frozenset({"dollars", "tokens", "input_tokens", "output_tokens"})
"""What each attempt reserves and settles; the others are taken once per call."""

MOST_DOLLARS = 1_000_000_000
MOST_COUNT = 10**15
"""Beyond these an amount is a slip of the hand, and sums would leave 64 bits."""


class LimitRule(msgspec.Struct, frozen=True):
    """One limit.

    Attributes:
        scope: whom it is for, one of ``SCOPES``.
        value: which one; "" for every member of the scope, each with a window of its own. A key is named by its id.
        unit: one of ``UNITS``.
        per: one of ``PERIODS``, "" for concurrency.
        amount: nano-dollars for dollars, else a count.
        priority: ``"interactive"`` or ``"batch"`` where only such calls count, else "".
        name: what refusals call it.
    """

    scope: str
    value: str
    unit: str
    per: str
    amount: int
    priority: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """Its name, made from the rest where it has none."""
        if self.name:
            return self.name
        who = self.scope if self.scope == "everything" else f"{'every ' if not self.value else ''}{self.scope}"
        words = [
            f"{who} {self.value}".rstrip(),
            f"{self.unit.replace('_', ' ')}{f' per {self.per}' if self.per else ''}",
        ]
        return ", ".join([*words, *([self.priority] if self.priority else [])])

    @property
    def shown(self) -> str:
        """Its amount for people: ``$1.00 per day``, ``60 requests per minute``, ``5 calls at once``."""
        if self.unit == "concurrency":
            return f"{self.amount:,} calls at once"
        what = show_money(self.amount) if self.unit == "dollars" else f"{self.amount:,} {self.unit.replace('_', ' ')}"
        return f"{what} per {self.per}"


def parse_amount(unit: str, value: object) -> int | None:
    """Returns an amount in the unit's whole numbers (dollars in nano-dollars), None for what can be none.

    Example:
        >>> parse_amount("dollars", "0.01"), parse_amount("dollars", 1.5), parse_amount("requests", 60)
        (10000000, 1500000000, 60)
        >>> parse_amount("dollars", -1), parse_amount("requests", 0.5), parse_amount("dollars", "1e99")
        (None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(text := str(value)) > 40:
        return None
    try:
        number = Decimal(text.removeprefix("$").replace("_", ""))
    except InvalidOperation:
        return None
    most = MOST_DOLLARS if unit == "dollars" else MOST_COUNT
    if not number.is_finite() or not 0 <= number <= most:
        return None
    whole = number * NANO if unit == "dollars" else number
    return int(whole) if whole == whole.to_integral_value() else None


def show_amount(unit: str, amount: int) -> str:
    """Returns an amount as programs have it: dollars as an exact decimal, else the count."""
    return show_dollars(amount) if unit == "dollars" else str(amount)
