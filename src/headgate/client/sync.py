"""The sync facade: the async Gateway on a thread of its own, for programs without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from headgate.client.answer import Answer
from headgate.client.gateway import Gateway
from headgate.client.owner import check_process
from headgate.client.stream import Opening, Stream
from headgate.config.settings import Settings
from headgate.core.errors import HeadgateError
from headgate.core.event import Frame
from headgate.observe.feedback import FeedbackTaken

T = TypeVar("T")


class SyncGateway:
    """A Gateway for synchronous code; every argument is passed on to ``Gateway``'s method of the same name.

    Any number of threads may use one. It is closed by ``close``, by leaving its ``with`` block, or when it is
    dropped or the program ends.

    Example:
        >>> with SyncGateway() as gateway:
        ...     print(gateway.complete("sim/echo", "Hi").text)
        ...     with gateway.stream("sim/echo", "Piece by piece") as frames:
        ...         print(list(frames.text()))
        Hi
        ['Piece', ' by', ' piece']
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        data: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Arguments and errors as ``Gateway``."""
        self._gateway = Gateway(config, data=data, settings=settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headgate", daemon=True)
        self._thread.start()
        self._pid = os.getpid()
        self._end = weakref.finalize(self, _end, self._gateway, self._loop, self._thread, self._pid)

    def __enter__(self) -> SyncGateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the gateway and ends its thread; calls under way are cancelled. Idempotent."""
        self._end()

    def reload(self, settings: Settings | None = None) -> list[str]:
        """Makes the configuration hold as it is written now. Argument, result and errors as ``Gateway.reload``."""
        return self._run(self._gateway.reload(settings))

    def complete(self, model: str, messages: Any = None, **arguments: Any) -> Answer:
        """Asks for a whole answer. Arguments, result and errors as ``Gateway.complete``."""
        return self._run(self._gateway.complete(model, messages, **arguments))

    def embed(self, model: str, input: Any, **parameters: Any) -> Answer:
        """Asks for embeddings. Arguments, result and errors as ``Gateway.embed``."""
        return self._run(self._gateway.embed(model, input, **parameters))

    def map(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 8,
        on_done: Callable[[int, Answer | HeadgateError], None] | None = None,
    ) -> list[Answer | HeadgateError]:
        """Completes many requests, as ``Gateway.map``; ``on_done`` runs on the gateway's thread."""
        return self._run(self._gateway.map(requests, concurrency=concurrency, on_done=on_done))

    def feedback(
        self, id: str, score: float | None = None, label: str = "", comment: str = "", *, once: str = ""
    ) -> FeedbackTaken:
        """Says what somebody thought of an answer. Arguments, result and errors as ``Gateway.feedback``."""
        return self._run(self._gateway.feedback(id, score, label, comment, once=once))

    def models(self) -> list[str]:
        """Returns the names of the configured models."""
        return self._gateway.models()

    def stream(self, model: str, messages: Any = None, **arguments: Any) -> SyncStream:
        """Asks for a streamed answer: ``with gateway.stream(...) as frames``. Arguments as ``Gateway.stream``."""
        return SyncStream(self, self._gateway.stream(model, messages, **arguments))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            check_process(self._pid)
        except RuntimeError:
            work.close()
            raise
        if not self._end.alive or threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "this gateway is closed"
                if not self._end.alive
                else "this is the gateway's own thread (an on_done callback?), which can not wait for itself"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("this gateway was closed during the call") from None
        except BaseException:
            # An interrupt (Ctrl-C) ends the wait only; the call has to be ended too. No effect on one that is done.
            future.cancel()
            raise


def _end(gateway: Gateway, loop: asyncio.AbstractEventLoop, thread: threading.Thread, pid: int) -> None:
    """Closes what a SyncGateway owned; runs once, on any thread, also as a finalizer. Not in a forked child."""
    if os.getpid() != pid:
        return

    async def leave() -> None:
        here = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not here]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await gateway.aclose()
        loop.stop()

    asyncio.run_coroutine_threadsafe(leave(), loop)
    if threading.current_thread() is not thread:
        thread.join()
        loop.close()


class SyncStream:
    """A streamed answer for synchronous code; a context manager that iterates over frames."""

    def __init__(self, gateway: SyncGateway, opening: Opening) -> None:
        self._run = gateway._run
        self._opening = opening
        self._stream: Stream | None = None

    def __enter__(self) -> SyncStream:
        self._stream = self._run(self._opening.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._opening.__aexit__(kind, error, trace))

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame: Frame = self._next(self._entered().__anext__())
        return frame

    def text(self) -> Iterator[str]:
        """Iterates over the visible text of the first choice, piece by piece."""
        pieces = self._entered().text()
        while True:
            try:
                yield self._next(pieces.__anext__())
            except StopIteration:
                return

    @property
    def id(self) -> str:
        """The call's id; ``headgate record ID`` tells its whole story."""
        return self._entered().id

    def answer(self) -> Answer:
        """Returns the answer so far; whole once the iteration has ended."""
        return self._entered().answer()

    def _entered(self) -> Stream:
        if self._stream is None:
            raise RuntimeError("a stream is used as `with gateway.stream(...) as frames`")
        return self._stream

    def _next(self, work: Any) -> Any:
        try:
            return self._run(work)
        except StopAsyncIteration:
            raise StopIteration from None
