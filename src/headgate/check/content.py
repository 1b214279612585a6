"""The checklist's items about what is said: versioned prompts, outputs checked before they are delivered."""

from __future__ import annotations

from headgate.check.facts import Facts
from headgate.check.item import Item, Line, share


def prompts(facts: Facts) -> Item:
    """Prompts are versioned and tested."""
    line = Line("prompts", "Prompts are versioned and tested")
    named = "no call yet"
    if facts.has_records:
        named = f"{share(facts.calls.prompts, facts.calls.total)} of calls name the prompt that they use"
    return line.not_applicable(
        f"this release keeps no prompts, so it can not tell; {named}",
        "name them in calls: the header x-headgate-prompt",
    )


def outputs(facts: Facts) -> Item:
    """Answers are validated before they are delivered."""
    line = Line("outputs", "Outputs are validated")
    return line.not_applicable("this release has no guards for what models answer; validate it in the application")


ITEMS = (prompts, outputs)
