"""The admin API's routes for records: the calls that were made."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.core.errors import BadRequest, Forbidden
from headgate.core.terms import has_role
from headgate.server.admin.page import Cursor, read_cursor, show_cursor
from headgate.server.admin.route import MOST, PAGE, Ask, Route
from headgate.stores import query as calls
from headgate.stores.period import read_period
from headgate.stores.query import CallStore, Filters
from headgate.stores.redaction import open_redactor
from headgate.stores.search import TextStore

_BODIES = ("request_body", "response_body")
_Story = Annotated[
    dict[str, Any], Meta(description="The story of one call, as `headgate record --format json` has it.")
]


class Records(msgspec.Struct):
    """A page of calls, newest first."""

    data: list[_Story]
    next: Annotated[str | None, Meta(description="Give it as `after` for the next page; null at the end.")]


class Record(msgspec.Struct):
    """One call."""

    data: _Story


class RecordsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which calls; every filter that is named must fit."""

    since: Annotated[str, Meta(description="A span back from now (`90s`, `30m`, `7d`), or a date or time.")] | None = (
        None
    )
    until: Annotated[str, Meta(description="As `since`; exclusive.")] | None = None
    key: Annotated[str, Meta(description="A key's id or name.")] | None = None
    user: str | None = None
    team: str | None = None
    feature: str | None = None
    prompt: Annotated[str, Meta(description="The prompt's name, as the call gave it.")] | None = None
    model: str | None = None
    deployment: Annotated[str, Meta(description="Where it was answered or tried.")] | None = None
    outcome: Annotated[str, Meta(description="completed, failed, cancelled or refused.")] | None = None
    status: Annotated[int, Meta(ge=0, le=599, description="An HTTP status; 5 means 500 to 599.")] | None = None
    error: Annotated[str, Meta(description="An error code; `*` for any.")] | None = None
    finish: str | None = None
    trace: str | None = None
    session: str | None = None
    tag: Annotated[list[str], Meta(description="NAME=VALUE; may stand several times.")] = []
    text: (
        Annotated[str, Meta(description='Words of request or answer: `word "some words" begin* -not`; for developers.')]
        | None
    ) = None
    id: Annotated[str, Meta(description="How the id begins.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST)] = PAGE
    after: str | None = None


def _list(ask: Ask) -> Records:
    query: RecordsQuery = ask.query
    since_ns, until_ns = read_period(query.since, query.until, time.time_ns())
    filters = Filters(
        since_ns=since_ns,
        until_ns=until_ns,
        tags=dict(_pair(tag) for tag in query.tag),
        id_prefix=query.id,
        **{
            name: getattr(query, name)
            for name in (
                "key",
                "user",
                "team",
                "feature",
                "prompt",
                "model",
                "deployment",
                "outcome",
                "status",
                "error",
            )
        },
        finish=query.finish,
        trace=query.trace,
        session=query.session,
    )
    cursor = None if query.after is None else read_cursor(query.after)
    after = None if cursor is None else calls.Cursor(cursor.first, int(cursor.second))
    if query.text is None:
        stories, following = CallStore(ask.desk.engine).page(filters, query.limit, after)
    else:
        words = _searched(ask, query.text)
        stories, following = TextStore(ask.desk.engine).page(words, filters, query.limit, after)
    return Records(stories, None if following is None else show_cursor(Cursor(following.time_ns, following.n)))


def _searched(ask: Ask, words: str) -> str:
    """A search as it is made: under pseudonyms. Who may not read what was said may not guess at it either."""
    if not has_role(ask.principal.role, "developer"):
        raise Forbidden("Searching what was asked and answered needs the role developer.")
    data = ask.desk.core.data
    return words if data is None else open_redactor(data.path).text(words)


def _pair(tag: str) -> tuple[str, str]:
    name, equals, value = tag.partition("=")
    if not name or not equals:
        raise BadRequest("a tag is NAME=VALUE", code="invalid_value", param="tag")
    return name, value


def _find(ask: Ask) -> Record:
    story = CallStore(ask.desk.engine).find(ask.path["id"])
    if story is None:
        raise BadRequest("no call has this id; a new one may take a moment to be stored", code="record_not_found")
    if not has_role(ask.principal.role, "developer"):
        for body in _BODIES:
            story.pop(body, None)
        for feedback in story["feedback"]:
            feedback["comment"] = None
    return Record(story)


ROUTES = (
    Route(
        method="GET",
        path="/records",
        name="list_records",
        about="Lists the calls that were made, newest first.",
        role="viewer",
        does=_list,
        gives=Records,
        query=RecordsQuery,
    ),
    Route(
        method="GET",
        path="/records/{id}",
        name="get_record",
        about="Tells the whole story of one call; what was asked, answered and commented to developers only.",
        role="viewer",
        does=_find,
        gives=Record,
    ),
)
