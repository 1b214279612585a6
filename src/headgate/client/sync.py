"""The sync facade: the async Gateway on a thread of its own, for programs without an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from headgate.client.answer import Answer
from headgate.client.gateway import Gateway
from headgate.client.stream import Stream
from headgate.config.settings import Settings
from headgate.core.errors import HeadgateError
from headgate.core.event import Frame

T = TypeVar("T")


class SyncGateway:
    """A Gateway for synchronous code; every argument is passed on to ``Gateway``'s method of the same name.

    Example:
        >>> with SyncGateway() as gateway:
        ...     print(gateway.complete(model="sim/echo", messages=[{"role": "user", "content": "Hi"}]).text)
        Hi
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        data: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._gateway = Gateway(config, data=data, settings=settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headgate", daemon=True)
        self._thread.start()

    def __enter__(self) -> SyncGateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the gateway and ends its thread. Idempotent."""
        if self._loop.is_closed():
            return
        self._run(self._gateway.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def complete(self, model: str, messages: Any = None, **arguments: Any) -> Answer:
        """Asks for a whole answer. Arguments, result and errors as ``Gateway.complete``."""
        return self._run(self._gateway.complete(model, messages, **arguments))

    def embed(self, model: str, input: Any, **parameters: Any) -> Answer:
        """Asks for embeddings. Arguments, result and errors as ``Gateway.embed``."""
        return self._run(self._gateway.embed(model, input, **parameters))

    def map(self, requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8) -> list[Answer | HeadgateError]:
        """Completes many requests. Arguments and result as ``Gateway.map``."""
        return self._run(self._gateway.map(requests, concurrency=concurrency))

    def models(self) -> list[str]:
        """Returns the names of the configured models."""
        return self._gateway.models()

    def stream(self, model: str, messages: Any = None, **arguments: Any) -> SyncStream:
        """Asks for a streamed answer: ``with gateway.stream(...) as frames``. Arguments as ``Gateway.stream``."""
        return SyncStream(self, self._gateway.stream(model, messages, **arguments))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("this gateway is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class SyncStream:
    """A streamed answer for synchronous code; a context manager that iterates over frames."""

    def __init__(self, gateway: SyncGateway, opening: Any) -> None:
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
