"""The hot path's own way through uvicorn: model calls without ASGI's scope, messages and task per request.

uvicorn listens, drains and parses; a POST to a path of the data plane is then carried by a ``NativeCaller`` on one
task per connection, everything else by uvicorn's own ASGI cycle (ADR 0005).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from headgate.core.call import Settlement
from headgate.core.errors import HeadgateError
from headgate.core.outbox import Outbox
from headgate.dialects.base import Dialect
from headgate.server.app import App, slow_body
from headgate.server.caller import Caller, Head, too_large
from headgate.server.protocol import BoundedProtocol
from headgate.server.respond import render_error

_log = logging.getLogger("headgate.server")
_CLOSE = b"connection: close\r\n"
_DROP = struct.pack("ii", 1, 0)
_SMALL = 64 * 1024
"""Bytes below which the last write of a response is left to the system's buffers: nobody waits for the client."""


class NativeCaller(Caller):
    """A Caller on a GateProtocol; stands where uvicorn expects its own request cycle."""

    __slots__ = (
        "_chunked",
        "_gone",
        "_head",
        "_parts",
        "_posted",
        "_protocol",
        "_size",
        "complete",
        "dialect",
        "disconnected",
        "keep_alive",
        "refusal",
        "response_complete",
        "started",
    )

    def __init__(self, protocol: GateProtocol, dialect: Dialect, keep_alive: bool, chunked: bool) -> None:
        self.headers = dict(protocol.headers)
        self.peer = protocol.peer
        self.dialect = dialect
        self.keep_alive = keep_alive
        self.complete = False
        self.disconnected = False
        self.refusal: HeadgateError | None = None
        self.response_complete = False
        self.started = False
        self._protocol = protocol
        self._chunked = chunked
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._gone: Callable[[], None] | None = None
        self._posted = False

    # what uvicorn's protocol asks of a cycle

    @property
    def message_event(self) -> NativeCaller:
        """uvicorn sets this when the connection is lost."""
        return self

    def set(self) -> None:
        """The connection is lost, or its state has changed."""
        if self.disconnected and self._gone is not None:
            gone, self._gone = self._gone, None
            gone()

    # the request

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The connection's one task: no need to ask the loop."""
        return self._protocol._runner

    def feed(self, data: bytes, limit: int) -> bool:
        """Takes a piece of the body; False where it has grown over ``limit``."""
        self._parts.append(data)
        self._size += len(data)
        return self._size <= limit

    async def body(self, limit: int) -> bytes:
        """See ``Caller.body``; it has come whole, and within the limit, before anybody can ask."""
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # the response

    async def whole(
        self, status: int, head: Head, body: bytes, *, close: bool = False, after: Settlement | None = None
    ) -> None:
        """See ``Caller.whole``; one write, one system call."""
        if close:
            self.keep_alive = False
        ending = b"" if self.keep_alive else _CLOSE
        data = b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], head, ending, len(body), body)
        await self._last(data, after)

    async def _last(self, data: bytes, after: Settlement | None) -> None:
        """Sends what ends the response. Small ones need nobody to wait: they go out when ``after`` settles."""
        if after is not None and not after.done:
            if len(data) < _SMALL:
                after.then(partial(self._send_last, data))
                return
            await after
        if len(data) < _SMALL:
            self._send_last(data)
            return
        if self.disconnected or self.response_complete:
            return
        protocol = self._protocol
        if self._posted:
            await asyncio.sleep(0)
        if protocol.transport.is_closing():
            return
        protocol.transport.write(data)
        if protocol.flow.write_paused:
            await protocol.flow.drain()
        self._finish()

    def _put(self, data: bytes) -> None:
        transport = self._protocol.transport
        # uvloop raises for a transport that has been aborted but not yet said so.
        if not self.disconnected and not self.response_complete and not transport.is_closing():
            transport.write(data)

    def _send_last(self, data: bytes) -> None:
        if self._posted:
            # What was posted before goes out before.
            self._posted = False
            self._protocol.outbox.post(self._send_last, data)
        elif not self.disconnected and not self.response_complete and not self._protocol.transport.is_closing():
            self._protocol.transport.write(data)
            self._finish()

    def refuse(self, status: int, head: Head, body: bytes) -> None:
        """Sends a whole small response and ends the connection, without waiting for anything."""
        self.keep_alive = False
        self._send_last(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], head, _CLOSE, len(body), body))

    async def start(self, status: int, head: Head) -> None:
        """See ``Caller.start``; the head goes out with the first piece."""
        if not self._chunked:
            self.keep_alive = False
        ending = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self._head = b"%b%b%b%b" % (STATUS_LINE[status], head, b"" if self.keep_alive else _CLOSE, ending)

    async def write(self, data: bytes) -> None:
        """See ``Caller.write``."""
        if self.disconnected or not data:
            return
        protocol = self._protocol
        data = b"%b%x\r\n%b\r\n" % (self._head, len(data), data) if self._chunked else self._head + data
        self._head = b""
        self._posted = True
        protocol.outbox.post(self._put, data)
        if protocol.flow.write_paused:
            await protocol.flow.drain()

    async def end(self, data: bytes, after: Settlement | None = None) -> None:
        """See ``Caller.end``."""
        if self._chunked:
            data = b"%b%x\r\n%b\r\n0\r\n\r\n" % (self._head, len(data), data) if data else self._head + b"0\r\n\r\n"
        else:
            data = self._head + data
        self._head = b""
        await self._last(data, after)

    def abort(self) -> None:
        """See ``Caller.abort``; what the client has not taken is dropped, not left to the system to deliver."""
        connection = self._protocol.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
        self._protocol.transport.abort()

    def watch(self, on_gone: Callable[[], None]) -> None:
        """See ``Caller.watch``."""
        if self.disconnected:
            on_gone()
        else:
            self._gone = on_gone

    def unwatch(self) -> None:
        """See ``Caller.unwatch``."""
        self._gone = None

    def _finish(self) -> None:
        if self.disconnected:
            return
        self.response_complete = True
        if not self.keep_alive:
            self._protocol.transport.close()
        self._protocol.on_response_complete()


