"""Reads calls back: filters, pages by key, whole stories. Importing this loads SQLAlchemy."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    RowMapping,
    and_,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from headgate.core.errors import BadRequest
from headgate.stores.feedback_rows import judges, plain_feedback
from headgate.stores.payloads import Body, unpack
from headgate.stores.rows import to_story
from headgate.stores.schema import SLOT, SLOT_NS, calls, feedback, payloads, virtual_keys

PAGE = 1000
LATE_SECONDS = 10.0
LATE_NUMBERS = 10_000
OUTCOMES = ("completed", "failed", "cancelled", "refused")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SLOT: ColumnElement[int] = literal_column(SLOT.replace("time_ns", "calls.time_ns"), Integer)
_FARTHEST = 1e30
_STATUSES = range(600)
LATEST_NS = 2**62
"""The last moment that may be asked for, in 2116: databases hold times as 64-bit integers of ns."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls; what is None does not matter. Times in ns since 1970, ``until_ns`` exclusive.

    ``key`` is an id or a name. ``deployment`` matches where it answered or was tried. ``error`` is a code, ``*`` any.
    ``status`` is an HTTP status, or its hundreds (``5`` is any of 500..599). ``tags`` must all be there.
    ``id_prefix`` is how an id begins.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    key: str | None = None
    user: str | None = None
    team: str | None = None
    model: str | None = None
    deployment: str | None = None
    outcome: str | None = None
    status: int | None = None
    error: str | None = None
    finish: str | None = None
    trace: str | None = None
    session: str | None = None
    feature: str | None = None
    prompt: str | None = None
    tags: dict[str, str] = {}
    id_prefix: str | None = None


class Cursor(msgspec.Struct, frozen=True):
    """Where a page ended; the next begins behind it."""

    time_ns: int
    n: int


class CallStore:
    """The calls in a database, for reading."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(
        self, filters: Filters, limit: int, after: Cursor | None = None
    ) -> tuple[list[dict[str, Any]], Cursor | None]:
        """Returns at most ``limit`` calls, newest first, and where to go on, None at the end.

        Raises:
            BadRequest: a filter can not be understood.
        """
        c = calls.c
        found: set[tuple[int, int]] = set()
        with self._engine.connect() as connection:
            # Numbers first: an index tells them, so that of many calls that do not fit none is read.
            for way in _ways(connection, filters):
                query = select(c.time_ns, c.n).where(*way.where)
                if after is not None:
                    query = query.where(tuple_(c.time_ns, c.n) < tuple_(after.time_ns, after.n))
                    query = query.where(after.time_ns // SLOT_NS >= _SLOT)
                if way.by_slot:
                    query = query.order_by(_SLOT.desc())
                query = query.order_by(c.time_ns.desc(), c.n.desc()).limit(limit)
                found.update((time_ns, n) for time_ns, n in connection.execute(query))
            places = sorted(found, reverse=True)[:limit]
            whole = select(calls).where(c.n.in_([n for _, n in places]))
            rows = {row["n"]: row for row in connection.execute(whole).mappings()}
        cursor = Cursor(*places[-1]) if places and len(places) == limit else None
        return [to_story(dict(rows[n])) for _, n in places if n in rows], cursor

    def newest_first(self, filters: Filters, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yields calls page by page, newest first, at most ``limit``."""
        left = limit
        cursor: Cursor | None = None
        while left is None or left > 0:
            stories, cursor = self.page(filters, PAGE if left is None else min(PAGE, left), cursor)
            yield from stories
            if cursor is None:
                return
            if left is not None:
                left -= len(stories)

    def last_number(self) -> int:
        """Returns the number of the call that came in last; a ``Follower`` goes on from there."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.coalesce(func.max(calls.c.n), 0))).scalar_one())

    def numbers_after(self, filters: Filters, number: int) -> list[int]:
        """Returns the numbers above ``number`` that the filters let pass, lowest first, at most 100,000."""
        query = select(calls.c.n).where(calls.c.n > number, *conditions(filters)).order_by(calls.c.n).limit(100_000)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def with_numbers(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Returns the calls with these numbers, lowest number first; at most ``PAGE`` may be asked for."""
        query = select(calls).where(calls.c.n.in_(numbers)).order_by(calls.c.n)
        with self._engine.connect() as connection:
            return [to_story(dict(row)) for row in connection.execute(query).mappings()]

    @property
    def numbers_late(self) -> bool:
        """Whether a lower number can appear after a higher one: where several recorders feed one Postgres."""
        return self._engine.dialect.name == "postgresql"

    def find(self, id: str) -> dict[str, Any] | None:
        """Returns the story of one call, its feedback, and its payloads where they are kept; None for an unknown id.

        ``request_body`` and ``response_body`` are text, or ``base64:…`` where they are none.
        """
        with self._engine.connect() as connection:
            row: RowMapping | None = connection.execute(select(calls).where(calls.c.id == id)).mappings().one_or_none()
            if row is None:
                return None
            body = connection.execute(select(payloads.c.body).where(payloads.c.call_id == id)).scalar_one_or_none()
            said = connection.execute(select(feedback).where(judges(id, row["key_id"])).order_by(feedback.c.time_ns))
            judgements = [plain_feedback(dict(one)) for one in said.mappings()]
        story = to_story(dict(row))
        story["feedback"] = judgements
        if body is not None:
            found = unpack(body)
            story["request_body"] = _as_text(found.request)
            story["response_body"] = _as_text(found.response)
        return story

    def payload(self, id: str) -> tuple[str, Body] | None:
        """Returns a call's policy (``"full"`` or ``"redacted"``) and its payloads as they are kept; None for none."""
        query = select(payloads.c.policy, payloads.c.body).where(payloads.c.call_id == id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.policy, unpack(row.body))


