"""uvicorn's HTTP protocol with bounds that it lacks: on the size of a request head, and on the time it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from headgate.server.respond import RESPOND

HEAD_SECONDS = 10.0

_BODY = (
    b'{"error":{"message":"The request head is too large.","type":"invalid_request_error","code":"headers_too_large"}}'
)
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class BoundedProtocol(HttpToolsProtocol):
    """One client connection: a head over its limits, or slower than 10 seconds, ends it."""

    head_limit = 64 * 1024
    head_count = 100
    _head_done = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_done = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_done = True
        super().on_headers_complete()
        # The application's task has not run yet: it finds this in its scope.
        self.scope["extensions"] = cast(Any, {RESPOND: partial(_respond, self.cycle)})

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_done:
            if self._head_timer is not None:
                self._stop_timer()
            self._head_bytes = 0
            return
        # Only a head that is not whole yet gets here: rare, so this may cost a little.
        self._head_bytes += len(data)
        if self._head_bytes > self.head_limit and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self.head_count:
            raise ValueError(f"more than {self.head_count} request headers")
        super().on_header(name, value)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._head_done and not self.transport.is_closing():
            self.transport.close()


def _respond(cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Sends a whole response in one write; False where it has to wait for the client, and ``send`` must be used.

    What ASGI's two messages do in uvicorn, without their checks: the headers are our own and known to be clean. One
    system call less a request.
    """
    if cycle.response_started or cycle.flow.write_paused:
        return False
    if cycle.disconnected:
        return True
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [STATUS_LINE[status]]
    for header in headers:
        lines.append(b"%b: %b\r\n" % header)
        if header[0] == b"connection":
            cycle.keep_alive = False
    lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
    if cycle.scope["method"] != "HEAD":
        lines.append(body)
    cycle.transport.write(b"".join(lines))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def bounded_protocol(limit: int, count: int) -> type[BoundedProtocol]:
    """Returns the protocol class for ``uvicorn.Config(http=...)``.

    Args:
        limit: bytes that a request head may have.
        count: headers that it may have.
    """
    return type("BoundedProtocol", (BoundedProtocol,), {"head_limit": limit, "head_count": count})
