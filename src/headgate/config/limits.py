"""Limits as they are written in the configuration, and how they are kept: in a store, over several workers or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from headgate.config.rule import Rule
from headgate.config.units import Amount
from headgate.core.rule import PERIODS, LimitRule, parse_amount, show_amount

if TYPE_CHECKING:
    from headgate.config.ledger import Ledger

Unit = Literal["dollars", "tokens", "input_tokens", "output_tokens", "requests", "concurrency"]
Scope = Literal["key", "user", "team", "feature", "model", "everything"]
_LONGEST = 256


class LimitRuleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much somebody may use of something, in a window of time."""

    scope: Annotated[Scope, Rule("Whom it is for.")] = "everything"
    value: Annotated[
        str,
        Rule("Which one, by name (a key: by its id). Left out: every one of its kind, each for itself."),
    ] = ""
    amount: Annotated[Amount, Rule("How much: dollars, or a count.")] = Amount("")
    unit: Annotated[Unit, Rule("What is limited; `tokens` are input and output together.")] = "dollars"
    per: Annotated[
        Literal["minute", "hour", "day", "month"] | None,
        Rule("The window, by the calendar in UTC. Left out for `concurrency` alone."),
    ] = None
    priority: Annotated[
        Literal["interactive", "batch"] | None, Rule("Only calls of this class count. Left out: all.")
    ] = None
    name: Annotated[str, Rule("What refusals call it. Left out: made from the rest.")] = ""


class LeaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How limits are kept."""

    store: Annotated[
        Literal["database", "memory"],
        Rule("Where they are counted: the database, shared by all workers, or one worker's memory, lost with it."),
    ] = "database"
    store_lost: Annotated[
        Literal["leased", "closed"],
        Rule("While the database is away: go on within what is leased already, or refuse what is limited."),
    ] = "leased"
    unreported: Annotated[
        Literal["reserved", "received"],
        Rule("What a stream that was cut without usage counts for: all it reserved, or what was received of it."),
    ] = "reserved"
    reserve: Annotated[
        float,
        Rule("Reserve what this share of calls needs, as learned, instead of the worst case (1).", low=0.5, high=1.0),
    ] = 1.0


def read_limits(written: list[LimitRuleConfig], models: Collection[str], ledger: Ledger) -> tuple[LimitRule, ...]:
    """Returns the limits that were written; what is wrong with one is told, and it is left out.

    Args:
        written: the section ``limits``.
        models: every configured model.
        ledger: hears what is wrong.
    """
    found: dict[tuple[str, ...], LimitRule] = {}
    for index, one in enumerate(written):
        path = f"limits[{index}]"
        wrong = list(_wrong(one, models))
        for name, message in wrong:
            ledger.tell_more(f"{path}.{name}" if f"{path}.{name}" in ledger.lines else path, message)
        amount = parse_amount(one.unit, one.amount)
        if wrong or amount is None or ledger.known_bad(path):
            continue
        rule = LimitRule(one.scope, _value(one), one.unit, one.per or "", amount, one.priority or "", one.name)
        what = (rule.scope, rule.value, rule.unit, rule.per, rule.priority)
        if what in found:
            ledger.tell(path, f"the same limit twice ({rule.title}); keep one of them")
        found[what] = rule
    return tuple(found.values())


def show_limit(rule: LimitRule) -> Iterator[tuple[str, str]]:
    """Yields each field of a limit as it could be written, for the explanation."""
    yield "scope", rule.scope
    yield "value", rule.value or "*"
    yield "amount", show_amount(rule.unit, rule.amount)
    yield "unit", rule.unit
    yield "per", rule.per or "at once"
    yield "priority", rule.priority or "interactive and batch"
    yield "name", rule.title


def _value(one: LimitRuleConfig) -> str:
    return "" if one.value == "*" else one.value


def _wrong(one: LimitRuleConfig, models: Collection[str]) -> list[tuple[str, str]]:
    """What can be wrong with one: the setting to blame, and why."""
    wrong = []
    value = _value(one)
    if parse_amount(one.unit, one.amount) is None:
        form = (
            "dollars, 0 to 1000000000 with at most 9 decimals"
            if one.unit == "dollars"
            else "a whole number, 0 to 10^15"
        )
        wrong.append(("amount", f"wants an amount: {form}" + (f"; found {one.amount[:40]!r}" if one.amount else "")))
    if one.unit == "concurrency" and one.per is not None:
        wrong.append(("per", "calls at once have no window: leave `per` out"))
    if one.unit != "concurrency" and one.per is None:
        wrong.append(("per", f"wants a window: `per` is one of {', '.join(PERIODS)}"))
    if one.scope == "everything" and value:
        wrong.append(("value", "the scope `everything` has no members: leave `value` out, or name another `scope`"))
    for name, text in (("value", value), ("name", one.name)):
        if len(text) > _LONGEST or not text.isprintable() or text != text.strip():
            wrong.append((name, f"must be at most {_LONGEST} printable characters without space at its ends"))
    if one.scope == "model" and value and value not in models and "/" not in value:
        wrong.append(("value", f"there is no model {value[:80]!r}; models here: {', '.join(list(models)[:16])}"))
    return wrong