class GateProtocol(BoundedProtocol):
    """One client connection of the gateway's own server."""

    app_native: App
    outbox: Outbox

    _runner: asyncio.Task[None] | None = None
    _next: NativeCaller | None = None
    _serving: NativeCaller | None = None
    _wake: asyncio.Future[None] | None = None
    _body_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else "127.0.0.1"
        if not hasattr(self, "outbox"):
            type(self).outbox = Outbox(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_body_timer()
        self.pipeline.clear()
        # uvicorn tells the request that came last, not the one under way before it.
        serving = self._serving
        if serving is not None and not serving.response_complete:
            serving.disconnected = True
            serving.set()
        super().connection_lost(exc)
        if self._runner is not None and self._next is None and self._wake is not None:
            self._runner.cancel()

    def on_headers_complete(self) -> None:
        dialect = self.app_native.dialect_at(self.url) if self.parser.get_method() == b"POST" else None
        if dialect is None or self.parser.should_upgrade() or self.root_path:
            super().on_headers_complete()
            return
        self._head_done = True
        self._head_bytes = 0
        chunked = self.parser.get_http_version() != "1.0"
        caller = NativeCaller(self, dialect, chunked and self.parser.should_keep_alive(), chunked)
        existing = self.cycle
        self.cycle = cast(Any, caller)
        if existing is None or existing.response_complete:
            caller.started = True
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cast(Any, caller), self.app))
        length = caller.headers.get(b"content-length")
        limits = self.app_native.limits
        if length is not None and int(length[:20]) > limits.body_bytes:
            self._refuse(caller, too_large(limits.body_bytes))
        elif b"expect" in caller.headers and caller.started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        caller: object = self.cycle
        if not isinstance(caller, NativeCaller):
            super().on_body(body)
            return
        limit = self.app_native.limits.body_bytes
        if not caller.response_complete and not caller.feed(body, limit):
            self._refuse(caller, too_large(limit))

    def on_message_complete(self) -> None:
        caller: object = self.cycle
        if not isinstance(caller, NativeCaller):
            super().on_message_complete()
            return
        self._whole = caller.complete = True
        if self._body_timer is not None:
            self._stop_body_timer()
        if caller.started and not caller.response_complete:
            self._begin(caller)

    def _partial(self, size: int) -> None:
        super()._partial(size)
        caller: object = self.cycle
        native = self._head_done and isinstance(caller, NativeCaller) and not caller.response_complete
        if native and self._body_timer is None:
            self._body_timer = self.loop.call_later(self.app_native.limits.body, self._too_slow_body)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """uvicorn starts the next request of a pipeline."""
        if not isinstance(cycle, NativeCaller):
            super()._start_asgi_task(cycle, app)
            return
        cycle.started = True
        if cycle.refusal is not None:
            self._refuse(cycle, cycle.refusal)
        elif cycle.complete:
            self._begin(cycle)

    def _begin(self, caller: NativeCaller) -> None:
        self._next = caller
        if self._runner is None:
            self._runner = self.loop.create_task(self._run())
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _run(self) -> None:
        """Serves the connection's model calls, one after the other."""
        while not self.transport.is_closing():
            caller, self._next = self._next, None
            if caller is None:
                self._wake = self.loop.create_future()
                await self._wake
                self._wake = None
                continue
            self._serving = caller
            try:
                await self.app_native.serve(caller, caller.dialect)
            except Exception:
                _log.exception("a request failed inside the server")
                self.transport.abort()
                return
            except asyncio.CancelledError:
                # Whoever cancelled it, nothing would read this connection any more.
                self.transport.abort()
                raise

    def _refuse(self, caller: NativeCaller, error: HeadgateError) -> None:
        """Answers before the request is whole, and ends the connection."""
        self._stop_body_timer()
        if not caller.started:
            # Another answer is under way: nothing may be written into it.
            caller.refusal = error
            return
        caller.refuse(*render_error(error, caller.dialect))

    def _too_slow_body(self) -> None:
        self._body_timer = None
        caller: object = self.cycle
        if isinstance(caller, NativeCaller) and not caller.complete and not caller.response_complete:
            self._refuse(caller, slow_body())

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None


def protocol_for(app: App, head_limit: int, head_count: int) -> type[HttpToolsProtocol]:
    """Returns the protocol class for ``uvicorn.Config(http=...)``.

    Args:
        app: whose data plane is served natively.
        head_limit: bytes that a request head may have.
        head_count: headers that it may have.
    """
    return type(
        "GateProtocol",
        (GateProtocol,),
        {"app_native": app, "head_limit": head_limit, "head_count": head_count},
    )
