"""The page of one call: its timeline, what was asked and answered, and what it cost."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.console.page import Json, Page, View, Visit
from headgate.console.timeline import arithmetic, draw, ticks
from headgate.console.transcript import read_answered, read_asked
from headgate.core.errors import BadRequest
from headgate.stores.query import CallStore

BODY_SHOWN = 200_000
"""Characters of a body that a page shows; the rest is for ``headgate record``."""
_BODIES = ("request_body", "response_body")


def find(visit: Visit) -> dict[str, Any]:
    """Returns the story of the call in the path; its bodies, and what people said about it, for developers only.

    Raises:
        BadRequest: there is no such call.
    """
    id = visit.path["id"]
    story = CallStore(visit.desk.engine).find(id) if id.isprintable() else None
    if story is None:
        raise BadRequest("No call has this id; a new one may take a moment to be stored.", code="record_not_found")
    if not visit.may("developer"):
        for body in _BODIES:
            story.pop(body, None)
        for said in story["feedback"]:
            said["comment"] = None
    return story


def tell(visit: Visit, story: dict[str, Any], problem: str = "") -> View:
    """Returns the page of a call that ``find`` has found, with what was wrong with a form that was sent from it."""
    dialects = visit.desk.core.dialects
    own = dialects.get(story["dialect"])
    asked, parameters = read_asked(story.get("request_body", ""), own)
    others = [dialect for name, dialect in dialects.items() if name != story["dialect"]]
    answered = read_answered(
        story.get("response_body", ""), story["stream"], [*([own] if own is not None else []), *others]
    )
    costs = [(attempt, list(arithmetic(attempt))) for attempt in story["attempts"]]
    bare = {name: value for name, value in story.items() if name not in _BODIES}
    data = {
        "story": story,
        "bars": draw(story),
        "ticks": ticks(story),
        "asked": asked,
        "parameters": parameters,
        "answered": answered,
        "costs": [(attempt, sums) for attempt, sums in costs if sums],
        "models": list(visit.desk.core.settings.models),
        "kept": "request_body" in story,
        "hidden": not visit.may("developer"),
        "problem": problem,
        "form": visit.form,
        "score": visit.form.get("score") if visit.form.pairs else "1",
        "waits": bool(visit.query.get("waits")),
        "raw": [
            ("Request", _pretty(story.get("request_body", ""))),
            ("Answer", _pretty(story.get("response_body", ""))),
        ],
        "record": _pretty(msgspec.json.encode(bare).decode()),
        "labels": [
            (name, story[name]) for name in ("user", "team", "feature", "prompt", "session", "trace") if story[name]
        ],
    }
    return View("story.html", data, 400 if problem else 200)


def _pretty(text: str) -> str:
    """A body as it may be read: JSON indented, cut where it is endless."""
    try:
        text = msgspec.json.format(text.encode(), indent=2).decode() if text[:1] in ("{", "[") else text
    except msgspec.DecodeError:
        pass
    return text if len(text) <= BODY_SHOWN else f"{text[:BODY_SHOWN]}\n… {len(text) - BODY_SHOWN:,} characters more"


PAGES = (
    Page(path="/calls/{id}", does=lambda visit: tell(visit, find(visit)), title="Call"),
    Page(path="/calls/{id}/record", does=lambda visit: Json(find(visit))),
)
