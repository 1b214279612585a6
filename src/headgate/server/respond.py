"""Writes Replies and errors to the client: bytes as they came where they can go so, rendered where not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headgate.core.call import Call
from headgate.core.errors import HeadgateError
from headgate.core.event import Frame, Kind
from headgate.core.reply import Reply
from headgate.dialects.base import Dialect
from headgate.server.guard import Guard, Send
from headgate.server.status import status_of

RESPOND = "headgate.respond"
"""Name of our server's ASGI extension: ``(status, headers, body) -> bool`` sends a whole response in one write."""

Respond = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], bool]

_JSON = (b"content-type", b"application/json")
_LOST_LIMIT = 512


class Responder:
    """Where a request's answer goes: an ASGI ``send``, or the server's own way to send it whole at once."""

    __slots__ = ("_whole", "send")

    def __init__(self, send: Send, scope: Mapping[str, Any]) -> None:
        """Args:
        send: ASGI's.
        scope: ASGI's; its extension ``RESPOND`` is used where the server has it.
        """
        self.send = send
        extensions = scope.get("extensions")
        self._whole: Respond | None = extensions.get(RESPOND) if extensions else None

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Sends a whole response. ``headers`` must be clean; content-length is added."""
        headers.append((b"content-length", b"%d" % len(body)))
        if self._whole is not None and self._whole(status, headers, body):
            return
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


async def send_unary(call: Call, reply: Reply, responder: Responder, guard: Guard) -> None:
    """Sends a whole answer, once its Record is journalled."""
    frames = await reply.batch()
    body: bytes | None = None
    if len(frames) == 1 and reply.dialect == call.dialect.name:
        body = frames[0].data
    if body is not None:
        await reply.batch()
    else:
        encoder = call.dialect.encoder(stream=False, model=call.view.model)
        while frames:
            for frame in frames:
                encoder.feed(frame.events)
            frames = await reply.batch()
        body = encoder.end()
    if call.settle is not None:
        await call.settle
    headers = answer_headers(call, reply)
    headers.append(_JSON)
    guard.sending_since = guard.now()
    await responder.whole(200, headers, body)


def answer_headers(call: Call, reply: Reply) -> list[tuple[bytes, bytes]]:
    """Returns our own response headers, and the upstream's that may pass."""
    record = call.record
    headers = [
        (b"x-headgate-id", call.id.encode()),
        (b"x-headgate-attempts", b"%d" % len(record.attempts)),
    ]
    if record.winner >= 0:
        winner = record.attempts[record.winner]
        headers.append((b"x-headgate-deployment", clean(winner.deployment)))
        if winner.lost:
            headers.append((b"x-headgate-lost", clean(", ".join(winner.lost))[:_LOST_LIMIT]))
    headers += reply.headers
    return headers


def clean(text: str) -> bytes:
    """Returns text as a header value: whatever is not printable ASCII becomes ``?``, line ends above all."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text).encode()


class StreamWriter:
    """Sends one streamed answer: whole events only, its end held back until the Record is journalled."""

    __slots__ = ("_call", "_guard", "_held", "_send", "started")

    def __init__(self, call: Call, send: Send, guard: Guard) -> None:
        self._call = call
        self._send = send
        self._guard = guard
        self._held = b""
        self.started = False

    async def beat(self) -> None:
        """Breaks a long silence: the status, if it has not gone out, and a comment."""
        if self._call.view is None or not self._call.view.stream:
            return
        await self._start(None)
        await self._send({"type": "http.response.body", "body": self._call.dialect.comment, "more_body": True})

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
        await self._start(reply)
        while frames:
            data = self._join(frames) if encoder is None else b"".join([encoder.feed(frame.events) for frame in frames])
            if data:
                guard.sending_since = guard.now()
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
                guard.sending_since = 0.0
                guard.silent_since = guard.now()
            frames = await reply.batch()
        if encoder is not None:
            self._held = encoder.end()
        if call.settle is not None:
            await call.settle
        guard.sending_since = guard.now()
        await self._send({"type": "http.response.body", "body": self._held})

    async def fail(self, error: HeadgateError) -> None:
        """Ends a stream that has begun with the dialect's error event, no marker after it."""
        frame = self._call.dialect.error_frame(error, self._call.id)
        await self._send({"type": "http.response.body", "body": frame})

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
        headers = answer_headers(call, reply) if reply is not None else [(b"x-headgate-id", call.id.encode())]
        headers.append((b"content-type", call.dialect.stream_type))
        headers.append((b"cache-control", b"no-cache"))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})


async def send_error(
    error: HeadgateError,
    dialect: Dialect,
    responder: Responder,
    call_id: str = "",
    attempts: int = -1,
    close: bool = False,
) -> None:
    """Sends an error as a whole response, in the dialect that the caller speaks."""
    status = status_of(error)
    headers: list[tuple[bytes, bytes]] = [_JSON]
    if call_id:
        headers.append((b"x-headgate-id", call_id.encode()))
    if attempts >= 0:
        headers.append((b"x-headgate-attempts", b"%d" % attempts))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after)))
    if close:
        headers.append((b"connection", b"close"))
    await responder.whole(status, headers, dialect.error_body(error, status, call_id))


async def send_json(responder: Responder, status: int, body: bytes) -> None:
    """Sends a small JSON document."""
    await responder.whole(status, [_JSON], body)
