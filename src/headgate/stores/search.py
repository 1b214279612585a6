"""Finds calls by the words of their requests and answers. Importing this loads SQLAlchemy.

What is searched is redacted text, cut into words (``payloads.searchable``); so are the words that are looked for. The
newest are found first, in the order in which they were stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select, text

from headgate.core.errors import BadRequest
from headgate.stores.database import chunks
from headgate.stores.payloads import searchable, unpack
from headgate.stores.query import PAGE, Cursor, Filters, conditions
from headgate.stores.rows import to_story
from headgate.stores.schema import calls, payloads

MOST_TERMS = 20
FEW = 2000
"""So many calls that other filters leave are looked through one by one; of more, the index of words is asked."""

_FIRST, _MORE = 200, 2000
_SKEW_NS = 60 * 10**9
"""Machines that store at once take numbers in one order and times in another, by no more than this."""
_TERM = re.compile(r'(-?)"([^"]*)"|(-?)(\S+)')
_TIMES = frozenset({"since_ns", "until_ns"})


class Term(msgspec.Struct, frozen=True):
    """A word, or several in a row. ``begins``: the last may go on; ``without``: it must not be there."""

    words: tuple[str, ...]
    begins: bool = False
    without: bool = False

    def is_in(self, text: str) -> bool:
        """Says whether a searchable text has it."""
        wanted = " " + " ".join(self.words) + ("" if self.begins else " ")
        return wanted in f" {text} "


def parse_terms(query: str) -> list[Term]:
    """Returns what a query asks for: ``word "some words" begin* -not``, all of which must hold.

    Raises:
        BadRequest: there is no word in it, or too many.
    """
    found = []
    for match in _TERM.finditer(query):
        minus, phrase, other_minus, word = match[1], match[2], match[3], match[4]
        begins = phrase is None and word.endswith("*")
        words = tuple(searchable(phrase if phrase is not None else word).split())
        if words:
            found.append(Term(words, begins, bool(minus or other_minus)))
    if not any(not term.without for term in found) or len(found) > MOST_TERMS:
        message = f"a search wants 1 to {MOST_TERMS} words, at least one of them without a minus"
        raise BadRequest(message, code="invalid_value", param="text")
    return found


class TextStore:
    """The calls of a database whose payloads are kept, for searching by their words."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._postgres = engine.dialect.name == "postgresql"

    def page(
        self, query: str, filters: Filters, limit: int, after: Cursor | None = None
    ) -> tuple[list[dict[str, Any]], Cursor | None]:
        """Returns at most ``limit`` calls, newest first, and where to go on, None at the end.

        Args:
            query: see ``parse_terms``; what is private in it must be redacted already.
            filters: what else must hold.
            limit: how many.
            after: where a page before ended.

        Raises:
            BadRequest: the query or a filter can not be understood.
        """
        terms = parse_terms(query)
        found: list[dict[str, Any]] = []
        last = 0
        for n, row in self._matches(terms, filters, after.n if after is not None else None):
            found.append(to_story(row))
            last = n
            if len(found) == limit:
                return found, Cursor(row["time_ns"], last)
        return found, None

    def newest_first(self, query: str, filters: Filters, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yields calls page by page, newest first, at most ``limit``."""
        left, cursor = limit, None
        while left is None or left > 0:
            stories, cursor = self.page(query, filters, PAGE if left is None else min(PAGE, left), cursor)
            yield from stories
            if cursor is None:
                return
            if left is not None:
                left -= len(stories)

    def _matches(
        self, terms: Sequence[Term], filters: Filters, below: int | None
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yields payload numbers and rows of ``calls``, the highest number first."""
        narrow = any(
            value not in (None, {}) for name, value in msgspec.structs.asdict(filters).items() if name not in _TIMES
        )
        few = self._few(filters, below) if narrow else None
        if few is not None:
            yield from self._among(few, terms)
            return
        size = _FIRST
        while True:
            numbers = self._indexed(terms, below, size, filters.since_ns)
            yield from self._rows(numbers, filters)
            if len(numbers) < size:
                return
            below, size = min(numbers), _MORE

    def _few(self, filters: Filters, below: int | None) -> list[int] | None:
        """The payloads of all calls that the filters leave; None where there are many."""
        c = payloads.c
        query = select(c.n).join(calls, calls.c.id == c.call_id).where(*conditions(filters))
        if below is not None:
            query = query.where(c.n < below)
        with self._engine.connect() as connection:
            ids = select(calls.c.id).where(*conditions(filters)).limit(FEW + 1)
            if len(connection.execute(ids).all()) > FEW:
                return None
            return sorted(connection.execute(query).scalars(), reverse=True)

    def _among(self, numbers: Sequence[int], terms: Sequence[Term]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for some in chunks(numbers, _FIRST):
            query = select(payloads.c.n, payloads.c.body, calls).join(calls, calls.c.id == payloads.c.call_id)
            with self._engine.connect() as connection:
                rows = connection.execute(query.where(payloads.c.n.in_(some)).order_by(payloads.c.n.desc())).all()
            for row in rows:
                said = unpack(row[1]).text
                if all(term.is_in(said) != term.without for term in terms):
                    yield row[0], dict(zip(calls.c.keys(), row[2:], strict=True))

    def _rows(self, numbers: Sequence[int], filters: Filters) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for some in chunks(numbers, _FIRST):
            query = select(payloads.c.n, calls).join(calls, calls.c.id == payloads.c.call_id)
            query = query.where(payloads.c.n.in_(some), *conditions(filters)).order_by(payloads.c.n.desc())
            # SQLite would rather read all calls that the filters leave than look up these few.
            query = query.with_hint(calls, "INDEXED BY sqlite_autoindex_calls_1", "sqlite")
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield row[0], dict(zip(calls.c.keys(), row[1:], strict=True))

    def _indexed(self, terms: Sequence[Term], below: int | None, size: int, since_ns: int | None) -> list[int]:
        """Returns the highest payload numbers with all the words, none stored before ``since_ns``."""
        given: dict[str, Any] = {"most": size}
        if self._postgres:
            sql = "SELECT n FROM payload_words WHERE words @@ to_tsquery('simple', :words)"
            number, given["words"] = "n", " & ".join(map(_postgres_term, terms))
        else:
            sql = "SELECT rowid FROM payload_words WHERE payload_words MATCH :words"
            number, given["words"] = "rowid", _sqlite_terms(terms)
        with self._engine.connect() as connection:
            if since_ns is not None:
                c = payloads.c
                recent = c.stored_ns >= since_ns - _SKEW_NS
                oldest = select(c.n).where(recent).order_by(c.stored_ns, c.n).limit(1)
                first = connection.execute(oldest).scalar_one_or_none()
                if first is None:
                    return []
                sql, given["first"] = f"{sql} AND {number} >= :first", first
            if below is not None:
                sql, given["below"] = f"{sql} AND {number} < :below", below
            if self._postgres:
                # Where a bitmap of all matches does not fit, each match is read from its table to be tried again.
                connection.execute(text("SET LOCAL work_mem = '64MB'"))
            found = connection.execute(text(f"{sql} ORDER BY {number} DESC LIMIT :most"), given)
            return list(found.scalars())


def _postgres_term(term: Term) -> str:
    words = [f"'{word}'" for word in term.words]
    if term.begins:
        words[-1] += ":*"
    return f"{'!' if term.without else ''}({' <-> '.join(words)})"


def _sqlite_terms(terms: Sequence[Term]) -> str:
    def phrase(term: Term) -> str:
        return '"' + " ".join(term.words) + '"' + ("*" if term.begins else "")

    wanted = " AND ".join(phrase(term) for term in terms if not term.without)
    return " NOT ".join([f"({wanted})", *(phrase(term) for term in terms if term.without)])
