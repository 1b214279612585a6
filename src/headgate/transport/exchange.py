"""HttpExchange: one request under way on a connection: its stage, its response head, its body."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from headgate.core.errors import HeadgateError, UpstreamBroken
from headgate.transport.decode import Decoder

LINGER_SECONDS = 0.5
"""How long ``finish`` allows a body that should be at its end to end by itself."""

LINGER_BYTES = 1024
"""So much of a body may still come meanwhile: a newline, a last chunk, a gzip trailer."""

_NO_HEADERS: Mapping[bytes, bytes] = {}


class Line(Protocol):
    """What an exchange asks of the connection that carries it."""

    def resume(self) -> None:
        """Reads on, if reading was paused."""

    def close(self) -> None:
        """Closes the socket now."""


class HttpExchange:
    """An ``Exchange`` and a ``Pending`` (``core.ports``). The connection fills it; one task at a time waits on it.

    ``line`` is None before there is a connection, and again once the response is whole (or the connection lost):
    from then on the exchange lives from what it holds.
    """

    __slots__ = (
        "complete",
        "decoder",
        "error",
        "headers",
        "held",
        "limit",
        "line",
        "lingering",
        "loop",
        "opening",
        "parts",
        "reused",
        "sent",
        "stage",
        "status",
        "taken",
        "waiter",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        """Args:
        loop: the running event loop.
        limit: cap on a body that is taken whole, and on one that is decoded (bytes).
        """
        self.loop = loop
        self.limit = limit
        self.status = 0
        self.headers = _NO_HEADERS
        self.reused = False
        self.stage = "queued"
        self.sent = False
        self.line: Line | None = None
        self.opening: asyncio.Task[object] | None = None
        self.parts: list[bytes] = []
        self.held = 0
        self.taken = 0
        self.complete = False
        self.error: HeadgateError | None = None
        self.decoder: Decoder | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.lingering: asyncio.TimerHandle | None = None

    async def read(self) -> bytes:
        """See ``core.ports.Exchange.read``; at most 64 KiB at a time where the body is compressed."""
        while True:
            decoder = self.decoder
            data = self._decode(decoder) if decoder is not None else self._take()
            if data:
                if decoder is not None:
                    self.taken += len(data)
                    if self.taken > self.limit:
                        raise self._too_large(self.limit)
                return data
            if self.error is not None:
                raise self.error
            if self.complete:
                if decoder is not None:
                    self._end_decoding(decoder)
                return b""
            await self.wait()

    async def read_all(self, limit: int) -> bytes:
        """See ``core.ports.Exchange.read_all``."""
        limit = min(limit, self.limit)
        if self.complete and self.decoder is None and self.error is None:
            data = self._take()
            if len(data) > limit:
                raise self._too_large(limit)
            return data
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._too_large(limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """See ``core.ports.Exchange.finish``."""
        line = self.line
        if line is None or self.lingering is not None:
            return
        if not self.status or self.held > LINGER_BYTES or self.until_close():
            self.abort()
            return
        self.parts.clear()
        self.decoder = None
        self.lingering = self.loop.call_later(LINGER_SECONDS, self.abort)
        line.resume()

    def abort(self, error: HeadgateError | None = None) -> None:
        """See ``core.ports.Exchange.abort``. Sets ``error.sent`` where the whole request had been handed to the socket.

        Works at every stage, before there is a connection too. Does nothing once the response is whole and
        taken, or after a first abort.
        """
        if self.error is not None or (self.complete and not self.parts and self.decoder is None):
            return
        if error is None:
            error = UpstreamBroken("The request was given up here.", code="aborted", fault="gateway")
        if self.sent:
            error.sent = True
        self.error = error
        self.parts.clear()
        self.decoder = None
        self.stop_lingering()
        line, self.line = self.line, None
        if line is not None:
            line.close()
        if self.opening is not None:
            self.opening.cancel()
        self.wake()

    async def wait(self) -> None:
        """Sleeps until something has happened: a head, bytes, the end, an error, room to write.

        A cancelled waiter closes the connection.
        """
        if self.waiter is not None:
            raise RuntimeError("two tasks read one exchange")
        self.waiter = waiter = self.loop.create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            self.waiter = None
            self.abort()
            raise

    def wake(self) -> None:
        """Lets the waiting task look again."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def stop_lingering(self) -> None:
        """Ends the moment that ``finish`` allowed."""
        if self.lingering is not None:
            self.lingering.cancel()
            self.lingering = None

    def until_close(self) -> bool:
        """True where the body's only end is the end of the connection (RFC 9112 6.3)."""
        return b"content-length" not in self.headers and b"transfer-encoding" not in self.headers

    def _take(self) -> bytes:
        parts = self.parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.held = 0
        line = self.line
        if line is not None:
            line.resume()
        return data

    def _decode(self, decoder: Decoder) -> bytes:
        try:
            data = decoder.take()
            while not data and self.parts:
                decoder.feed(self._take())
                data = decoder.take()
        except UpstreamBroken as error:
            self.abort(error)
            raise
        return data

    def _end_decoding(self, decoder: Decoder) -> None:
        self.decoder = None
        try:
            decoder.end()
        except UpstreamBroken as error:
            error.sent = self.sent
            self.error = error
            raise

    def _too_large(self, limit: int) -> UpstreamBroken:
        error = UpstreamBroken(f"The upstream's body is over the {limit} bytes allowed.", code="response_too_large")
        error.sent = self.sent
        self.abort(error)
        self.error = error
        return error
