"""The simulator in process: the same engine without sockets, for ``headgate serve``'s embedded models and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from headgate.core.errors import ConnectFailed, UpstreamBroken
from headgate.sim.behaviour import Behaviour
from headgate.sim.engine import Sim
from headgate.sim.play import Act, Answer, Hit, Piece

_RAISING = (Act.RESET, Act.CLOSE, Act.RAW, Act.TORN_HEAD)


class LocalResponse:
    """An answer in process.

    Attributes:
        status: HTTP status.
        headers: lower-case names.
        body: whole, or an async iterator of bytes with ``aclose``.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], body: bytes | LocalBody) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class LocalBody:
    """A body on its way; ends the call in the meter once exhausted, broken or closed."""

    __slots__ = ("_began", "_next", "_sim", "_steps")

    def __init__(self, sim: Sim, steps: Iterator[Piece], began: float) -> None:
        self._sim, self._began = sim, began
        self._steps: Iterator[Piece] | None = steps
        self._next = next(steps, None)

    def __aiter__(self) -> LocalBody:
        return self

    async def __anext__(self) -> bytes:
        """Returns all the bytes that are due, waiting for at least one.

        Raises:
            UpstreamBroken: the body is cut or malformed here.
        """
        if self._steps is None:
            raise StopAsyncIteration
        loop = asyncio.get_running_loop()
        out: list[bytes] = []
        while True:
            piece = self._next
            if piece is None:
                if out:
                    break
                self._end(completed=True)
                raise StopAsyncIteration
            wait = self._began + piece.at - loop.time()
            if out and (wait > 0 or piece.act in _RAISING or piece.act is Act.HANG):
                break
            if wait > 0:
                await asyncio.sleep(wait)
            if piece.act is Act.HANG:
                await asyncio.Event().wait()
            if piece.act in _RAISING:
                self._end(completed=True)
                raise UpstreamBroken(f"the simulated upstream broke off its answer ({piece.act.value})", sent=True)
            if self._steps is None:
                raise StopAsyncIteration
            if piece.data:
                out.append(piece.data)
            self._next = next(self._steps, None)
        return b"".join(out)

    async def aclose(self) -> None:
        """Gives the answer up. Idempotent."""
        self._end(completed=False)

    def _end(self, completed: bool) -> None:
        if self._steps is not None:
            self._steps = None
            self._sim.meter.end(completed)


class SimApp:
    """A simulated provider to call in process.

    Example:
        >>> import asyncio
        >>> body = b'{"model": "echo", "messages": [{"role": "user", "content": "hello"}]}'
        >>> asyncio.run(SimApp()("POST", b"/v1/chat/completions", {}, body)).status
        200
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.sim = Sim(behaviour)
        self._down_until = 0.0

    async def __call__(
        self, method: str, target: str | bytes, headers: Mapping[bytes, bytes], body: bytes
    ) -> LocalResponse:
        """Answers one request; returns once its response head is due.

        Args:
            method: ``"POST"``…
            target: path, with or without query.
            headers: lower-case names.
            body: whole.

        Raises:
            ConnectFailed: the fault is a refused connection or a failed TLS handshake.
            UpstreamBroken: the fault breaks the connection before or in the response head.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began < self._down_until or self.sim.scheduled("refuse") or self.sim.scheduled("tls-failure"):
            raise ConnectFailed("the simulated upstream refuses connections")
        path = (target.decode("latin-1") if isinstance(target, bytes) else target).partition("?")[0]
        answer = self.sim.answer(method, path, headers, body)
        if answer.body is not None and answer.at <= 0:
            self.sim.meter.end(True)
            return LocalResponse(answer.status, answer.headers, answer.body)
        if answer.hit is not None:
            self._down_until = began + answer.hit_s
            self.sim.meter.end(True)
            what = "refuses connections" if answer.hit is Hit.REFUSE else "fails the TLS handshake"
            raise ConnectFailed(f"the simulated upstream {what}")
        return await self._perform(answer, began)

    async def _perform(self, answer: Answer, began: float) -> LocalResponse:
        steps = answer.steps()
        completed = False
        try:
            head = next(steps)
            wait = began + head.at - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
            if head.act is Act.HANG:
                await asyncio.Event().wait()
            if head.act is not Act.HEAD:
                completed = True
                raise UpstreamBroken("the simulated upstream closed the connection before its answer", sent=True)
        except BaseException:
            self.sim.meter.end(completed)
            raise
        if answer.body is not None:
            self.sim.meter.end(True)
            return LocalResponse(answer.status, answer.headers, answer.body)
        return LocalResponse(answer.status, answer.headers, LocalBody(self.sim, steps, began))
