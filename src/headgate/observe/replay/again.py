"""Sends a recorded call again, through the same Handler as every other call: recorded, and charged to who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from headgate.core.call import Call, Handler, Principal
from headgate.core.choices import Choices
from headgate.core.clock import Clock, Ids
from headgate.core.errors import BadRequest, HeadgateError
from headgate.core.record import Record
from headgate.dialects.base import Dialect
from headgate.observe.replay.changes import Changes
from headgate.observe.replay.outcome import Comparison, compare, made_outcome, recorded_outcome
from headgate.observe.replay.recorded import Recorded

TAG = "replay_of"
"""The tag that links a replay to the call it came from."""
_TAG_LIMIT = 256


class Running(Protocol):
    """What is needed of a composed gateway."""

    handler: Handler
    clock: Clock
    ids: Ids

    @property
    def dialects(self) -> Mapping[str, Dialect]: ...


async def send_again(
    core: Running,
    recorded: Recorded,
    changes: Changes,
    principal: Principal,
    *,
    user: str = "",
    priority: Literal["interactive", "batch"] = "interactive",
    tags: Mapping[str, str] | None = None,
    peer: str = "",
    timeout: float | None = None,  # noqa: ASYNC109 - the deadline of the call, recorded with it
) -> Comparison:
    """Makes the call and compares.

    Args:
        core: the gateway.
        recorded: the call.
        changes: what is asked differently.
        principal: who asks for the replay, and is charged.
        user: whom it counts for where the key says nobody.
        priority, tags, timeout: of the new call.
        peer: the address that it is asked for from.

    Returns:
        Both outcomes; a call that fails has its error in it.

    Raises:
        BadRequest: the recorded call's dialect is unknown here, or the changes make no sense.
        asyncio.CancelledError: the new call is ended, and recorded as cancelled.
    """
    story = recorded.story
    dialect = core.dialects.get(story["dialect"])
    if dialect is None:
        raise BadRequest(f"the call {recorded.id} is in the dialect {story['dialect']}, which is not served here")
    started = core.clock.monotonic()
    record = Record(core.ids.new(), core.clock.time_ns(), dialect=dialect.name, user=user, priority=priority)
    record.prompt = story["prompt"] or ""
    record.tags = {**{name: value[:_TAG_LIMIT] for name, value in (tags or {}).items()}, TAG: recorded.id}
    record.notes = {"replay_of": recorded.id, **({"changed": _note(changes)} if changes else {})}
    deadline = None if timeout is None else started + timeout
    raw = changes.apply(dialect, recorded.request)
    call = Call(record, dialect, raw, started, principal=principal, deadline=deadline, peer=peer)
    choices = await _make(core.handler, call)
    before = recorded_outcome(story, recorded.response, core.dialects)
    return compare(before, made_outcome(record, choices), redacted=recorded.redacted)


async def _make(handler: Handler, call: Call) -> Choices:
    choices = Choices()
    try:
        reply = await handler(call)
        try:
            while frames := await reply.batch():
                for frame in frames:
                    choices.feed(frame.events)
        except BaseException:
            await reply.aclose()
            raise
    except HeadgateError:
        # It stands in the Record, which is what is compared.
        return choices
    finally:
        if call.settle is not None:
            await call.settle
    return choices


def _note(changes: Changes) -> dict[str, object]:
    """What was changed, without the words that somebody may have put into a field."""
    return {
        **({"model": changes.model} if changes.model is not None else {}),
        **({"stream": changes.stream} if changes.stream is not None else {}),
        **({"set": sorted(changes.set)} if changes.set else {}),
    }