class Follower:
    """Reads calls that come in from now on, each once, in about the order of their coming.

    Several recorders take numbers before they commit, so that on Postgres a lower one may show up late; what comes
    within ``LATE_SECONDS`` is not missed.
    """

    def __init__(self, store: CallStore, filters: Filters, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._filters = filters
        self._monotonic = monotonic
        self._late = LATE_SECONDS if store.numbers_late else 0.0
        self._top = store.last_number()
        self._floor = max(0, self._top - LATE_NUMBERS) if store.numbers_late else self._top
        self._seen = {n for n in store.numbers_after(filters, self._floor) if n <= self._top}
        self._tops: deque[tuple[float, int]] = deque([(monotonic(), self._top)])

    def take(self) -> list[dict[str, Any]]:
        """Returns what is new, at most ``PAGE``; nothing where nothing is."""
        now = self._monotonic()
        while self._tops and now - self._tops[0][0] >= self._late:
            self._floor = self._tops.popleft()[1]
            self._seen = {number for number in self._seen if number > self._floor}
        fresh = [n for n in self._store.numbers_after(self._filters, self._floor) if n not in self._seen][:PAGE]
        if not fresh:
            return []
        self._seen.update(fresh)
        self._top = max(self._top, fresh[-1])
        self._tops.append((now, self._top))
        return self._store.with_numbers(fresh)


def parse_time(text: str, now_ns: int) -> int:
    """Returns the moment that ``text`` names, in ns since 1970, at most ``LATEST_NS`` before or after then.

    Args:
        text: a span back from now (``90s``, ``30m``, ``1h``, ``7d``, ``2w``), or an ISO date or time (else UTC).
        now_ns: now.

    Raises:
        BadRequest: it is neither, or lies beyond what a database can hold.
    """
    moment = read_moment(text, now_ns)
    if abs(moment) > LATEST_NS:
        raise BadRequest(f"{text[:40]!r} lies beyond what can be recorded: give a time between 1970 and 2116")
    return moment


def read_moment(text: str, now_ns: int) -> int:
    """As ``parse_time``, however far away it lies.

    Raises:
        BadRequest: it is no time.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        # So many digits are infinite as a float, which no integer is.
        return now_ns - int(min(float(span[1]) * _SECONDS[span[2]] * 1e9, _FARTHEST))
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1e9)
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            f"{text[:40]!r} is no time: give a span like 90s, 30m, 1h, 7d, or a date like 2026-01-31"
        ) from error


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Returns what a query's ``where`` wants for these filters.

    Raises:
        BadRequest: a filter can not be understood.
    """
    found = _plain(filters)
    if filters.key is not None:
        named = select(virtual_keys.c.id).where(virtual_keys.c.name == filters.key)
        found.append(or_(calls.c.key_id == filters.key, calls.c.key_id.in_(named)))
    if filters.deployment is not None:
        found.append(or_(calls.c.deployment == filters.deployment, _tried(filters.deployment)))
    return found


def key_names(connection: Connection) -> dict[str, str]:
    """Returns the names of all keys by their ids, which is what calls and rollups know keys by."""
    rows = connection.execute(select(virtual_keys.c.id, virtual_keys.c.name)).all()
    return {row.id: row.name for row in rows}


def refuse_twice(groups: Sequence[str]) -> None:
    """Refuses a group that stands twice: two columns of one name, which JSON can not even hold.

    Raises:
        BadRequest: one does.
    """
    twice = next((name for name in groups if groups.count(name) > 1), None)
    if twice is not None:
        raise BadRequest(f"the group {twice!r} stands twice; write it once", code="invalid_value", param="by")


class _Way(msgspec.Struct, frozen=True):
    """Conditions that one index serves, and whether that is one that holds calls by slot."""

    where: list[ColumnElement[bool]]
    by_slot: bool


def _ways(connection: Connection, filters: Filters) -> list[_Way]:
    """Returns ``conditions`` as several, any of which will do: one index finds the newest of each by itself."""
    by_slot = any(value is not None for value in (filters.user, filters.model, filters.feature, filters.prompt))
    found = [_Way(_plain(filters), by_slot)]
    if filters.key is not None:
        named = connection.execute(select(virtual_keys.c.id).where(virtual_keys.c.name == filters.key)).scalars()
        found = [_Way([*one.where, calls.c.key_id == id], True) for one in found for id in {filters.key, *named}]
    if filters.deployment is not None:
        answered = calls.c.deployment == filters.deployment
        other = and_(calls.c.tried.is_not(None), _tried(filters.deployment))
        both = [[_Way([*one.where, answered], True), _Way([*one.where, other], one.by_slot)] for one in found]
        found = [one for two in both for one in two]
    return found


def during(since_ns: int | None, until_ns: int | None) -> list[ColumnElement[bool]]:
    """The calls that began in a stretch of time (ns since 1970, ``until_ns`` exclusive, None for no end).

    In the terms of every index of ``calls``: some know the slot only (see ``schema.SLOT``).

    Raises:
        BadRequest: an end lies beyond what a database can hold.
    """
    for name, moment in (("since_ns", since_ns), ("until_ns", until_ns)):
        if moment is not None and abs(moment) > LATEST_NS:
            raise BadRequest(f"{name} lies beyond what can be recorded: give ns since 1970, before 2116", param=name)
    found: list[ColumnElement[bool]] = []
    if since_ns is not None:
        found += [calls.c.time_ns >= since_ns, since_ns // SLOT_NS <= _SLOT]
    if until_ns is not None:
        found += [calls.c.time_ns < until_ns, (until_ns - 1) // SLOT_NS >= _SLOT]
    return found


def _tried(deployment: str) -> ColumnElement[bool]:
    return calls.c.tried.contains(f"|{deployment}|", autoescape=True)


def _plain(filters: Filters) -> list[ColumnElement[bool]]:
    """The conditions that one index can serve."""
    c = calls.c
    found: list[ColumnElement[bool]] = []
    for column, value in (
        (c.user_id, filters.user),
        (c.team, filters.team),
        (c.model, filters.model),
        (c.finish, filters.finish),
        (c.trace, filters.trace),
        (c.session, filters.session),
        (c.feature, filters.feature),
        (c.prompt, filters.prompt),
    ):
        if value is not None:
            found.append(column == value)
    found += during(filters.since_ns, filters.until_ns)
    if filters.outcome is not None:
        if filters.outcome not in OUTCOMES:
            raise BadRequest(f"unknown outcome {filters.outcome!r}: one of {', '.join(OUTCOMES)}", param="outcome")
        found.append(c.outcome == filters.outcome)
        if filters.outcome != "completed":
            found.append(c.outcome != literal_column("'completed'"))  # as the index of calls in trouble has it
    if filters.status is not None:
        found.append(_status(filters.status))
        if (filters.status if filters.status > 9 else filters.status * 100) >= 400:
            found.append(c.status >= literal_column("400"))
    if filters.error is not None:
        found.append(c.error.is_not(None) if filters.error == "*" else c.error == filters.error)
    for name, value in filters.tags.items():
        pair = msgspec.json.encode({name: value}).decode()[1:-1]
        found.append(c.tags.contains(pair, autoescape=True))
    if filters.id_prefix is not None:
        found.append((c.id >= filters.id_prefix) & (c.id < filters.id_prefix + "\U0010ffff"))
    return found


def _status(status: int) -> ColumnElement[bool]:
    if status not in _STATUSES:
        raise BadRequest(
            "status must be an HTTP status, 0 for none, or its first digit: 5 is 500 to 599", param="status"
        )
    if 1 <= status <= 9:
        return calls.c.status.between(status * 100, status * 100 + 99)
    return calls.c.status == status


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        import base64

        return "base64:" + base64.b64encode(body).decode()
