"""Numbers that are somebody's: cards, accounts, national ids and phones, found where digits stand and nowhere else.

All digits of a text, with the single separators that people put between them, are cut into groups once; each group is
then looked at as the beginning of what it could be. The work grows with the text, not with what stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headgate.guards import checksums
from headgate.guards.finding import Finding, begins, ends, stands_alone
from headgate.guards.phones import is_called_phone, is_national

_SPACES = " \u00a0\u2009\u202f"
_HYPHENS = "-\u2010\u2011\u2012\u2013"
_RUN = re.compile(rf"[0-9](?:[{_SPACES}{_HYPHENS[1:]}./\-]?[0-9])+")
_GROUP = re.compile(r"[0-9]+")
MOST_GROUPS = 8
MOST_DIGITS = 19
LEAST_DIGITS = 7
_NEAR = 3
"""How many groups may lie between a word that says what a number is, and the number."""
_CONTEXT = 40


class Groups(NamedTuple):
    """Digit groups in a row: their places, all their digits, their sizes, and the separators between them."""

    start: int
    end: int
    digits: str
    sizes: tuple[int, ...]
    separators: str

    @property
    def even(self) -> bool:
        """Whether all separators are the same."""
        return len(set(self.separators)) <= 1


class Form(NamedTuple):
    """How one kind of number is written.

    ``sizes`` are those of its groups, ``between`` the separators it may have, ``context`` words of which one must
    stand shortly before it (None: none need to), ``alone`` whether it may not be joined to something else.
    """

    kind: str
    check: Callable[[str], bool]
    sizes: tuple[tuple[int, ...], ...]
    between: str = _SPACES + _HYPHENS
    context: re.Pattern[str] | None = None
    alone: bool = True


def _words(*words: str) -> re.Pattern[str]:
    """Words as a pattern; each begins one, be it behind an escape (``\\nBSN``)."""
    return re.compile(rf"(?:\b|(?<=\\[nrt]))(?:{'|'.join(words)})", re.IGNORECASE)


_SSN = _words(r"ssn\b", "social security", r"tin\b", r"itin\b")
_DUTCH = _words(r"bsn\b", "burgerservice", "sofinummer", "sofi-nummer")
_CARDS = ((13,), (14,), (15,), (16,), (17,), (18,), (19,), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3))
FORMS = (
    Form("CARD", checksums.card, _CARDS, alone=False),
    Form("AHV", checksums.ahv, ((3, 4, 4, 2), (13,)), _SPACES + "."),
    Form("NIR", checksums.nir, ((15,), (13, 2), (1, 2, 2, 2, 3, 3, 2)), alone=False),
    Form("STEUER_ID", checksums.steuer_id, ((11,), (2, 3, 3, 3)), _SPACES),
    Form("SSN", checksums.ssn, ((3, 2, 4),)),
    Form("SSN", checksums.ssn, ((9,),), context=_SSN),
    Form("BSN", checksums.bsn, ((9,), (4, 2, 3), (3, 3, 3)), _SPACES + _HYPHENS + ".", _DUTCH),
    Form("BSN", checksums.bsn, ((4, 2, 3),), "."),
    Form("RIJKSREGISTER", checksums.belgian, ((2, 2, 2, 3, 2), (6, 3, 2)), _SPACES + _HYPHENS + "."),
    Form("CPF", checksums.cpf, ((3, 3, 3, 2),), _HYPHENS + "."),
    Form("CPF", checksums.cpf, ((11,),), context=_words(r"cpf\b")),
    Form("PESEL", checksums.pesel, ((11,),), context=_words("pesel")),
    Form("PERSONNUMMER", checksums.personnummer, ((6, 4),), _HYPHENS + "+"),
    Form("SIN", checksums.luhn, ((3, 3, 3), (9,)), context=_words(r"sin\b", "social insurance", r"nas\b")),
    Form("AADHAAR", checksums.aadhaar, ((4, 4, 4),), _SPACES + _HYPHENS),
    Form("AADHAAR", checksums.aadhaar, ((12,),), context=_words("aadhaar", r"uid(?:ai)?\b")),
    Form("NHS", checksums.nhs, ((3, 3, 4), (10,)), context=_words(r"nhs\b", "national health")),
)
_BY_SIZES: dict[tuple[int, ...], list[Form]] = {}
for _form in FORMS:
    for _sizes in _form.sizes:
        _BY_SIZES.setdefault(_sizes, []).append(_form)

_NINO = re.compile(r"[A-Z]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[A-D]", re.IGNORECASE)
_FISCAL = re.compile(
    r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]", re.IGNORECASE
)
_NIE = re.compile(r"[XYZ][- ]?[0-9]{7}[- ]?[A-Z]", re.IGNORECASE)
_DNI = re.compile(r"[0-9]{8}[- ]?[A-Z]")
_HETU = re.compile(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]")
_CORSICA = re.compile(r"[12][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?2[AB][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{2}", re.IGNORECASE)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?:[ \-\u00a0]?[A-Z0-9]){11,29}", re.IGNORECASE)
_NAMED_FORMS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "NINO": (_NINO, checksums.nino),
    "CODICE_FISCALE": (_FISCAL, checksums.codice_fiscale),
    "NIE": (_NIE, checksums.dni),
    "DNI": (_DNI, checksums.dni),
    "HETU": (_HETU, checksums.hetu),
    "NIR": (_CORSICA, checksums.nir),
}
_SEPARATORS = re.compile(rf"[{_SPACES}{_HYPHENS[1:]}./\-]")


def find_numbers(text: str) -> Iterator[Finding]:
    """Yields the cards, accounts, national ids and national phone numbers in a text, the surest first at each place."""
    done = 0
    for run in _RUN.finditer(text):
        groups = [(match.start(), match.end()) for match in _GROUP.finditer(text, run.start(), run.end())]
        before = text[max(0, run.start() - _CONTEXT) : run.start()]
        for number, (start, end) in enumerate(groups):
            if start < done:
                continue
            found = _lettered(text, start, end) or _plain(text, groups, number, before if number < _NEAR else "")
            if found is not None:
                yield found
                done = found.end


def _lettered(text: str, start: int, end: int) -> Finding | None:
    """What has letters in it, and its first digits from ``start`` to ``end``."""
    before = text[start - 1] if start else ""
    if before.isalpha():
        return (
            _account(text, start - 2)
            or _named(text, "NINO", start - 2)
            or _named(text, "CODICE_FISCALE", start - 6)
            or _named(text, "NIE", start - 1)
        )
    if before in ("-", " ") and start > 1 and text[start - 2].isalpha():
        found = _named(text, "NIE", start - 2) or _named(text, "NINO", start - 3)
        if found is not None:
            return found
    size = end - start
    if size == 8:
        return _named(text, "DNI", start)
    if size == 6 and text[end : end + 1].strip():
        return _named(text, "HETU", start) or _named(text, "NIR", start)
    return _named(text, "NIR", start) if size == 1 and text[start] in "12" else None


def _named(text: str, kind: str, start: int) -> Finding | None:
    """What is of this kind and begins at ``start``."""
    form, check = _NAMED_FORMS[kind]
    match = form.match(text, start) if start >= 0 else None
    if match is None or not begins(text, start) or not ends(text, match.end()):
        return None
    value = match[0] if kind == "HETU" else _SEPARATORS.sub("", match[0]).upper()
    return Finding(start, match.end(), kind, value) if check(value) else None


def _account(text: str, start: int) -> Finding | None:
    """An IBAN that begins at ``start``; as long as its country says, whatever follows."""
    if start < 0 or not text[start : start + 2].isalpha() or not begins(text, start):
        return None
    size = checksums.IBAN_LENGTHS.get(text[start : start + 2].upper())
    match = _IBAN.match(text, start) if size is not None else None
    if match is None:
        return None
    signs: list[str] = []
    end = start
    while end < match.end() and len(signs) < (size or 0):
        if text[end].isalnum():
            signs.append(text[end])
        end += 1
    value = "".join(signs).upper()
    return Finding(start, end, "IBAN", value) if ends(text, end) and checksums.iban(value) else None


def _plain(text: str, groups: list[tuple[int, int]], first: int, before: str) -> Finding | None:
    """What is digits only, from the group ``first`` on; the longest that fits. ``before`` are the words before."""
    start, last_end = groups[first]
    size = last_end - start
    if size > MOST_DIGITS or not begins(text, start):
        return None
    digits, separators = text[start:last_end], ""
    sizes: tuple[int, ...] = (size,)
    windows = [Groups(start, last_end, digits, sizes, "")] if size >= LEAST_DIGITS else []
    for begin, end in groups[first + 1 : first + MOST_GROUPS]:
        size += end - begin
        if size > MOST_DIGITS:
            break
        digits += text[begin:end]
        separators += text[last_end:begin]
        sizes = (*sizes, end - begin)
        last_end = end
        if size >= LEAST_DIGITS:
            windows.append(Groups(start, end, digits, sizes, separators))
    if not windows:
        return None
    for window in reversed(windows):
        for form in _BY_SIZES.get(window.sizes, ()):
            if _fits(text, window, form, before):
                return Finding(window.start, window.end, form.kind, window.digits)
    called = bool(before) and is_called_phone(before)
    for window in reversed(windows):
        if is_national(window.digits, window.sizes, window.separators, called=called) and stands_alone(
            text, window.start, window.end
        ):
            return Finding(window.start, window.end, "PHONE", window.digits)
    return None


def _fits(text: str, window: Groups, form: Form, before: str) -> bool:
    if form.context is not None and form.context.search(before) is None:
        return False
    if form.kind not in ("CPF", "RIJKSREGISTER") and not window.even:
        return False
    if any(separator not in form.between for separator in window.separators):
        return False
    free = stands_alone if form.alone else _is_word
    return free(text, window.start, window.end) and form.check(window.digits)


def _is_word(text: str, start: int, end: int) -> bool:
    return begins(text, start) and ends(text, end)
