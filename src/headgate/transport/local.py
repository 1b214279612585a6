"""LocalTransport: the ``Transport`` port over an application in this process, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from headgate.core.errors import HeadgateError, UpstreamBroken
from headgate.transport.pool import MAX_BODY

T = TypeVar("T")


class LocalBody(Protocol):
    """A body that comes in pieces. A class with these methods, not an async generator."""

    async def __anext__(self) -> bytes:
        """Returns the next piece; raises StopAsyncIteration at the end, a HeadgateError for a broken one."""

    async def aclose(self) -> None:
        """Gives up; not called after the end or an error."""


class LocalResponse:
    """What a local application answers: ``status``, ``headers`` (lower-case names), ``body`` whole or in pieces."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], body: bytes | LocalBody) -> None:
        self.status = status
        self.headers = headers
        self.body = body


LocalApp = Callable[[str, bytes, Mapping[bytes, bytes], bytes], Awaitable[LocalResponse]]
"""``async (method, target, headers, body) -> LocalResponse``; a HeadgateError that it raises, ``send`` raises."""


class LocalTransport:
    """Serves each request by a call of ``app``. An abort, or the caller's cancellation, cancels that call."""

    def __init__(self, app: LocalApp, *, max_body: int = MAX_BODY) -> None:
        """Args:
        app: the application.
        max_body: cap on a response body that is taken whole (bytes).
        """
        self._app = app
        self._max_body = max_body
        self._open: set[LocalExchange] = set()
        self._closings: set[asyncio.Task[None]] = set()

    async def send(
        self,
        method: str,
        target: bytes,
        headers: bytes,
        body: bytes,
        *,
        connect_timeout: float,
        on_abort: Callable[[Callable[[HeadgateError], None]], None] | None = None,
    ) -> LocalExchange:
        """See ``core.ports.Transport.send``; there is nothing to connect, so no time is bounded here."""
        exchange = LocalExchange(self._max_body, self._open, self._closings)
        if on_abort is not None:
            on_abort(exchange.abort)
        if exchange.error is not None:
            raise exchange.error
        fields = {b"host": b"local", b"content-length": b"%d" % len(body)}
        for line in headers.split(b"\r\n"):
            name, found, value = line.partition(b":")
            if found:
                fields[name.strip().lower()] = value.strip()
        exchange.sent = True
        exchange.stage = "waiting"
        response = await exchange.attend(self._app(method, target, fields, body))
        exchange.begin(response)
        if exchange.error is not None:
            raise exchange.error
        return exchange

    async def aclose(self) -> None:
        """Aborts what is under way and waits until its bodies are closed."""
        for exchange in list(self._open):
            exchange.abort()
        while self._closings:
            await asyncio.wait(self._closings)


class LocalExchange:
    """An ``Exchange`` and a ``Pending`` over a ``LocalResponse``."""

    __slots__ = (
        "_body",
        "_closings",
        "_limit",
        "_open",
        "_task",
        "_whole",
        "error",
        "headers",
        "reused",
        "sent",
        "stage",
        "status",
    )

    def __init__(self, limit: int, open_: set[LocalExchange], closings: set[asyncio.Task[None]]) -> None:
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self.reused = False
        self.stage = "connecting"
        self.sent = False
        self.error: HeadgateError | None = None
        self._limit = limit
        self._open = open_
        self._closings = closings
        self._whole = b""
        self._body: LocalBody | None = None
        self._task: asyncio.Task[object] | None = None

    def begin(self, response: LocalResponse) -> None:
        """Takes the application's answer."""
        self.status = response.status
        self.headers = response.headers
        if isinstance(response.body, bytes):
            self._whole = response.body
            return
        self._body = response.body
        self._open.add(self)
        if self.error is not None:
            self._give_up()

    async def read(self) -> bytes:
        """See ``core.ports.Exchange.read``."""
        if self.error is not None:
            raise self.error
        if self._whole:
            data, self._whole = self._whole, b""
            return data
        while (body := self._body) is not None:
            try:
                data = await self.attend(body.__anext__())
            except StopAsyncIteration:
                self._forget()
                break
            except asyncio.CancelledError:
                self.abort()
                self._give_up()
                raise
            except HeadgateError:
                # Aborted from outside: the body knows nothing of it yet. Its own error: it has ended.
                self._give_up() if self.error is not None else self._forget()
                raise
            if self.error is not None:
                self._give_up()
                raise self.error
            if data:
                return data
        return b""

    async def read_all(self, limit: int) -> bytes:
        """See ``core.ports.Exchange.read_all``."""
        limit = min(limit, self._limit)
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._too_large(limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """See ``core.ports.Exchange.finish``; a body that is not at its end is closed."""
        self._whole = b""
        if self._task is None:
            self._give_up()

    def abort(self, error: HeadgateError | None = None) -> None:
        """See ``core.ports.Exchange.abort``. Sets ``error.sent``: a local request is sent as soon as it is made."""
        if self.error is not None or (self.status and self._body is None and not self._whole):
            return
        if error is None:
            error = UpstreamBroken("The request was given up here.", code="aborted", fault="gateway")
        if self.sent:
            error.sent = True
        self.error = error
        self._whole = b""
        if self._task is None:
            self._give_up()
        elif self._task is not asyncio.current_task():
            self._task.cancel()

    async def attend(self, work: Awaitable[T]) -> T:
        """Awaits the application's work; an abort meanwhile cancels it and raises the abort's error."""
        if self._task is not None:
            raise RuntimeError("two tasks read one exchange")
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._task = task
        try:
            return await work
        except asyncio.CancelledError:
            # As asyncio.timeout does: only if the cancellation was our own is it turned into the error.
            if self.error is not None and task.uncancel() <= cancelling:
                raise self.error from None
            raise
        except (HeadgateError, StopAsyncIteration):
            raise
        except Exception as error:
            raise UpstreamBroken(
                f"The local application failed: {type(error).__name__}.", code="upstream_broken", sent=True
            ) from error
        finally:
            self._task = None

    def _too_large(self, limit: int) -> UpstreamBroken:
        error = UpstreamBroken(
            f"The upstream's body is over the {limit} bytes allowed.", code="response_too_large", sent=self.sent
        )
        self.abort(error)
        self.error = error
        return error

    def _forget(self) -> None:
        self._body = None
        self._open.discard(self)

    def _give_up(self) -> None:
        """Closes the body, in a task of its own: this may be called from anywhere."""
        body = self._body
        if body is not None:
            self._forget()
            task = asyncio.get_running_loop().create_task(_close(body))
            self._closings.add(task)
            task.add_done_callback(self._closings.discard)


async def _close(body: LocalBody) -> None:
    await body.aclose()
