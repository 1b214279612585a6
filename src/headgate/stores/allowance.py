"""Allowance: a limit as it is asked for, by command line and admin API: how much, of what, in which window."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.core.rule import PERIODS, PRIORITIES, SCOPES, UNITS, parse_amount
from headgate.stores.words import LABEL_LIMIT, check_choice, check_word, wrong


class Allowance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of what in which window, whoever it is for."""

    amount: Annotated[str | int | float, Meta(description="How much: dollars (exact, as text or number) or a count.")]
    unit: Annotated[
        str,
        Meta(description="What is limited; `tokens` are input and output.", extra_json_schema={"enum": list(UNITS)}),
    ] = "dollars"
    per: Annotated[
        str,
        Meta(
            description="The window, by the calendar in UTC; empty for concurrency.",
            extra_json_schema={"enum": ["", *PERIODS]},
        ),
    ] = ""
    priority: Annotated[
        str,
        Meta(
            description="Only interactive or only batch calls; empty for both.",
            extra_json_schema={"enum": list(PRIORITIES)},
        ),
    ] = ""
    name: Annotated[str, Meta(description="What refusals call it; made from the rest where empty.")] = ""


class LimitSpec(Allowance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that is to hold."""

    scope: Annotated[str, Meta(description="Whom it is for.", extra_json_schema={"enum": list(SCOPES)})]
    value: Annotated[str, Meta(description="Which one, by name or id; empty or `*` for every one of its kind.")] = ""


def check_allowance(given: Allowance) -> dict[str, Any]:
    """Returns the fields of a limit that say how much.

    Raises:
        BadRequest: a word that is none, a window where there is none to be, an amount that can not be.
    """
    unit = check_choice(given.unit, "unit", UNITS)
    per = check_choice(given.per, "per", ("", *PERIODS))
    priority = check_choice(given.priority, "priority", PRIORITIES)
    if unit == "concurrency" and per:
        raise wrong("calls at once have no window: leave `per` out", "per")
    if unit != "concurrency" and not per:
        raise wrong(f"say in which window: `per` is one of {', '.join(PERIODS)}", "per")
    amount = parse_amount(unit, given.amount)
    if amount is None:
        dollars = "dollars, 0 to 1,000,000,000 with at most 9 decimals"
        raise wrong(f"amount must be {dollars if unit == 'dollars' else 'a whole number, 0 to 10^15'}", "amount")
    name = check_word(given.name, "name", limit=LABEL_LIMIT, empty=True)
    return {"unit": unit, "per": per, "priority": priority, "amount": amount, "name": name}
