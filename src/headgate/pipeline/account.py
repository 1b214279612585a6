"""The layer ``account``: the outermost; it closes every call's Record, exactly once, and journals it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Literal

from headgate.core.call import Call, Handler
from headgate.core.clock import Clock
from headgate.core.errors import HeadgateError, LimitExceeded, Unauthenticated
from headgate.core.event import Frame
from headgate.core.ports import Journal
from headgate.core.record import dispatched, sum_costs
from headgate.core.reply import Ending, Reply
from headgate.core.tape import Tape

_log = logging.getLogger("headgate.account")

PAYLOAD_LIMIT = 64 * 1024 * 1024
"""Bytes of one answer that are kept for the payload store; the payloads of a longer one are not stored."""


class Account:
    """The layer, and the counters of what it has seen.

    Attributes:
        unauthenticated: calls refused for want of a valid key: counted here, never recorded.
        open: calls under way.
    """

    def __init__(self, next: Handler, journal: Journal, clock: Clock, payloads: str = "none") -> None:
        """Args:
        next: the layer inside.
        journal: where finished Records go.
        clock: for durations.
        payloads: ``"full"``, ``"redacted"`` or ``"none"``, for keys that do not say.
        """
        self._next = next
        self._journal = journal
        self._monotonic = clock.monotonic
        self._payloads = payloads
        self.unauthenticated = 0
        self.open = 0

    def enclose(self, next: Handler) -> None:
        """Puts another layer inside, for the calls to come."""
        self._next = next

    async def __call__(self, call: Call) -> Reply:
        """Handles the call. Raises what the layers inside raise, its Record closed first."""
        self.open += 1
        call.kept = self._payloads
        try:
            reply = await self._next(call)
        except Unauthenticated:
            self.open -= 1
            self.unauthenticated += 1
            raise
        except HeadgateError as error:
            policy = call.kept
            if policy != "none":
                # What was asked, of a call that nobody answered: to be looked at, and sent again.
                call.record.payloads = policy
                self._journal.append_payload(call.id, call.raw, b"", policy)
            ours = isinstance(error, LimitExceeded) and not dispatched(call.record)
            self._close(call, "failed" if call.record.attempts and not ours else "refused", error)
            raise
        except asyncio.CancelledError:
            self._close(call, "cancelled", None)
            raise
        except Exception as error:
            _log.exception("call %s failed inside the gateway", call.id)
            bug = HeadgateError(f"The gateway failed inside ({type(error).__name__}); its log has call {call.id}.")
            self._close(call, "failed", bug)
            raise bug from error
        call.record.first_content_us = int((self._monotonic() - call.started) * 1e6)
        if call.kept != "none":
            _keep_payloads(call, reply, self._journal)
        reply.on_end(partial(self._end, call))
        return reply

    def _end(self, call: Call, ending: Ending) -> None:
        record, summary = call.record, ending.summary
        record.usage = summary.usage
        record.response_bytes = summary.received
        if summary.finish is not None:
            record.finish = summary.finish.value
            record.wire_finish = summary.wire_finish
        # A stream that has begun has had its 200, whatever it ends with.
        self._close(call, ending.outcome, ending.error, begun=record.stream)

    def _close(
        self,
        call: Call,
        outcome: Literal["completed", "failed", "cancelled", "refused"],
        error: HeadgateError | None,
        *,
        begun: bool = False,
    ) -> None:
        record = call.record
        if outcome == "cancelled" and call.cut is not None:
            # Not the client's doing, unless the error says so.
            error = call.cut
            outcome = "cancelled" if error.fault == "caller" else "failed"
        record.outcome = outcome
        record.duration_us = int((self._monotonic() - call.started) * 1e6)
        if error is not None:
            record.error = error.code
            record.error_message = error.message
            record.fault = error.fault
        record.status = call.status_of(None if begun or call.begun or outcome == "cancelled" else error)
        attempts = record.attempts
        if call.tapes is not None:
            self._keep_tapes(call, call.tapes)
        # One that has answered says it all: its cost, or that it has no price.
        alone = len(attempts) == 1 and attempts[0].usage is not None
        record.cost = attempts[0].cost if alone else sum_costs(attempts)
        self.open -= 1
        call.settle = self._journal.append(record)

    def _keep_tapes(self, call: Call, tapes: list[Tape]) -> None:
        """Stores what failed attempts have heard; what the answering one has is the answer."""
        attempts = call.record.attempts
        failed = [tape for tape in tapes if attempts[tape.attempt].outcome == "failed"]
        call.tapes = None
        if failed:
            self._journal.append_tapes(call.id, failed)


class _Capture:
    """Keeps the bytes of what passes, for the payload store; None of them where they are too many."""

    __slots__ = ("_call", "_journal", "_size", "parts")

    def __init__(self, call: Call, journal: Journal) -> None:
        self._call = call
        self._journal = journal
        self._size = 0
        self.parts: list[bytes] | None = []

    def take(self, frames: Sequence[Frame]) -> None:
        if self.parts is None:
            return
        for frame in frames:
            data = frame.data
            if data is not None:
                self._size += len(data)
                self.parts.append(data)
        if self._size > PAYLOAD_LIMIT:
            self.parts = None

    def store(self, ending: Ending) -> None:
        if self.parts is not None:
            call = self._call
            call.record.payloads = call.kept
            self._journal.append_payload(call.id, call.raw, b"".join(self.parts), call.kept)


def _keep_payloads(call: Call, reply: Reply, journal: Journal) -> None:
    capture = _Capture(call, journal)
    reply.tap = capture.take
    reply.on_end(capture.store)
