"""Replays from the page of a call: sent again, with another model if asked, both answers side by side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

from headgate.console.page import Page, Result, View, Visit
from headgate.console.story import find
from headgate.core.errors import Unavailable
from headgate.observe.replay.again import send_again
from headgate.observe.replay.changes import Changes
from headgate.observe.replay.outcome import Comparison, diff_text
from headgate.observe.replay.recorded import load_recorded

AT_ONCE = 2
"""Replays under way at once, of one worker: each takes one of the console's few threads."""
LONGEST = 300.0
_LOOK = 0.25

_places = threading.Semaphore(AT_ONCE)


def _replay(visit: Visit) -> Result:
    story = find(visit)
    recorded = load_recorded(visit.desk.engine, story["id"])
    model = visit.form.get("model")
    changes = Changes(model=model if model and model != story["model"] else None)
    if not _places.acquire(blocking=False):
        raise Unavailable(f"{AT_ONCE} replays are under way; send it again when one has ended.", retry_after=2)
    try:
        core = visit.desk.core
        tags = {"from": "console"}
        principal = visit.visitor.principal
        work = send_again(core, recorded, changes, principal, tags=tags, peer=visit.address, timeout=LONGEST)
        made = _wait(visit, asyncio.run_coroutine_threadsafe(work, core.loop))
    finally:
        _places.release()
    data = {
        "story": story,
        "made": made,
        "sides": [("As it was", made.before), ("Now", made.after)],
        "diff": list(diff_text(made.before.text or "", made.after.text or "")),
    }
    return View("replay.html", data)


def _wait(visit: Visit, future: concurrent.futures.Future[Comparison]) -> Comparison:
    """Waits for the call on the gateway's own loop; gives up when the gateway does."""
    while True:
        try:
            return future.result(_LOOK)
        except concurrent.futures.TimeoutError:
            try:
                _ = visit.desk.core
            except Unavailable:
                future.cancel()
                raise


PAGES = (Page(path="/calls/{id}/replay", does=_replay, role="developer", title="Replay", method="POST"),)
