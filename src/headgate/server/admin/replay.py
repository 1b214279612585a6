"""The admin API's routes for replays: a recorded call sent again and compared, or played from its record alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.core.errors import Unavailable
from headgate.observe.replay.again import send_again
from headgate.observe.replay.changes import Changes
from headgate.observe.replay.offline import reproduce
from headgate.observe.replay.outcome import Comparison, diff_text
from headgate.observe.replay.recorded import Recorded, load_recorded
from headgate.server.admin.route import Ask, Route
from headgate.stores.redaction import open_redactor

AT_ONCE = 2
"""Replays under way at once, of one worker: each takes one of the few threads that administration has."""
LONGEST = 300.0
_LOOK = 0.25

_places = threading.Semaphore(AT_ONCE)


class ReplayAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is asked differently; nothing of it: the call as it was."""

    model: Annotated[str, Meta(description="A configured model, or `provider/model`.")] | None = None
    stream: bool | None = None
    set: Annotated[dict[str, Any], Meta(description="Top-level fields of the request; null removes one.")] = {}
    tags: dict[str, str] = {}


class Side(msgspec.Struct):
    """What came of one of the two calls. Cost in nano-dollars, times in µs, -1 for never.

    `text` is null where it is not kept, and in an answer that is told again.
    """

    id: str
    model: str
    deployment: str | None
    outcome: str
    error: str
    error_message: str
    finish: str
    text: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost: int | None
    first_content_us: int
    duration_us: int


class Replayed(msgspec.Struct):
    """Both calls side by side. `diff` is a unified diff of the texts, a line each; `redacted`: pseudonyms were sent."""

    before: Side
    after: Side
    same_answer: bool | None
    similarity: float | None
    cost_change: int | None
    latency_change_us: int | None
    redacted: bool
    diff: list[str]


class Played(msgspec.Struct):
    """What came of playing the call. `differs` names what was not the same; `reproduced` says that nothing was not."""

    before: Side
    after: Side
    reproduced: bool
    differs: list[str]


class _Noted(msgspec.Struct):
    """The audit entry: no words of anybody's."""

    replay: str
    model: str | None
    stream: bool | None
    set: list[str]


def _replay(ask: Ask) -> Replayed:
    asked: ReplayAsked = ask.body
    before = ask.registry.answered(Replayed)
    if before is not None:
        return before
    recorded = load_recorded(ask.desk.engine, ask.path["id"])
    changes = Changes(model=asked.model, stream=asked.stream, set=asked.set)
    if not _places.acquire(blocking=False):
        raise Unavailable(f"{AT_ONCE} replays are under way; send it again when one has ended.", retry_after=2)
    try:
        made = _send(ask, recorded, changes, asked.tags)
    finally:
        _places.release()
    answer = Replayed(
        _side(made.before),
        _side(made.after),
        made.same_answer,
        made.similarity,
        made.cost_change,
        made.latency_change_us,
        made.redacted,
        list(diff_text(made.before.text or "", made.after.text or "")),
    )
    noted = _Noted(made.after.id, asked.model, asked.stream, sorted(asked.set))
    # Once more without the texts: those are kept where payloads are, and nowhere else.
    kept = msgspec.structs.replace(answer, before=_bare(answer.before), after=_bare(answer.after), diff=[])
    ask.registry.note("call.replay", recorded.id, noted, kept)
    return answer


def _send(ask: Ask, recorded: Recorded, changes: Changes, tags: dict[str, str]) -> Comparison:
    """Makes the call on the gateway's own loop; gives up when the gateway does."""
    core = ask.desk.core
    work = send_again(core, recorded, changes, ask.principal, tags=tags, peer=ask.address, timeout=LONGEST)
    future: concurrent.futures.Future[Comparison] = asyncio.run_coroutine_threadsafe(work, core.loop)
    while True:
        try:
            return future.result(_LOOK)
        except concurrent.futures.TimeoutError:
            try:
                _ = ask.desk.core
            except Unavailable:
                future.cancel()
                raise


def _bare(side: Side) -> Side:
    return msgspec.structs.replace(side, text=None)


def _play(ask: Ask) -> Played:
    recorded = load_recorded(ask.desk.engine, ask.path["id"])
    core = ask.desk.core
    clean = str if core.data is None else open_redactor(core.data.path).text
    found = asyncio.run(reproduce(recorded, core.dialects, clean))
    return Played(_side(found.before), _side(found.after), not found.differs, found.differs)


def _side(outcome: Any) -> Side:
    return Side(*[getattr(outcome, name) for name in Side.__struct_fields__])


ROUTES = (
    Route(
        method="POST",
        path="/calls/{id}/replay",
        name="replay_call",
        about="Sends a recorded call again, as it was or changed, charged to the caller; both answers side by side.",
        role="developer",
        does=_replay,
        gives=Replayed,
        takes=ReplayAsked,
    ),
    Route(
        method="POST",
        path="/calls/{id}/play",
        name="play_call",
        about="Plays what a call's upstreams said from its record alone; nothing is sent, recorded or charged.",
        role="developer",
        does=_play,
        gives=Played,
    ),
)
