"""One connection of the simulator: HTTP/1.1 in by httptools, plays out, byte by byte where a fault wants it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import httptools

from headgate.sim.http import CONTINUE, answer_control, render_head
from headgate.sim.play import Act, Answer, Piece
from headgate.sim.refusal import refuse
from headgate.sim.wheel import TICK

if TYPE_CHECKING:
    from headgate.sim.server import SimServer

BODY_CAP = 64 * 1024 * 1024
_HEADERS_CAP = 64 * 1024
_BATCH = 64 * 1024
_RST = struct.pack("ii", 1, 0)
_LOOPBACK = ("127.", "::1", "::ffff:127.")


class Connection(asyncio.Protocol):
    """Reads requests, performs their answers one after the other.

    The request under way and its play are state of this object; the wheel calls ``_advance`` when the next
    piece is due, and so does the transport when it can take bytes again.
    """

    def __init__(self, server: SimServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[str, str, dict[bytes, bytes], bytes, bool]] = deque()
        self._steps: Iterator[Piece] | None = None
        self._next: Piece | None = None
        self._answer: Answer | None = None
        self._timer: tuple[int, int] | None = None
        self._keep = self._paused = self._chunked = False
        self._counted = self._local = False
        self._began = 0.0
        self._clear()

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection is open (its TLS handshake done)."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of asyncio's
        self._server.opened(self)
        peer = transport.get_extra_info("peername")
        self._local = not isinstance(peer, tuple) or str(peer[0]).startswith(_LOOPBACK)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a call under way counts as cancelled."""
        self._transport = None
        self._waiting.clear()
        self._finish(completed=False)
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Request bytes came in."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.close()
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self._transport.close()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._steps is not None and self._timer is None:
            self._advance()

    # httptools
    def on_message_begin(self) -> None:
        """A request begins."""
        self._clear()

    def on_url(self, url: bytes) -> None:
        """A part of the target came."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came whole."""
        self._size += len(name) + len(value)
        if self._size > _HEADERS_CAP:
            raise ValueError("headers too large")
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The request head is whole."""
        if b"expect" in self._headers and self._transport is not None:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        self._size += len(body)
        if self._size <= BODY_CAP:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it, or queue it behind the one under way."""
        body = b"".join(self._body) if self._size <= BODY_CAP else None
        path = self._url.partition(b"?")[0].decode("latin-1")
        method = self._parser.get_method().decode("latin-1")
        keep = self._parser.should_keep_alive()
        if body is None:
            self._begin(refuse("openai", 413), keep=False)
        elif self._answer is not None or self._waiting:
            self._waiting.append((method, path, self._headers, body, keep))
        else:
            self._dispatch(method, path, self._headers, body, keep)

    def close(self) -> None:
        """Resets the connection."""
        self._reset()

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0

    def _dispatch(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes, keep: bool) -> None:
        sim = self._server.sim
        if path.startswith("/sim/"):
            self._begin(answer_control(sim, method, path, headers, body, self._local), keep)
            return
        answer = sim.answer(method, path, headers, body)
        self._counted = True
        if answer.hit is not None:
            self._server.hit(answer.hit, answer.hit_s)
        self._begin(answer, keep)

    def _begin(self, answer: Answer, keep: bool) -> None:
        self._answer, self._keep = answer, keep
        if answer.body is not None and answer.at <= 0 and self._transport is not None:
            self._transport.write(render_head(answer, keep) + answer.body)
            self._done()
            return
        self._began = self._server.loop.time()
        self._chunked = answer.announced is None
        self._steps = answer.steps()
        self._next = next(self._steps, None)
        self._advance()

    def _advance(self) -> None:
        """Performs every piece that is due, then waits for the next one."""
        self._timer = None
        steps, piece, transport = self._steps, self._next, self._transport
        if steps is None or transport is None or self._answer is None:
            return
        elapsed = self._server.loop.time() - self._began + TICK / 2
        out: list[bytes] = []
        size = 0
        while piece is not None and piece.at <= elapsed and size < _BATCH:
            act, data = piece.act, piece.data
            if act is Act.HEAD:
                data = render_head(self._answer, self._keep)
            elif act is Act.TORN_HEAD:
                data = render_head(self._answer, self._keep)[:40]
            elif act is Act.HANG or act is Act.RESET or act is Act.CLOSE:
                self._break(out, act)
                return
            elif self._chunked and act is not Act.RAW and data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            out.append(data)
            size += len(data)
            piece = next(steps, None)
        self._next = piece
        if piece is None:
            out.append(b"0\r\n\r\n" if self._chunked else b"")
            self._steps = None
        if out:
            transport.write(b"".join(out))
        if piece is None:
            self._done()
        elif not self._paused:
            self._timer = self._server.wheel.at(self._began + piece.at, self._advance)

    def _break(self, out: list[bytes], act: Act) -> None:
        transport = self._transport
        if out and transport is not None:
            transport.write(b"".join(out))
        self._steps = None
        if act is Act.HANG or transport is None:
            return
        self._finish(completed=True)
        if act is Act.RESET:
            self._reset()
        else:
            transport.close()

    def _reset(self) -> None:
        transport = self._transport
        if transport is None:
            return
        connected = transport.get_extra_info("socket")
        if connected is not None:
            # Lingering for zero seconds makes closing send an RST instead of a FIN.
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        transport.abort()

    def _done(self) -> None:
        self._finish(completed=True)
        if not self._keep and self._transport is not None:
            self._transport.close()
        elif self._waiting:
            self._server.loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Answers the next pipelined request."""
        if self._waiting and self._answer is None and self._transport is not None:
            self._dispatch(*self._waiting.popleft())

    def _finish(self, completed: bool) -> None:
        if self._timer is not None:
            self._server.wheel.cancel(self._timer)
            self._timer = None
        self._answer = self._steps = self._next = None
        if self._counted:
            self._counted = False
            self._server.sim.meter.end(completed)
