"""Reconciliation: the ledger beside a provider's own export, by day and model, and what the differences are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from headgate.core.price import show_money
from headgate.observe.invoice import Line, model_key
from headgate.stores.query import Filters
from headgate.stores.rollups import DAY_NS
from headgate.stores.spending import SpendStore, day_of

COMPARED = ("requests", "input", "output", "cached", "cost")
CENT = 10_000_000
"""Nano-dollars within which costs of a day agree: exports are rounded."""

State = Literal["agrees", "differs", "only on the invoice", "only in the ledger"]


class Row(msgspec.Struct):
    """One day and model: both sides, how they stand, and why, in words."""

    day: str
    model: str
    invoice: Line | None
    ledger: Line | None
    state: State
    reasons: list[str]


class Ledger(msgspec.Struct):
    """What the gateway recorded of one provider: lines by day and model, and calls without price among them."""

    lines: list[Line]
    unpriced: dict[tuple[str, str], int]


def read_ledger(store: SpendStore, provider: str, filters: Filters) -> Ledger:
    """Returns the ledger of a provider; every billed attempt counts where and when its call came in (UTC)."""
    lines: dict[tuple[str, str], Line] = {}
    unpriced: dict[tuple[str, str], int] = {}

    def add(line: Line, without_price: int) -> None:
        place = (line.day, line.model)
        lines.setdefault(place, Line(*place)).add(line)
        if without_price:
            unpriced[place] = unpriced.get(place, 0) + without_price

    for day, deployment, sums in store.single(filters):
        name, _, model = deployment.partition("/")
        if name == provider:
            counts = (sums.calls, sums.input_tokens, sums.output_tokens, sums.cached_tokens, sums.cost)
            add(Line(day_of(day), model, *counts), sums.unpriced)
    for time_ns, attempt in store.attempts(filters):
        if attempt.provider == provider and attempt.usage is not None:
            usage = attempt.usage
            counts = (1, usage.input, usage.output, usage.cached, attempt.cost or 0)
            add(Line(day_of(time_ns // DAY_NS), attempt.model, *counts), int(attempt.unpriced))
    return Ledger(list(lines.values()), unpriced)


def reconcile(
    invoice: Iterable[Line], ledger: Ledger, *, tolerance: float = 0.1, aliases: Mapping[str, str] | None = None
) -> list[Row]:
    """Returns one row per day and model of either side, in order; of what the invoice does not say nothing is compared.

    Args:
        invoice: the provider's lines. A line without a model is held against the whole day.
        ledger: ours.
        tolerance: per cent within which numbers agree; costs agree within a cent a day too.
        aliases: the invoice's model names by ours, where they differ in more than spelling and date.
    """
    invoice = list(invoice)
    whole_days = bool(invoice) and all(not line.model for line in invoice)
    theirs = _keyed(invoice, whole_days, {})
    ours = _keyed(ledger.lines, whole_days, aliases or {})
    unpriced: dict[tuple[str, str], int] = {}
    for (day, model), count in ledger.unpriced.items():
        place = _place(day, model, whole_days, aliases or {})
        unpriced[place] = unpriced.get(place, 0) + count
    rows = []
    for place in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(place), ours.get(place)
        rows.append(_row(one, other, tolerance, unpriced.get(place, 0)))
    return rows


def _place(day: str, model: str, whole_days: bool, aliases: Mapping[str, str]) -> tuple[str, str]:
    return day, "" if whole_days else model_key(aliases.get(model, model))


def _keyed(lines: Iterable[Line], whole_days: bool, aliases: Mapping[str, str]) -> dict[tuple[str, str], Line]:
    found: dict[tuple[str, str], Line] = {}
    for line in lines:
        place = _place(line.day, line.model, whole_days, aliases)
        shown = "(all models)" if whole_days else line.model or "(no model)"
        found.setdefault(place, Line(line.day, shown)).add(line)
    return found


def _row(one: Line | None, other: Line | None, tolerance: float, unpriced: int) -> Row:
    if other is None:
        assert one is not None
        reason = "not through this gateway, under another provider's name here, or recorded elsewhere"
        empty = not any(getattr(one, name) for name in COMPARED)
        return Row(
            one.day, one.model, one, None, "agrees" if empty else "only on the invoice", [] if empty else [reason]
        )
    if one is None:
        reason = "not billed, of a later export, or billed under another name (--alias OURS=THEIRS)"
        return Row(other.day, other.model, None, other, "only in the ledger", [reason])
    differing = [name for name in COMPARED if not _agree(name, one, other, tolerance)]
    reasons = [_word(name, one, other) for name in differing]
    if differing:
        reasons += _why(differing, one, unpriced)
    return Row(one.day, one.model, one, other, "differs" if differing else "agrees", reasons)


def _agree(name: str, one: Line, other: Line, tolerance: float) -> bool:
    there, here = getattr(one, name), getattr(other, name)
    if there is None:
        return True
    gap = abs(there - (here or 0))
    if name == "cost" and gap <= CENT:
        return True
    return bool(gap * 100 <= tolerance * max(there, here or 0))


def _word(name: str, one: Line, other: Line) -> str:
    there, here = getattr(one, name), getattr(other, name) or 0
    gap = there - here
    if name == "cost":
        text = f"invoice {show_money(there)}, ledger {show_money(here)}, {'+' if gap > 0 else ''}{show_money(gap)}"
    else:
        text = f"invoice {there:,}, ledger {here:,}, {gap:+,}"
    share = f" ({gap / here:+.1%})" if here else ""
    return f"{name} {text}{share}"


def _why(differing: list[str], one: Line, unpriced: int) -> list[str]:
    if unpriced:
        return [f"{unpriced} attempts in the ledger have no price"]
    counted = [name for name in COMPARED[:-1] if getattr(one, name) is not None]
    if differing == ["cost"] and counted:
        return ["the counts agree: the price in the ledger is not the one that was billed"]
    if "requests" in differing:
        return ["some calls did not go through this gateway, or at midnight fell on the other day"]
    return []
