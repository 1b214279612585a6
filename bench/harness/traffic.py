"""Traffic: many calls on a schedule (open loop) over kept-alive connections, each answer judged.

Times count from the moment a call was meant to start, so a load generator that falls behind makes a gateway look
slower, never faster.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import httptools

from harness.judge import KINDS, Kind, has_content, judge

Wire = Literal["openai", "anthropic"]
_WORDS = ["river", "stone", "light", "cloud", "bread", "north", "seven", "paper", "green", "water", "glass", "garden"]
_PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
_DROP = struct.pack("ii", 1, 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """One call to make: the upstream repeats ``text``, so it is what the answer must say.

    Attributes:
        context: text that comes before it.
        max_tokens: that the answer may have; 0: the request says nothing.
        leave_s: the client goes away so many seconds after it asked; 0: it stays.
        headers: of this call alone.
    """

    text: str
    model: str = "echo"
    stream: bool = True
    wire: Wire = "openai"
    context: str = ""
    max_tokens: int = 0
    leave_s: float = 0.0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def body(self) -> bytes:
        """Returns the request's body."""
        ask: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": self.text}]}
        if self.context:
            ask["messages"][:0] = [
                {"role": "user", "content": self.context},
                {"role": "assistant", "content": "I see."},
            ]
        if self.max_tokens or self.wire == "anthropic":
            ask["max_tokens"] = self.max_tokens or 4096
        if self.stream:
            ask["stream"] = True
        return json.dumps(ask).encode()


@dataclasses.dataclass(slots=True)
class Result:
    """How one call went. Times in seconds from its intended start; -1: never happened."""

    ask: Ask
    kind: Kind = "untyped"
    why: str = ""
    status: int = 0
    at: float = 0.0
    first_s: float = -1.0
    total_s: float = -1.0
    id: str = ""
    attempts: int = 0


def words(count: int, chance: random.Random) -> str:
    """Returns so many words, one token each by the simulator's count."""
    return " ".join(chance.choice(_WORDS) for _ in range(count))


