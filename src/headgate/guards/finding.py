"""A Finding: where something private stands in a text; and whether what stands there begins and ends by itself."""

from __future__ import annotations

import re
from typing import NamedTuple

# The end of an escape of JSON, or of a URL: what follows it begins a word, though a letter or digit comes before.
_ESCAPE = re.compile(r"\\(?:[nrtbfv0]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})\Z|%[0-9a-fA-F]{2}\Z")


class Finding(NamedTuple):
    """One private value.

    ``start`` and ``end`` are its place in the text (``end`` exclusive), ``kind`` what it is (``"EMAIL"``), ``value``
    its one spelling: the digits of a card alone, an address in lower case.
    """

    start: int
    end: int
    kind: str
    value: str


def begins(text: str, start: int) -> bool:
    """Says whether a word can begin at ``start``: nothing of one stands before it, but perhaps an escape."""
    if start <= 0 or not text[start - 1].isalnum():
        return True
    return _ESCAPE.search(text, max(0, start - 6), start) is not None


def ends(text: str, end: int) -> bool:
    """Says whether a word can end at ``end``."""
    return end >= len(text) or not text[end].isalnum()


def stands_alone(text: str, start: int, end: int) -> bool:
    """Says whether nothing is joined to it by a hyphen, dot, slash or colon: it is no part of a longer name or date."""
    before = text[max(0, start - 2) : start]
    after = text[end : end + 2]
    joined_before = len(before) == 2 and before[1] in "-./:_" and before[0].isalnum()
    joined_after = len(after) == 2 and after[0] in "-./:_" and after[1].isalnum()
    return not (joined_before or joined_after) and begins(text, start) and ends(text, end)


def keep_best(found: list[Finding]) -> list[Finding]:
    """Returns findings in the order of the text, none over another; of two that overlap, the first found."""
    if len(found) < 2:
        return found
    order = sorted(range(len(found)), key=lambda number: (found[number].start, number))
    kept: list[tuple[int, Finding]] = []
    for number in order:
        one = found[number]
        if not kept or one.start >= kept[-1][1].end:
            kept.append((number, one))
        elif number < kept[-1][0]:
            kept[-1] = (number, one)
    return [one for _, one in kept]
