"""Stream: a streamed answer in the library, as a context manager over frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import NoReturn

from headgate.client.answer import Answer, Folder
from headgate.core.call import Call
from headgate.core.errors import HeadgateError
from headgate.core.event import Frame, TextDelta
from headgate.core.reply import Reply

_HOW = "a stream is used as `async with gateway.stream(...) as frames`"


class Stream:
    """A streamed answer, as ``async with gateway.stream(...) as frames`` gives it.

    Iterating gives frames; ``text()`` gives only the visible text. Leaving the block early stops the upstream
    at once; a stream that is dropped without leaving its block is ended by a finalizer.
    """

    def __init__(self, call: Call, handle: Callable[[Call], Awaitable[Reply]]) -> None:
        self._call = call
        self._handle = handle
        self._reply: Reply | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._folder = Folder(call)

    async def __aenter__(self) -> Stream:
        """Sends the request; returns once the first content is in hand.

        Raises:
            HeadgateError: no deployment has begun an answer.
        """
        self._loop = asyncio.get_running_loop()
        try:
            self._reply = await self._handle(self._call)
        except HeadgateError as error:
            error.call_id = self._call.id
            await self._settled()
            raise
        except BaseException:
            await self._settled()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the answer now; the upstream is stopped. Does nothing after the end."""
        if self._reply is not None:
            await self._reply.aclose()
        await self._settled()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Frame:
        if self._reply is None:
            raise RuntimeError(_HOW)
        try:
            frame = await self._reply.__anext__()
        except HeadgateError as error:
            error.call_id = self._call.id
            raise
        self._folder.feed((frame,))
        return frame

    def text(self) -> AsyncIterator[str]:
        """Iterates over the visible text of the first choice, piece by piece."""
        return _Text(self)

    @property
    def id(self) -> str:
        """The call's id; ``headgate record ID`` tells its whole story."""
        return self._call.id

    def answer(self) -> Answer:
        """Returns the answer so far; whole once the iteration has ended."""
        return self._folder.answer()

    def __del__(self) -> None:
        reply, loop = self._reply, self._loop
        if reply is None or reply.ended or loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(_end_later, reply)

    async def _settled(self) -> None:
        settle, self._call.settle = self._call.settle, None
        if settle is not None:
            await settle


class Opening:
    """What ``Gateway.stream`` returns: ``async with`` sends the request and gives the Stream."""

    def __init__(self, begin: Callable[[], Awaitable[Stream]]) -> None:
        self._begin = begin
        self._stream: Stream | None = None

    async def __aenter__(self) -> Stream:
        self._stream = await self._begin()
        return await self._stream.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.__aexit__(kind, error, trace)

    def __aiter__(self) -> NoReturn:
        raise RuntimeError(_HOW)

    def __await__(self) -> NoReturn:
        raise RuntimeError(_HOW)


class _Text:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ready: list[str] = []

    def __aiter__(self) -> _Text:
        return self

    async def __anext__(self) -> str:
        while not self._ready:
            frame = await self._stream.__anext__()
            self._ready = [
                event.text for event in frame.events if isinstance(event, TextDelta) and not event.choice and event.text
            ]
        return self._ready.pop(0)


_ENDING: set[asyncio.Task[None]] = set()


def _end_later(reply: Reply) -> None:
    task = asyncio.ensure_future(reply.aclose())
    _ENDING.add(task)
    task.add_done_callback(_ENDING.discard)
