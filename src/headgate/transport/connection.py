"""Connection: one socket to an upstream, an ``asyncio.Protocol`` that carries one exchange at a time."""

from __future__ import annotations

import asyncio
import select
from typing import Protocol, cast

import httptools

from headgate.core.errors import UpstreamBroken
from headgate.core.outbox import Outbox
from headgate.transport.decode import decoder_for
from headgate.transport.exchange import LINGER_BYTES, HttpExchange

HEAD_BYTES = 64 * 1024
HEAD_COUNT = 256
"""Limits on a response's header lines: bytes and number, 1xx heads and trailers counted in."""

HIGH_WATER = 128 * 1024
"""Reading pauses while so many bytes of a body wait to be taken."""

JOIN_BYTES = 64 * 1024
"""A body up to this size goes out in one write with its head; a larger one in slices, as the socket takes them."""

_SLICE = 256 * 1024


class Owner(Protocol):
    """What a connection asks of its pool."""

    outbox: Outbox

    def release(self, connection: Connection) -> None:
        """The connection is free for the next exchange."""

    def retire(self, connection: Connection) -> None:
        """An idle connection is of no more use."""

    def lost(self, connection: Connection) -> None:
        """The socket is closed."""


class _Stop(Exception):
    """Leaves httptools' parser from within a callback; the reason is in ``Connection.failure``."""


