"""Plays a recorded call's upstream exchanges through the pipeline, without any upstream: the same failure, again.

Each attempt of the Record becomes a deployment whose upstream is its Tape. The layers that decide by what happens
elsewhere (retry, breaker, limit) have decided already: their attempts, skipped ones too, are in the Record in order.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.call import Attempt, AttemptHandler, Call, Deployment, Plan, Principal, Timeouts
from headgate.core.choices import Choices
from headgate.core.clock import Ids, SystemClock
from headgate.core.errors import BadRequest, HeadgateError
from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.core.reply import Reply
from headgate.core.tape import Tape, error_of
from headgate.core.ticker import Ticker
from headgate.dialects.base import Dialect
from headgate.observe.replay.outcome import Outcome, made_outcome, recorded_outcome, wire_of
from headgate.observe.replay.player import playing
from headgate.observe.replay.recorded import Recorded
from headgate.pipeline.account import Account
from headgate.pipeline.decode import decode
from headgate.pipeline.route import route
from headgate.pipeline.timeout import timeout
from headgate.pipeline.upstream import upstream
from headgate.providers.driver import Driver, Provider

_COMPARED = ("outcome", "error", "error_message", "finish", "text", "attempts")
_LONG = Timeouts(*[86_400.0] * 5)


class Reproduction(msgspec.Struct):
    """What came of it.

    Attributes:
        before, after: the outcomes, recorded and played.
        differs: the fields of them that are not the same; empty where the failure was reproduced.
        told: attempts (their places) that had no tape, whose recorded error was taken as told.
    """

    before: Outcome
    after: Outcome
    differs: list[str]
    told: list[int]


class _RecordedPlan(Plan):
    """Goes on for as long as the Record does, whatever the failure: it says what was tried next."""

    def redirect(self, kind: str) -> bool:
        """See ``Plan.redirect``."""
        return self._next < len(self.deployments)


class _Nowhere:
    """A Journal for what is only played."""

    def append(self, record: Record) -> None:
        """Keeps nothing."""

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "") -> None:
        """Keeps nothing."""

    def append_tapes(self, call_id: str, tapes: Sequence[Tape]) -> None:
        """Keeps nothing."""

    def append_feedback(self, feedback: Feedback) -> None:
        """Keeps nothing."""

    def close(self) -> None:
        """Has nothing open."""


async def reproduce(
    recorded: Recorded, dialects: Mapping[str, Dialect], clean: Callable[[str], str] = str
) -> Reproduction:
    """Plays the call. Needs no configuration, no provider and no network; records and costs nothing.

    Args:
        recorded: the call.
        dialects: by name.
        clean: redacts a message as the Record's was on its way to the store.

    Raises:
        BadRequest: nothing was tried, or the caller left first: there is nothing to play (``nothing_to_play``).
    """
    story = recorded.story
    dialect = dialects.get(story["dialect"])
    attempts = [(n, one) for n, one in enumerate(story["attempts"]) if one["outcome"] != "cancelled"]
    if dialect is None or not attempts:
        why = f"the gateway refused the call {recorded.id} before it tried any upstream ({story['error']})"
        if story["attempts"]:
            why = f"nothing failed in the call {recorded.id}: who asked left before the upstream had answered"
        raise BadRequest(
            f"{why}: there is no exchange to play; send it again without --offline",
            code="nothing_to_play",
        )
    clock, ids = SystemClock(), Ids()
    ticker = Ticker(asyncio.get_running_loop())
    heard = {tape.attempt: tape for tape in recorded.tapes}
    if story["outcome"] == "completed":
        heard.setdefault(story["winner"], _tape_of_answer(recorded))
    told = [number for number, _ in attempts if number not in heard]

    def handler_of(number: int, one: Mapping[str, Any]) -> AttemptHandler:
        tape = heard.get(number)
        if tape is None:
            return _teller(one)
        provider = Provider(one["provider"], playing(tape), {tape.dialect: tape.target}, b"")
        return timeout(upstream(Driver(provider, one["model"], dialects), clock), ticker)

    deployments = []
    for _, group in itertools.groupby(attempts, lambda item: item[1]["deployment"]):
        tries = list(group)
        one = tries[0][1]
        handler = _in_turn([handler_of(*each) for each in tries])
        deployments.append(
            Deployment(one["deployment"], one["provider"], one["model"], handler, _LONG, one["max_tokens"] or 4096)
        )
    chain = Account(decode(route({}, lambda name: None, clock, lambda: True)), _Nowhere(), clock)
    record = Record(ids.new(), clock.time_ns(), dialect=dialect.name)
    call = Call(record, dialect, recorded.request, clock.monotonic(), principal=Principal("", "offline", direct=True))
    call.plan = _RecordedPlan(deployments, {"any": ()})
    choices = await _play(chain, call)
    before = recorded_outcome(story, recorded.response, dialects)
    after = made_outcome(record, choices)
    after.error_message = clean(after.error_message)
    before = msgspec.structs.replace(before, attempts=[before.attempts[number] for number, _ in attempts])
    differs = [name for name in _COMPARED if getattr(before, name) != getattr(after, name)]
    return Reproduction(before, after, differs, told)


def _tape_of_answer(recorded: Recorded) -> Tape:
    """The answer as it was kept, as if it had come at once."""
    wire = wire_of(recorded.response)
    kind = b"text/event-stream" if recorded.story["stream"] else b"application/json"
    return Tape(recorded.story["winner"], wire, b"/", 200, [(b"content-type", kind)], 0, [(0, recorded.response)], 0)


def _in_turn(handlers: Sequence[AttemptHandler]) -> AttemptHandler:
    """What one deployment did, its retries in turn: the error of the last of them is its own."""

    async def handler(attempt: Attempt) -> Reply:
        for next in handlers[:-1]:
            try:
                return await next(attempt)
            except HeadgateError:
                attempt = Attempt(attempt.call, attempt.deployment, attempt.record.ended_us)
        return await handlers[-1](attempt)

    return handler


def _teller(one: Mapping[str, Any]) -> AttemptHandler:
    """An attempt that ends as the Record says it did."""

    async def handler(attempt: Attempt) -> Reply:
        error = error_of("", one["error"], one["error_message"], one["fault"], one["status"])
        if one["outcome"] == "skipped":
            raise attempt.skip(error)
        record = attempt.record
        record.outcome, record.status = one["outcome"], one["status"]
        record.error, record.error_message, record.fault = one["error"], one["error_message"], one["fault"]
        raise error

    return handler


async def _play(chain: Account, call: Call) -> Choices:
    choices = Choices()
    try:
        reply = await chain(call)
        while frames := await reply.batch():
            for frame in frames:
                choices.feed(frame.events)
    except HeadgateError:
        # It stands in the Record, which is what is compared.
        return choices
    return choices
