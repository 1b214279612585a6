"""Feedback in the console: a developer's judgement of a call, and what all judgements come to next to cost and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import Engine

from headgate.console.page import Page, Redirect, Result, Visit
from headgate.console.plot import Line, Plot
from headgate.console.story import find, tell
from headgate.core.errors import BadRequest
from headgate.observe.feedback import Feedbacks, FeedbackTaken
from headgate.stores.query import CallStore, Filters
from headgate.stores.rollups import DAY_NS, HOUR_NS
from headgate.stores.satisfaction import FeedbackStore, Satisfaction, Step

LONGEST = 30.0
_STORED = 3.0
"""Seconds that a page waits for the recorder to store what was just said; longer, and it says so instead."""
_LOOK = 0.1
_BAD_SHOWN = 6


class Judged(msgspec.Struct, frozen=True):
    """What the calls of one time were thought of.

    Attributes:
        now, before: this time, and the one as long before it; None without feedback.
        plot: the mean score over time; None where there is none, or the time is too short for it.
        bad: the newest judgements below 0.5, with model and feature of their calls.
    """

    now: Satisfaction | None
    before: Satisfaction | None
    plot: Plot | None
    bad: Sequence[dict[str, object]]


def read_judged(engine: Engine, since_ns: int, until_ns: int) -> Judged:
    """Returns what calls from ``since_ns`` until ``until_ns`` (ns since 1970) were thought of."""
    store = FeedbackStore(engine)
    length = until_ns - since_ns
    step = HOUR_NS if length <= DAY_NS else DAY_NS
    course = store.course(since_ns - length, since_ns, until_ns, step)
    now, before = (_sum([one for one in course if one.late == late]) for late in (True, False))
    if now is None:
        return Judged(None, before, None, [])
    bad = store.page(Filters(since_ns=since_ns), _BAD_SHOWN, below=0.5) if now.bad else []
    plot = None
    if length > HOUR_NS and now.scored:
        scores = {one.start_ns: one.total / one.scored for one in course if one.late and one.scored}
        times = list(range(since_ns // step * step, until_ns, step))
        plot = Plot("Satisfaction", "percent", times, [Line("mean score", 3, [scores.get(at) for at in times])])
    return Judged(now, before, plot, bad)


def _sum(steps: Sequence[Step]) -> Satisfaction | None:
    if not steps:
        return None
    given, scored, bad = (sum(getattr(one, name) for one in steps) for name in ("feedback", "scored", "bad"))
    score = sum(one.total for one in steps) / scored if scored else None
    return Satisfaction((), given, scored, score, bad)


def _give(visit: Visit) -> Result:
    story, form = find(visit), visit.form
    try:
        score = _score(form.get("score"))
        taken = _take(visit, story["id"], score, form.get("label"), form.get("comment"))
    except BadRequest as error:
        return tell(visit, story, problem=error.message)
    to = f"/calls/{story['id']}"
    return Redirect(f"{to}#feedback" if _is_stored(visit, taken) else f"{to}?waits=1#feedback")


def _score(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise BadRequest("score must be a number from 0 to 1.", code="invalid_feedback", param="score") from None


def _take(visit: Visit, id: str, score: float | None, label: str, comment: str) -> FeedbackTaken:
    """Gives it on the gateway's own loop, where its journal is."""
    core, principal = visit.desk.core, visit.visitor.principal

    async def give() -> FeedbackTaken:
        feedbacks = Feedbacks(core.data, core.journal)
        try:
            return await feedbacks.give(principal, id, score=score, label=label, comment=comment, review=True)
        finally:
            feedbacks.close()

    return asyncio.run_coroutine_threadsafe(give(), core.loop).result(LONGEST)


def _is_stored(visit: Visit, taken: FeedbackTaken) -> bool:
    store, end = CallStore(visit.desk.engine), time.monotonic() + _STORED
    while True:
        story = store.find(taken.call_id)
        if story is not None and any(one["id"] == taken.id for one in story["feedback"]):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK)


PAGES = (Page(path="/calls/{id}/feedback", does=_give, role="developer", title="Call", method="POST"),)
