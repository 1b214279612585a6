"""Connections of the load: plain HTTP/1.1, kept alive, one call at a time; as many as there are calls under way."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import httptools

from headgate.load.answer import Answer

_IDLE_S = 1.0
"""A connection that has been idle for longer may be closed by its server any moment: then the call is sent again."""


class Wire(asyncio.Protocol):
    """One connection.

    Attributes:
        usable: whether another call can be sent on it.
        idle_since: on the loop's clock (s).
    """

    def __init__(self) -> None:
        self.usable = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._over: asyncio.Future[bool] | None = None
        self._heard = False

    async def exchange(self, request: bytes, answer: Answer) -> bool:
        """Sends a request and reads its answer to the end; False where nothing at all came back.

        Raises:
            ConnectionError: it broke off before the answer's head was whole.
        """
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._answer, self._heard = answer, False
        self._over = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            clean = await self._over
        finally:
            self._answer = self._over = None
        if not self._heard:
            return False
        if not answer.status:
            raise ConnectionResetError("no whole head came back")
        answer.end(clean)
        return True

    def drop(self) -> None:
        """Goes away."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self.usable = False
        self._end(clean=False)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._answer is None:
            self.drop()  # nobody asked for anything
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop()
            self._end(clean=False)

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps the gateway's id of the call."""
        if self._answer is not None and name.lower() == b"x-headgate-id":
            self._answer.id = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._answer is not None:
            self._answer.feed(data)

    def on_message_complete(self) -> None:
        """HTTP says that it is whole."""
        if self._answer is not None and self._answer.status == 100:
            return
        if not self._parser.should_keep_alive():
            self.drop()
        self._end(clean=True)

    def _end(self, *, clean: bool) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(clean)


class Wires:
    """The connections to one place, those that are idle first."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: list[Wire] = []

    async def exchange(self, request: bytes, answer: Answer) -> None:
        """Sends a request on an idle connection or a new one, and reads its answer to the end.

        Raises:
            OSError: there is no connection, or it broke off before the answer's head.
        """
        loop = asyncio.get_running_loop()
        while True:
            wire = self._take()
            old = wire is not None and loop.time() - wire.idle_since > _IDLE_S
            if wire is None:
                _, wire = await loop.create_connection(Wire, self._host, self._port, ssl=self._tls)
            try:
                heard = await wire.exchange(request, answer)
            except BaseException:
                wire.drop()
                raise
            if heard:
                break
            if not old:
                raise ConnectionResetError("closed without an answer")
        if wire.usable:
            wire.idle_since = loop.time()
            self._idle.append(wire)

    def _take(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if wire.usable:
                return wire
        return None

    def close(self) -> None:
        """Closes those that are idle."""
        for wire in self._idle:
            wire.drop()
        self._idle.clear()