class Connection(asyncio.Protocol):
    """One connection.

    ``closed`` is True from the moment that it can carry nothing more; ``used`` once it has carried a request;
    ``idle_since`` is when the pool last got it back (monotonic s).
    """

    __slots__ = (
        "_exchange",
        "_failure",
        "_head_only",
        "_interim",
        "_keep_alive",
        "_lines",
        "_owner",
        "_parser",
        "_poll",
        "_quiet",
        "_reading_paused",
        "_transport",
        "_who",
        "_writing_paused",
        "closed",
        "idle_since",
        "used",
    )

    def __init__(self, owner: Owner, who: str) -> None:
        """Args:
        owner: the pool.
        who: the origin's authority, for messages.
        """
        self._owner = owner
        self._who = who
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: HttpExchange | None = None
        self._lines: list[tuple[bytes, bytes]] = []
        self._interim = 0
        self._quiet = 0
        self._keep_alive = False
        self._head_only = False
        self._failure: UpstreamBroken | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._poll: select.poll | None = None
        self.closed = False
        self.used = False
        self.idle_since = 0.0

    # the pool's side

    def write(self, exchange: HttpExchange, request: bytes, head_only: bool) -> bool:
        """Puts a whole small request on the wire. Returns False where nothing of it was sent."""
        transport = self._transport
        if self.closed or transport is None:
            return False
        self._exchange = exchange
        exchange.line = self
        self._quiet = 0
        self._head_only = head_only
        if transport.is_closing():
            self._detach()
            self.close()
            return False
        self._owner.outbox.post(self._put, request)
        exchange.sent = True
        exchange.stage = "waiting"
        return True

    def _put(self, request: bytes) -> None:
        """Writes what was posted, unless the connection has ended meanwhile."""
        transport = self._transport
        if not self.closed and transport is not None and not transport.is_closing():
            transport.write(request)

    async def write_large(self, exchange: HttpExchange, head: bytes, body: bytes) -> bool:
        """Like ``write``, slice by slice; stops at an early response. Errors are left in the exchange."""
        transport = self._transport
        if self.closed or transport is None:
            return False
        self._exchange = exchange
        exchange.line = self
        self._quiet = 0
        self._head_only = False
        exchange.stage = "sending"
        view = memoryview(body)
        transport.writelines((head, view[:_SLICE]))
        if transport.is_closing():
            self._detach()
            self.close()
            return False
        offset = _SLICE
        while True:
            while self._writing_paused and not exchange.status and exchange.error is None:
                await exchange.wait()
            if exchange.status or exchange.error is not None:
                return True
            if offset >= len(body):
                break
            transport.write(view[offset : offset + _SLICE])
            offset += _SLICE
        exchange.sent = True
        exchange.stage = "waiting"
        return True

    def readable(self) -> bool:
        """True where an idle connection has something to read: its end, most likely. One system call."""
        poll = self._poll
        if poll is None:
            if self._transport is None:
                return True
            self._poll = poll = select.poll()
            poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Closes the socket now. Idempotent."""
        self.closed = True
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def shut(self) -> None:
        """Closes the socket now; who waits for a response gets an error."""
        if self._exchange is not None:
            self._exchange.abort(
                UpstreamBroken(f"The connections to {self._who} are being closed.", code="aborted", fault="gateway")
            )
        self.close()

    def resume(self) -> None:
        """Reads on, if reading was paused."""
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def _detach(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.line = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Low water 0: once writing is resumed, the kernel has all of it.
        self._transport.set_write_buffer_limits(HEAD_BYTES, 0)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            # Nobody asked for anything: an idle connection that speaks is of no use.
            if not self.closed:
                self._owner.retire(self)
                self.close()
            return
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep_alive = False
            if not exchange.complete:
                self._fail(self._failure or self._malformed(str(error)))
                return
        if exchange.complete:
            self._end(exchange)
        elif self._quiet > HEAD_BYTES or len(self._lines) > HEAD_COUNT:
            self._fail(self._flood())
            return
        elif exchange.lingering is not None:
            exchange.parts.clear()
            if exchange.held > LINGER_BYTES:
                exchange.abort()
            return
        elif exchange.held > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        if exchange.status:
            exchange.wake()

    def eof_received(self) -> None:
        self._ended(None)
        # Not left to asyncio: its close() would wait for unsent bytes and TLS farewells.
        if self._transport is not None:
            asyncio.get_running_loop().call_soon(self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._transport = None
        del self._parser
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._exchange is not None:
            self._exchange.wake()

    # httptools' side

    def on_message_begin(self) -> None:
        exchange = self._exchange
        if exchange is None or exchange.complete:
            self._keep_alive = False
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        exchange, lines = self._exchange, self._lines
        assert exchange is not None
        self._lines = []
        if self._quiet > HEAD_BYTES or len(lines) > HEAD_COUNT:
            self._check_size(lines)
        headers = {name.lower(): value for name, value in lines}
        if len(headers) != len(lines):
            headers = _joined(lines)
        status = self._parser.get_status_code()
        if status < 200 or status > 599:
            if status == 101 or not 100 <= status < 200:
                self._stop(self._malformed(f"status {status} was not asked for"))
            # One without a header line counts too, so that they can not go on for ever.
            self._interim += 1 + len(lines)
            if self._interim > HEAD_COUNT:
                self._stop(self._flood())
            return
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            self._stop(self._malformed("it has a transfer-encoding other than chunked"))
        coding = headers.get(b"content-encoding")
        if coding is not None and not self._head_only:
            try:
                exchange.decoder = decoder_for(coding)
            except UpstreamBroken as error:
                self._stop(error)
        exchange.headers = headers
        exchange.status = status
        self._quiet = self._interim = 0
        if self._head_only:
            self._keep_alive = self._parser.should_keep_alive()
            exchange.complete = True

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.complete:
            self._keep_alive = False
            raise _Stop
        if not exchange.status:
            self._stop(self._malformed("a 1xx has a body"))
        self._quiet = 0
        exchange.parts.append(data)
        exchange.held += len(data)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.status and not exchange.complete:
            exchange.complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def _check_size(self, lines: list[tuple[bytes, bytes]]) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in lines)
        if size > HEAD_BYTES or len(lines) > HEAD_COUNT:
            self._stop(self._flood())

    # how it ends

    def _end(self, exchange: HttpExchange) -> None:
        """The response is whole: from here on the exchange and the connection go their own ways."""
        self._exchange = exchange.line = None
        if exchange.lingering is not None:
            exchange.stop_lingering()
        if self._head_only:
            # httptools can not be told that no body follows, and now waits for one.
            self._parser = httptools.HttpResponseParser(self)
        # Not sent whole: the rest would be read as the next request.
        if self._keep_alive and exchange.sent and not self.closed:
            if self._reading_paused:
                self.resume()
            if self._lines:
                self._lines = []
            self._owner.release(self)
        else:
            self.close()

    def _ended(self, exc: Exception | None) -> None:
        """The peer is gone, cleanly or not."""
        exchange, self._exchange = self._exchange, None
        if not self.closed:
            self.closed = True
            if exchange is None:
                self._owner.retire(self)
        if exchange is None:
            return
        exchange.line = None
        exchange.stop_lingering()
        if exchange.status:
            if exc is None and exchange.until_close():
                exchange.complete = True
            else:
                how = "reset" if exc is not None else "closed"
                exchange.error = UpstreamBroken(
                    f"{self._who} {how} the connection in the middle of its answer.",
                    code="body_cut",
                    sent=exchange.sent,
                )
        elif exc is not None:
            exchange.error = UpstreamBroken(
                f"{self._who} reset the connection before it answered.", code="upstream_reset", sent=exchange.sent
            )
        else:
            exchange.error = UpstreamBroken(
                f"{self._who} closed the connection before it answered.", code="upstream_closed", sent=exchange.sent
            )
        exchange.wake()

    def _fail(self, error: UpstreamBroken) -> None:
        exchange = self._exchange
        if exchange is not None:
            error.sent = exchange.sent
            exchange.error = error
            exchange.stop_lingering()
            self._detach()
            self.close()
            exchange.wake()

    def _stop(self, error: UpstreamBroken) -> None:
        self._failure = error
        raise _Stop

    def _malformed(self, what: str) -> UpstreamBroken:
        return UpstreamBroken(f"{self._who} sent a malformed HTTP response: {what}.", code="malformed_response")

    def _flood(self) -> UpstreamBroken:
        return UpstreamBroken(
            f"{self._who} sent more than {HEAD_COUNT} header lines or {HEAD_BYTES} bytes of them.",
            code="headers_too_large",
        )


def _joined(lines: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Returns headers of which some come more than once, their values joined (RFC 9110 5.3)."""
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        name = name.lower()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers
