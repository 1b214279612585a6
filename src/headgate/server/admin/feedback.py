"""The admin API's routes for feedback: what was thought of calls, one by one and as a series; and a reviewer's own."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.core.errors import BadRequest
from headgate.core.terms import has_role
from headgate.observe.feedback import FeedbackGiven, Feedbacks, FeedbackTaken
from headgate.server.admin.page import Cursor, read_cursor, show_cursor
from headgate.server.admin.route import MOST, PAGE, Ask, Route
from headgate.stores.period import read_period
from headgate.stores.query import Filters
from headgate.stores.satisfaction import FeedbackStore, Satisfaction

_CALLS = ("key", "user", "team", "feature", "prompt", "model", "deployment")


class Feedback(msgspec.Struct):
    """What somebody thought of one call. `source` is `caller` or `review`; `score` is from 0 to 1."""

    id: str
    call_id: str
    time: str
    time_ns: int
    key_id: str
    source: str
    score: float | None
    label: str | None
    comment: str | None
    model: str
    deployment: str | None
    feature: str | None
    prompt: str | None


class FeedbackPage(msgspec.Struct):
    """A page of feedback, newest first."""

    data: list[Feedback]
    next: Annotated[str | None, Meta(description="Give it as `after` for the next page; null at the end.")]


class _Calls(msgspec.Struct, forbid_unknown_fields=True):
    since: Annotated[str, Meta(description="Of calls since then: `90s`, `30m`, `7d`, or a date or time.")] | None = None
    until: Annotated[str, Meta(description="As `since`; exclusive.")] | None = None
    key: Annotated[str, Meta(description="A key's id or name.")] | None = None
    user: str | None = None
    team: str | None = None
    feature: str | None = None
    prompt: str | None = None
    model: str | None = None
    deployment: str | None = None


class FeedbackQuery(_Calls):
    """Which feedback; every filter that is named must fit."""

    label: str | None = None
    below: Annotated[float, Meta(ge=0, le=1, description="Only scores below this.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST)] = PAGE
    after: str | None = None


class SeriesQuery(_Calls):
    """Which calls, and what their feedback is grouped by."""

    by: Annotated[
        str,
        Meta(description="hour, day, key, user, team, feature, prompt, model, deployment, label; several with commas."),
    ] = "day"


class SeriesRow(msgspec.Struct):
    """One group: `group` has its values in the order of `by`; cost in nano-dollars, latency (median) in seconds."""

    group: list[str]
    feedback: int
    scored: int
    score: float | None
    bad: int
    calls: Annotated[int | None, Meta(description="Null by label, which calls do not have; so is `cost`.")]
    cost: int | None
    latency: float | None


class Series(msgspec.Struct):
    """Satisfaction by group, next to what the same calls cost and took."""

    by: list[str]
    data: list[SeriesRow]


def _filters(query: _Calls) -> Filters:
    since_ns, until_ns = read_period(query.since, query.until, time.time_ns())
    return Filters(
        since_ns=since_ns,
        until_ns=until_ns,
        **{name: getattr(query, name) for name in _CALLS},
    )


def _list(ask: Ask) -> FeedbackPage:
    query: FeedbackQuery = ask.query
    cursor = None if query.after is None else read_cursor(query.after)
    after = None if cursor is None else (cursor.first, str(cursor.second))
    store = FeedbackStore(ask.desk.engine)
    rows = store.page(_filters(query), query.limit, after, label=query.label, below=query.below)
    last = rows[-1] if len(rows) == query.limit else None
    return FeedbackPage(
        msgspec.convert(rows, list[Feedback]),
        None if last is None else show_cursor(Cursor(last["time_ns"], last["id"])),
    )


def _hide(ask: Ask, page: FeedbackPage) -> FeedbackPage:
    if not has_role(ask.principal.role, "developer"):
        for one in page.data:
            one.comment = None
    return page


def _series(ask: Ask) -> Series:
    query: SeriesQuery = ask.query
    groups = [name.strip() for name in query.by.split(",") if name.strip()]
    if not groups:
        raise BadRequest("by names no group", code="invalid_value", param="by")
    return Series(groups, [_row(one) for one in FeedbackStore(ask.desk.engine).series(groups, _filters(query))])


def _row(one: Satisfaction) -> SeriesRow:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return msgspec.convert(plain, SeriesRow)


def _give(ask: Ask) -> FeedbackTaken:
    given: FeedbackGiven = ask.body
    core = ask.desk.core

    async def give() -> FeedbackTaken:
        feedbacks = Feedbacks(core.data, core.journal)
        try:
            return await feedbacks.give(
                ask.principal, given.id, score=given.score, label=given.label, comment=given.comment, review=True
            )
        finally:
            feedbacks.close()

    return asyncio.run_coroutine_threadsafe(give(), core.loop).result(30)


ROUTES = (
    Route(
        method="GET",
        path="/feedback",
        name="list_feedback",
        about="Lists what people thought of calls, newest first; comments to developers only.",
        role="viewer",
        does=lambda ask: _hide(ask, _list(ask)),
        gives=FeedbackPage,
        query=FeedbackQuery,
    ),
    Route(
        method="GET",
        path="/feedback/series",
        name="get_feedback_series",
        about="Tells satisfaction by hour, day, model, prompt, feature or key, next to cost and latency.",
        role="viewer",
        does=_series,
        gives=Series,
        query=SeriesQuery,
    ),
    Route(
        method="POST",
        path="/feedback",
        name="give_feedback",
        about="Takes a reviewer's feedback on any call.",
        role="developer",
        does=_give,
        gives=FeedbackTaken,
        takes=FeedbackGiven,
    ),
)
