"""The Caller: one client's request and the way back to it, whatever server carries it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from headgate.core.call import Settlement
from headgate.core.errors import BadRequest

Head = bytes
"""Response header lines, each ending in CRLF, their values clean (see ``respond.clean``)."""

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Caller(ABC):
    """One request of one client.

    Attributes:
        headers: lower-case names; the last of a repeated one.
        peer: the client's address; ``"127.0.0.1"`` for a Unix socket, which only this machine can reach.
    """

    __slots__ = ("headers", "peer")

    headers: Mapping[bytes, bytes]
    peer: str

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that serves the request; to be asked in it."""
        return asyncio.current_task()

    @abstractmethod
    async def body(self, limit: int) -> bytes:
        """Returns the whole request body.

        Raises:
            BadRequest: over ``limit`` bytes, or the client left before its end.
        """

    @abstractmethod
    async def whole(
        self, status: int, head: Head, body: bytes, *, close: bool = False, after: Settlement | None = None
    ) -> None:
        """Sends a whole response; content-length is added.

        Args:
            status: HTTP status.
            head: header lines.
            body: the whole body.
            close: whether the connection ends with it.
            after: it goes out only once this has settled; the caller may be told of it later than this returns.
        """

    @abstractmethod
    async def start(self, status: int, head: Head) -> None:
        """Begins a streamed response."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Sends more of it; waits while the client takes nothing."""

    @abstractmethod
    async def end(self, data: bytes, after: Settlement | None = None) -> None:
        """Sends the last of it and closes the body cleanly; ``after`` as in ``whole``."""

    @abstractmethod
    def abort(self) -> None:
        """Gives the client up, where the server allows that: it does not take what it is sent."""

    @abstractmethod
    def watch(self, on_gone: Callable[[], None]) -> None:
        """Calls ``on_gone`` when the client leaves before the response is complete; at once if it has left."""

    @abstractmethod
    def unwatch(self) -> None:
        """Ends that."""


class AsgiCaller(Caller):
    """A Caller over ASGI's ``receive`` and ``send``: for any ASGI server."""

    __slots__ = ("_receive", "_send", "_watcher")

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        client = scope.get("client")
        self.headers = dict(scope["headers"])
        self.peer = client[0] if client else "127.0.0.1"
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None

    async def body(self, limit: int) -> bytes:
        """See ``Caller.body``."""
        length = self.headers.get(b"content-length")
        if length is not None and len(length) < 20 and int(length) > limit:
            raise too_large(limit)
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise BadRequest("The client left before the request was whole.", code="body_cut")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise too_large(limit)
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def whole(
        self, status: int, head: Head, body: bytes, *, close: bool = False, after: Settlement | None = None
    ) -> None:
        """See ``Caller.whole``."""
        if after is not None:
            await after
        ending = b"connection: close\r\n" if close else b""
        await self.start(status, b"%bcontent-length: %d\r\n%b" % (head, len(body), ending))
        await self.end(body)

    async def start(self, status: int, head: Head) -> None:
        """See ``Caller.start``."""
        lines = (line.partition(b": ") for line in head.split(b"\r\n") if line)
        headers = [(name, value) for name, _, value in lines]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """See ``Caller.write``."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes, after: Settlement | None = None) -> None:
        """See ``Caller.end``."""
        if after is not None:
            await after
        await self._send({"type": "http.response.body", "body": data})

    def abort(self) -> None:
        """See ``Caller.abort``. ASGI has no word for it: an answer that is left incomplete makes the server do it."""

    def watch(self, on_gone: Callable[[], None]) -> None:
        """See ``Caller.watch``. Only once the body is in: from then on nothing else can arrive."""
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._wait(on_gone))

    def unwatch(self) -> None:
        """See ``Caller.unwatch``."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait(self, on_gone: Callable[[], None]) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return on_gone()


def too_large(limit: int) -> BadRequest:
    """Returns the error for a body over ``limit`` bytes."""
    return BadRequest(f"The request body is larger than {limit} bytes.", code="body_too_large")
