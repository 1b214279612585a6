"""uvicorn's HTTP protocol with bounds that it lacks: on a request head's size and time, one timer per connection."""

from __future__ import annotations

import asyncio

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
IDLE_SECONDS = 75.0

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
    _whole = False
    _bound: asyncio.TimerHandle | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._bound = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unbind()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_done = self._whole = False
        self._idle_since = 0.0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self.headers
        if len(headers) >= self.head_count:
            raise ValueError(f"more than {self.head_count} request headers")
        headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Makes uvicorn's ASGI scope, which only requests of its own kind need."""
        self._head_done = True
        self._head_bytes = 0
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, but for its keep-alive timer, which is not used here; and it looks at what is not whole yet."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
            return
        if not self._whole:
            self._partial(len(data))
        elif self._bound is not None:
            self._unbind()

    def _partial(self, size: int) -> None:
        """A request that did not come whole: rare, so this may cost a little."""
        if self._head_done:
            self._head_bytes = 0
            self._unbind()
            return
        self._head_bytes += size
        if self._head_bytes > self.head_limit and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._bound is None:
            self._bound = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its keep-alive timer per response."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(IDLE_SECONDS, self._check_idle)

    def _check_idle(self) -> None:
        self._idle_timer = None
        if self.transport.is_closing():
            return
        left = IDLE_SECONDS
        if self._idle_since:
            left = self._idle_since + IDLE_SECONDS - self.loop.time()
            if left <= 0.001:
                self.transport.close()
                return
        self._idle_timer = self.loop.call_later(left, self._check_idle)

    def _unbind(self) -> None:
        if self._bound is not None:
            self._bound.cancel()
            self._bound = None

    def _too_slow(self) -> None:
        self._bound = None
        if not self._head_done and not self.transport.is_closing():
            self.transport.close()
