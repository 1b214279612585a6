"""The detector: everything private in a text, as findings that do not overlap.

Pure, and linear in the text's length.
"""

from __future__ import annotations

from headgate.guards.contacts import find_ip, find_mail
from headgate.guards.finding import Finding, keep_best
from headgate.guards.numbers import find_numbers
from headgate.guards.phones import find_written_out
from headgate.guards.tokens import find_tokens

SHORTEST = 6
"""Nothing that is looked for is shorter (``a@b.de``)."""


def find_secrets(text: str) -> list[Finding]:
    """Returns the keys, tokens and passwords in a text, in order."""
    return keep_best(list(find_tokens(text))) if len(text) >= SHORTEST else []


def find_all(text: str) -> list[Finding]:
    """Returns all that is private in a text, in order: secrets, cards, accounts, ids, addresses, phones.

    Where two overlap, the surer kind wins.
    """
    if len(text) < SHORTEST:
        return []
    found = list(find_tokens(text))
    if "@" in text or "%40" in text or "\\u0040" in text:
        found += find_mail(text)
    found += find_ip(text)
    numbers = list(find_numbers(text))
    found += [one for one in numbers if one.kind != "PHONE"]
    found += find_written_out(text)
    found += [one for one in numbers if one.kind == "PHONE"]
    return keep_best(found)