class Connection(asyncio.Protocol):
    """One client connection, one call at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.open = False
        self.idle_since = 0.0
        self._done: asyncio.Future[None] | None = None

    async def ask(self, head: bytes, body: bytes, result: Result, now: Callable[[], float]) -> tuple[bytes, bool]:
        """Sends a request; returns the answer's body and whether HTTP ended it well."""
        self._parser = httptools.HttpResponseParser(self)
        self._result, self._now, self._seen = result, now, b""
        self._body: list[bytes] = []
        self._whole = self._heard = False
        self._done = asyncio.get_running_loop().create_future()
        assert self.transport is not None
        self.transport.write(head + body)
        try:
            await self._done
        finally:
            self._done = None
        return b"".join(self._body), self._whole

    @property
    def unheard(self) -> bool:
        """Whether nothing of an answer came: a kept connection that its server had just closed."""
        return not self._heard

    def drop(self) -> None:
        """Goes away at once, as a client that is killed does."""
        if self.transport is not None:
            connected = self.transport.get_extra_info("socket")
            if connected is not None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
            self.transport.abort()
        self.open = False

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self.transport, self.open = transport, True  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone; a body without a length ends so."""
        self.open = False
        self._end()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._done is None:
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.open = False
            self.transport.close()  # type: ignore[union-attr]
            self._end()

    # httptools
    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps what the gateway says about the call."""
        lower = name.lower()
        if lower == b"x-headgate-id":
            self._result.id = value.decode()
        elif lower == b"x-headgate-attempts":
            self._result.attempts = int(value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._result.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body: looks for the first content in it."""
        self._body.append(data)
        if self._result.first_s < 0 and self._result.ask.stream:
            self._seen = self._seen[-200:] + data
            if has_content(self._seen):
                self._result.first_s = self._now()

    def on_message_complete(self) -> None:
        """HTTP says that it is whole."""
        self._whole = True
        if not self._parser.should_keep_alive():
            self.open = False
            self.transport.close()  # type: ignore[union-attr]
        self._end()

    def _end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class Traffic:
    """Calls to one gateway.

    Attributes:
        results: of every call that has ended, in that order.
        live: calls under way.
    """

    def __init__(self, port: int, headers: Mapping[str, str], *, bound_s: float = 60.0) -> None:
        """Args:
        port: of the gateway, on loopback.
        headers: sent with each call.
        bound_s: a call that has not ended after so many seconds is hung.
        """
        self.port, self.headers, self.bound_s = port, headers, bound_s
        self.results: list[Result] = []
        self.live = 0
        self._idle: list[Connection] = []

    async def play(self, schedule: Iterable[tuple[float, Ask]]) -> list[Result]:
        """Makes calls at their times (seconds from now), whatever the answers take; returns the results."""
        loop = asyncio.get_running_loop()
        start, tasks = loop.time(), set()
        first = len(self.results)
        for at, ask in schedule:
            wait = start + at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            task = loop.create_task(self.call(ask, intended=start + at, at=at))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return self.results[first:]

    async def repeat(self, asks: Sequence[Ask], clients: int) -> list[Result]:
        """Makes the calls by so many clients, each one call after the other (closed loop)."""
        queue, first = iter(asks), len(self.results)

        async def client() -> None:
            for ask in queue:
                await self.call(ask)

        await asyncio.gather(*(client() for _ in range(clients)))
        return self.results[first:]

    async def call(self, ask: Ask, *, intended: float | None = None, at: float = 0.0) -> Result:
        """Makes one call to its end and judges it."""
        loop = asyncio.get_running_loop()
        start = loop.time() if intended is None else intended
        result = Result(ask, at=at)
        self.live += 1
        bound = ask.leave_s or self.bound_s
        try:
            async with asyncio.timeout_at(start + bound):
                await self._ask(result, lambda: loop.time() - start)
        except TimeoutError:
            result.kind, result.why = ("left", "") if ask.leave_s else ("hung", f"{result.status or 'no head'}")
        except OSError as error:
            result.kind, result.why = "untyped", type(error).__name__
        finally:
            self.live -= 1
        result.total_s = loop.time() - start
        if not ask.stream and result.kind == "whole":
            result.first_s = result.total_s
        self.results.append(result)
        return result

    async def _ask(self, result: Result, now: Callable[[], float]) -> None:
        ask = result.ask
        body = ask.body()
        head = self._head(ask, len(body))
        while True:
            connection, old = await self._connect()
            try:
                data, clean = await connection.ask(head, body, result, now)
            except BaseException:
                connection.drop()
                raise
            if old and connection.unheard:
                continue  # its server closed it just now, as it may
            break
        if connection.open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        result.kind, result.why = judge(result.status, data, stream=ask.stream, clean=clean, expected=ask.text)

    async def _connect(self) -> tuple[Connection, bool]:
        """Returns a connection, and whether it has been idle for so long that its server may close it any moment."""
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection, loop.time() - connection.idle_since > 1.0
        _, made = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return made, False

    def _head(self, ask: Ask, length: int) -> bytes:
        headers = {"content-type": "application/json", **self.headers, **ask.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        host = f"POST {_PATHS[ask.wire]} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
        return f"{host}{lines}content-length: {length}\r\n\r\n".encode()

    def close(self) -> None:
        """Closes the connections that are idle."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        self._idle.clear()


def quantile(values: Sequence[float], part: float) -> float:
    """Returns the value that ``part`` (0..1) of the values are at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


def count_kinds(results: Sequence[Result]) -> dict[str, int]:
    """Returns how many results are of each kind that occurs."""
    found = Counter(result.kind for result in results)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def reasons(results: Sequence[Result], *, most: int = 12) -> dict[str, int]:
    """Returns why calls were not whole, the most frequent first."""
    found = Counter(f"{r.kind}: {r.why}" for r in results if r.kind not in ("whole", "left"))
    return dict(found.most_common(most))


def run(main: Awaitable[Any]) -> Any:
    """Runs a coroutine on uvloop where there is one: the load must cost little."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)  # type: ignore[arg-type]
    return uvloop.run(main)  # type: ignore[arg-type]
