"""Phone numbers: international ones by their country code, national ones by how they are written where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headgate.guards.finding import Finding, begins, ends

_GAP = r"[ \u00a0\u2009\u202f.\-\u2010\u2011\u2012\u2013/()]"
_PLUS = re.compile(rf"(?:\+|00)[1-9](?:{_GAP}{{0,3}}[0-9]){{6,14}}")
_AREA = re.compile(rf"\([0-9]{{2,5}}\)(?:{_GAP}{{0,2}}[0-9]){{5,9}}")
_ONE = re.compile(
    "phone|\\btel\\b|\\btel[.:]|telefon|t[eé]l[eé]phone|tel[eé]fono|mobile?\\b|\\bm[oó]vil|\\bcell|handy|whatsapp|\\bsms\\b|"
    "\\bcall(?:ed|ing)?\\b|\\bfax\\b|\\bring\\b|\\bdial\\b|portable|hotline",
    re.IGNORECASE,
)
_CONTEXT = 32
_TWO_FIRST = ((2, 2, 2, 2, 2), (2, 8), (2, 4, 4), (2, 7), (2, 3, 4), (2, 3, 2, 2), (2, 4, 2, 2))
_DIGITS = re.compile(r"[^0-9]+")
_CODE_RANGES = (
    *((1, 1), (7, 7), (20, 20), (27, 27), (30, 34), (36, 36), (39, 41), (43, 49), (51, 58), (60, 66), (81, 82)),
    *((84, 84), (86, 86), (90, 95), (98, 98), (211, 213), (216, 216), (218, 218), (220, 246), (248, 258), (260, 269)),
    *((290, 291), (297, 299), (350, 359), (370, 383), (385, 387), (389, 389), (420, 421), (423, 423), (500, 509)),
    *((590, 599), (670, 670), (672, 683), (685, 692), (800, 800), (850, 850), (852, 853), (855, 856), (870, 870)),
    *((880, 880), (886, 886), (960, 968), (970, 977), (979, 979), (992, 996), (998, 998)),
)
_CODES = frozenset(str(code) for first, last in _CODE_RANGES for code in range(first, last + 1))
"""The countries' codes (ITU-T E.164)."""


def find_written_out(text: str) -> Iterator[Finding]:
    """Yields numbers that begin with ``+`` or ``00`` and a country's code, or have their area code in brackets."""
    for mark in ("+", "00"):
        for match in _matches(_PLUS, text, mark):
            digits = _DIGITS.sub("", match[0])[0 if mark == "+" else 2 :]
            # Many numbers begin with two noughts; a phone's stands in groups, or somebody says that it is one.
            if (
                mark == "00"
                and match[0].isdigit()
                and not is_called_phone(text[max(0, match.start() - _CONTEXT) : match.start()])
            ):
                continue
            known = any(digits[:size] in _CODES for size in (1, 2, 3))
            if known and 8 <= len(digits) <= 15 and begins(text, match.start()) and ends(text, match.end()):
                yield Finding(match.start(), match.end(), "PHONE", digits)
    for match in _matches(_AREA, text, "("):
        digits = _DIGITS.sub("", match[0])
        if 8 <= len(digits) <= 12 and ends(text, match.end()):
            yield Finding(match.start(), match.end(), "PHONE", digits)


def _matches(form: re.Pattern[str], text: str, mark: str) -> Iterator[re.Match[str]]:
    at = text.find(mark)
    while at >= 0:
        match = form.match(text, at)
        if match is not None:
            yield match
        at = text.find(mark, match.end() if match is not None else at + len(mark))


def is_called_phone(before: str) -> bool:
    """Says whether the words before a number call it a phone's."""
    return _ONE.search(before) is not None


def is_national(digits: str, sizes: tuple[int, ...], separators: str, *, called: bool) -> bool:
    """Says whether digit groups are a phone number as it is written inside a country.

    Args:
        digits: all of them, at least seven.
        sizes: of the groups.
        separators: what stands between these.
        called: whether the words before it say so.
    """
    count = len(digits)
    if count > 13 or len(sizes) > 6:
        return False
    if called:
        return not _is_date(digits, sizes)
    if len(sizes) == 1 or len(set(separators)) > 2:
        return False
    if _is_american(digits, sizes, separators):
        return True
    if digits[0] != "0" or digits[1] == "0" or not 9 <= count <= 12:
        return False
    if sizes[0] == 2:
        return sizes in _TWO_FIRST and not _is_date(digits, sizes)
    return 3 <= sizes[0] <= 5 and min(sizes) >= 2 and not _is_date(digits, sizes)


def _is_american(digits: str, sizes: tuple[int, ...], separators: str) -> bool:
    """Ten digits in groups of three, three and four, whose area and exchange are ones that are given out."""
    if sizes == (1, 3, 3, 4) and digits[0] == "1":
        digits, sizes, separators = digits[1:], sizes[1:], separators[1:]
    return (
        sizes == (3, 3, 4)
        and separators[0] == separators[1]
        and separators[0] != "/"
        and digits[0] in "23456789"
        and digits[3] in "23456789"
        and digits[1:3] != "11"
    )


def _is_date(digits: str, sizes: tuple[int, ...]) -> bool:
    """Whether the groups begin as a day does: year first or last."""
    if sizes[:3] == (4, 2, 2):
        return digits[:2] in ("19", "20") and int(digits[4:6]) <= 12
    if sizes[:3] == (2, 2, 4):
        return digits[4:6] in ("19", "20")
    return False
