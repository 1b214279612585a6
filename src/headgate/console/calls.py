"""The page of calls: filters, pages by key, and the live tail."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from headgate.console.look import count, money, span
from headgate.console.page import Json, Page, View, Visit, Words
from headgate.core.errors import BadRequest
from headgate.stores.latest import known, latest
from headgate.stores.period import read_period
from headgate.stores.query import OUTCOMES, CallStore, Cursor, Filters

ROWS = 50
TAIL_ROWS = 50
SINCE = (
    ("", "any time"),
    ("15m", "last 15 minutes"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
)
WORDS = ("model", "deployment", "user", "team", "feature", "key", "error", "session", "trace", "prompt", "finish")
"""Filters that are words, as a query names them."""
_MORE = ("status", "deployment", "team", "key", "session", "trace", "prompt", "finish", "tag", "id", "until")
"""Filters that the page folds away while none of them is used."""


def read_filters(query: Words, now_ns: int) -> Filters:
    """Returns what a query asks for.

    Raises:
        BadRequest: a filter can not be understood.
    """
    tags = {}
    for tag in query.all("tag"):
        name, equals, value = tag.partition("=")
        if not equals or not name:
            raise BadRequest("A tag is NAME=VALUE.", code="invalid_value", param="tag")
        tags[name] = value
    since_ns, until_ns = read_period(query.get("since") or None, query.get("until") or None, now_ns)
    status = query.get("status")
    return Filters(
        since_ns=since_ns,
        until_ns=until_ns,
        outcome=query.get("outcome") or None,
        status=query.number("status", 0, 0, 599) if status else None,
        id_prefix=query.get("id") or None,
        tags=tags,
        **{name: query.get(name) or None for name in WORDS},
    )


def row_of(call: dict[str, Any]) -> dict[str, Any]:
    """Returns one call as a row of the table, its numbers in words."""
    dispatched = sum(attempt["outcome"] != "skipped" for attempt in call["attempts"])
    return {
        "id": call["id"],
        "time_ns": str(call["time_ns"]),
        "time": call["time"],
        "outcome": call["outcome"],
        "status": call["status"],
        "error": call["error"] or "",
        "model": call["model"],
        "deployment": call["deployment"] or "",
        "who": call["user"] or call["key_name"] or "",
        "feature": call["feature"] or "",
        "stream": call["stream"],
        "tokens": f"{count(call['input_tokens'])} → {count(call['output_tokens'])}",
        "first": span(call["first_content_us"]),
        "duration": span(call["duration_us"]),
        "cost": money(call["cost"]),
        "attempts": dispatched,
    }


def _list(visit: Visit) -> View:
    query = visit.query
    now = time.time_ns()
    store = CallStore(visit.desk.engine)
    problem, rows, cursor = "", [], None
    after = _cursor(query)
    try:
        stories, cursor = store.page(read_filters(query, now), ROWS, after)
        rows = [row_of(story) for story in stories]
    except BadRequest as error:
        problem = error.message
    fields = [(name, value) for name, value in query.pairs if value and name not in ("after", "n")]
    following = urlencode([*fields, ("after", cursor.time_ns), ("n", cursor.n)]) if cursor is not None else ""
    data = {
        "rows": rows,
        "problem": problem,
        "query": query,
        "fields": urlencode(fields),
        "filtered": bool(fields),
        "next": following,
        "paged": after is not None,
        "since": SINCE,
        "outcomes": OUTCOMES,
        "models": list(visit.desk.core.settings.models),
        "more": any(query.get(name) for name in _MORE),
    }
    return View("calls.html", data, 400 if problem else 200)


def _cursor(query: Words) -> Cursor | None:
    if not query.get("after"):
        return None
    return Cursor(query.number("after", 0), query.number("n", 0))


def _tail(visit: Visit) -> Json:
    query = visit.query
    filters = read_filters(query, time.time_ns())
    if not query.get("from"):
        ids, top = known(visit.desk.engine)
        return Json({"rows": [], "known": ids, "top": str(top)})
    stories, top = latest(visit.desk.engine, filters, query.number("from", 0), TAIL_ROWS)
    return Json({"rows": [row_of(story) for story in stories], "top": str(top)})


PAGES = (
    Page(path="/calls", does=_list, title="Calls", group="Watch"),
    Page(path="/calls/tail", does=_tail),
)
