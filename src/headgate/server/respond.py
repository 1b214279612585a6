"""Writes Replies and errors to the client: bytes as they came where they can go so, rendered where not."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from headgate.core.call import Call
from headgate.core.errors import HeadgateError, LimitExceeded
from headgate.core.event import Frame, Kind
from headgate.core.record import dispatched
from headgate.core.reply import Reply
from headgate.dialects.base import Dialect
from headgate.server.caller import Caller, Head
from headgate.server.guard import Guard
from headgate.server.status import status_of

_JSON = b"content-type: application/json\r\n"
_LOST_LIMIT = 512
_WORDS = re.compile(r"[^.\[\]]*[^.\[\]0-9][^.\[\]]*")
"""The names in a field's path, without its indices."""


async def send_unary(call: Call, reply: Reply, caller: Caller, guard: Guard) -> None:
    """Sends a whole answer, once its Record is journalled."""
    frames = await reply.batch()
    body: bytes | None = None
    if len(frames) == 1 and reply.dialect == call.dialect.name:
        body = frames[0].data
    if body is None:
        encoder = call.dialect.encoder(stream=False, model=call.view.model)
        for frame in frames:
            encoder.feed(frame.events)
        body = encoder.end()
        # Before the end: a closed Record never changes.
        call.record.lost += encoder.lost
    await reply.batch()
    guard.sending_since = guard.now()
    await caller.whole(200, answer_head(call, reply) + _JSON, body, after=call.settle)


def answer_head(call: Call, reply: Reply) -> Head:
    """Returns our own response headers, and the upstream's that may pass."""
    record = call.record
    head = b"x-headgate-id: %b\r\nx-headgate-attempts: %d\r\n" % (call.id.encode(), dispatched(record))
    lost = record.lost
    if record.winner >= 0:
        winner = record.attempts[record.winner]
        head += b"x-headgate-deployment: %b\r\n" % clean(winner.deployment)
        if winner.lost:
            lost = [*_speakable(winner.lost, call.dialect.field_names), *lost]
    if lost:
        head += b"x-headgate-lost: %b\r\n" % clean(", ".join(lost))[:_LOST_LIMIT]
    for header in reply.headers:
        head += b"%b: %b\r\n" % header
    return head


def _speakable(lost: Sequence[str], known: frozenset[str]) -> list[str]:
    """The lost request fields whose names are the specification's; what a caller made up is only counted."""
    named = [path for path in lost if all(word in known for word in _WORDS.findall(path))]
    hidden = len(lost) - len(named)
    return [*named, f"{hidden} unknown"] if hidden else named


def clean(text: str) -> bytes:
    """Returns text as a header value: whatever is not printable ASCII becomes ``?``, line ends above all."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text).encode()


class StreamWriter:
    """Sends one streamed answer: whole events only, its end held back until the Record is journalled."""

    __slots__ = ("_call", "_caller", "_guard", "_held", "started")

    def __init__(self, call: Call, caller: Caller, guard: Guard) -> None:
        self._call = call
        self._caller = caller
        self._guard = guard
        self._held = b""
        self.started = False

    async def beat(self) -> None:
        """Breaks a long silence: the status, if it has not gone out, and a comment."""
        if self._call.view is None or not self._call.view.stream:
            return
        self._call.begun = True
        await self._start(None)
        await self._caller.write(self._call.dialect.comment)

    async def write(self, reply: Reply) -> None:
        """Sends the whole answer.

        Raises:
            HeadgateError: it ended otherwise; what came before has gone out.
        """
        call, guard = self._call, self._guard
        encoder = None
        if reply.dialect != call.dialect.name:
            encoder = call.dialect.encoder(stream=True, model=call.view.model, include_usage=call.view.include_usage)
        frames = await reply.batch()
        if guard.beating is not None:
            await guard.beaten()
        await self._start(reply)
        while frames:
            if encoder is None:
                data = self._join(frames)
            else:
                # The marker is the encoder's own to write, once the Record is journalled.
                data = b"".join([encoder.feed(frame.events) for frame in frames if frame.kind is not Kind.MARKER])
                call.record.lost[:] = encoder.lost
            if data:
                if guard.beating is not None:
                    await guard.beaten()
                guard.sending_since = guard.now()
                await self._caller.write(data)
                guard.sending_since = 0.0
                guard.silent_since = guard.now()
            frames = await reply.batch()
        if encoder is not None:
            self._held = encoder.end()
        await guard.hush()
        guard.sending_since = guard.now()
        await self._caller.end(self._held, call.settle)

    async def fail(self, error: HeadgateError) -> None:
        """Ends a stream that has begun with the dialect's error event, no marker after it."""
        frame = self._call.dialect.error_frame(error, self._call.id)
        await self._caller.end(frame, self._call.settle)

    def _join(self, frames: Sequence[Frame]) -> bytes:
        """The bytes of these frames; from the closing marker on they are held back."""
        if frames[-1].kind is not Kind.MARKER and not self._held:
            return b"".join([frame.data for frame in frames if frame.data])
        ready: list[bytes] = []
        for frame in frames:
            if frame.kind is Kind.MARKER or self._held:
                self._held += frame.data or b""
            elif frame.data:
                ready.append(frame.data)
        return b"".join(ready)

    async def _start(self, reply: Reply | None) -> None:
        if self.started:
            return
        self.started = True
        call = self._call
        head = answer_head(call, reply) if reply is not None else b"x-headgate-id: %b\r\n" % call.id.encode()
        await self._caller.start(
            200, b"%bcontent-type: %b\r\ncache-control: no-cache\r\n" % (head, call.dialect.stream_type)
        )


def render_error(
    error: HeadgateError, dialect: Dialect, call_id: str = "", attempts: int = -1
) -> tuple[int, Head, bytes]:
    """Returns status, header lines and body of an error, in the dialect that the caller speaks."""
    status = status_of(error)
    head = _JSON
    if call_id:
        head += b"x-headgate-id: %b\r\n" % call_id.encode()
    if attempts >= 0:
        head += b"x-headgate-attempts: %d\r\n" % attempts
    if isinstance(error, LimitExceeded):
        head += b"x-headgate-limit: %b\r\n" % clean(error.limit)
    if error.retry_after is not None:
        head += b"retry-after: %d\r\n" % math.ceil(error.retry_after)
    if error.code == "quota":
        head += b"x-should-retry: false\r\n"  # the SDKs' own word: they try a 429 again, and no waiting helps here
    return status, head, dialect.error_body(error, status, call_id)


async def send_json(caller: Caller, status: int, body: bytes) -> None:
    """Sends a small JSON document."""
    await caller.whole(status, _JSON, body)
