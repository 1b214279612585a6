"""Gateway: the library face. The same Handler as behind the server, in process, without HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from headgate.client.answer import Answer, Folder
from headgate.client.stream import Stream
from headgate.compose import Core, open_core
from headgate.config.load import load_settings
from headgate.config.settings import Settings
from headgate.core.call import Call, Principal, Priority
from headgate.core.errors import BadRequest, HeadgateError
from headgate.core.record import Record

_LIBRARY = Principal("", "library", role="admin", direct=True)


class Gateway:
    """One gateway in this process: all configured models behind one door.

    It opens at its first call, or on ``async with``, and belongs to the event loop it was opened on. Close it
    with ``aclose`` (or leave the ``async with``), so that its journal is handed over and connections end.

    Example:
        >>> async with Gateway() as gateway:
        ...     answer = await gateway.complete(model="sim/echo", messages=[{"role": "user", "content": "Hi"}])
        ...     print(answer.text)
        Hi
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        data: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Args:
            config: path of a ``headgate.yaml``; by default ``$HEADGATE_CONFIG``, then ``./headgate.yaml``, then none.
            data: data directory; by default ``$HEADGATE_DATA``, then the configuration's, then ``./headgate-data``.
            settings: ready-made settings instead.

        Raises:
            ConfigError: something in the configuration is wrong; the message says what and where.
        """
        given = {"data.dir": ("data", os.path.abspath(data))} if data is not None else {}
        self._settings = settings or load_settings(config, overrides=given)
        self._core: Core | None = None
        self._opening: asyncio.Lock | None = None

    async def __aenter__(self) -> Gateway:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes connections and hands the journal to the recorder. Idempotent."""
        core, self._core = self._core, None
        if core is not None:
            await core.aclose()

    async def complete(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        dialect: str = "openai_chat",
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline of the call, recorded with it
        priority: Priority = "interactive",
        trace: str = "",
        session: str = "",
        user: str = "",
        feature: str = "",
        tags: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        """Asks for a whole answer.

        Args:
            model: a configured model, or ``provider/model``.
            messages: the conversation, in the shape of ``dialect``.
            dialect: ``"openai_chat"``, ``"anthropic"`` or ``"embeddings"``: the shape of messages and parameters.
            timeout: seconds that the whole call may take, retries included.
            priority: ``"interactive"`` or ``"batch"``.
            trace, session: join this call with others of one pipeline run or conversation.
            user, feature, tags: for whom and for what, in records, costs and limits.
            **parameters: any other field of the dialect's request (``temperature``, ``tools``, ``max_tokens``…).

        Returns:
            The answer, whole.

        Raises:
            HeadgateError: no whole answer; its ``code`` says why, ``hint`` what to do.
        """
        fields = {"model": model, "messages": messages, **parameters, "stream": None}
        call = self._call(await self._open(), dialect, fields, timeout, priority, trace, session, user, feature, tags)
        reply = await (await self._open()).handler(call)
        folder = Folder()
        try:
            while frames := await reply.batch():
                for frame in frames:
                    folder.feed(frame.events)
        except BaseException:
            await reply.aclose()
            raise
        if call.settle is not None:
            await call.settle
        return folder.answer(call.record)

    def stream(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        dialect: str = "openai_chat",
        timeout: float | None = None,
        priority: Priority = "interactive",
        trace: str = "",
        session: str = "",
        user: str = "",
        feature: str = "",
        tags: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> _Opening:
        """Asks for a streamed answer: ``async with gateway.stream(...) as frames``. Arguments as ``complete``."""
        fields = {"model": model, "messages": messages, **parameters, "stream": True}

        async def begin() -> Stream:
            core = await self._open()
            call = self._call(core, dialect, fields, timeout, priority, trace, session, user, feature, tags)
            return Stream(call, core.handler)

        return _Opening(begin)

    async def embed(self, model: str, input: str | Sequence[str], **parameters: Any) -> Answer:
        """Asks for embeddings; the vectors are in ``answer.vectors``, in order of ``input``."""
        return await self.complete(model, dialect="embeddings", input=input, **parameters)

    async def map(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 8,
        on_done: Callable[[int, Answer | HeadgateError], None] | None = None,
    ) -> list[Answer | HeadgateError]:
        """Completes many requests, at most ``concurrency`` at a time.

        Args:
            requests: keyword arguments of ``complete``, one mapping each; their priority defaults to ``"batch"``.
            concurrency: calls under way at once.
            on_done: called with index and result as each ends, for progress.

        Returns:
            One result a request, in their order: the answer, or the error that it ended with.
        """
        if concurrency < 1:
            raise BadRequest("concurrency must be at least 1", param="concurrency")
        results: dict[int, Answer | HeadgateError] = {}
        waiting = enumerate(requests)

        async def work() -> None:
            for index, request in waiting:
                result: Answer | HeadgateError
                try:
                    result = await self.complete(**{"priority": "batch", **request})
                except HeadgateError as error:
                    result = error
                results[index] = result
                if on_done is not None:
                    on_done(index, result)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
        return [results[index] for index in sorted(results)]

    def models(self) -> list[str]:
        """Returns the names of the configured models."""
        return list(self._settings.models)

    async def _open(self) -> Core:
        if self._core is None:
            if self._opening is None:
                self._opening = asyncio.Lock()
            async with self._opening:
                if self._core is None:
                    self._core = await open_core(self._settings, keyless=False)
        return self._core

    def _call(
        self,
        core: Core,
        dialect: str,
        fields: Mapping[str, Any],
        timeout: float | None,
        priority: Priority,
        trace: str,
        session: str,
        user: str,
        feature: str,
        tags: Mapping[str, str] | None,
    ) -> Call:
        face = core.dialects.get(dialect)
        if face is None:
            raise BadRequest(f"There is no dialect {dialect!r}; there is {', '.join(core.dialects)}.", param="dialect")
        body = msgspec.json.encode({key: value for key, value in fields.items() if value is not None})
        started = core.clock.monotonic()
        record = Record(core.ids.new(), core.clock.time_ns(), dialect=dialect, user=user, feature=feature)
        record.priority, record.trace, record.session, record.tags = priority, trace, session, dict(tags or {})
        deadline = None if timeout is None else started + timeout
        return Call(record, face, body, started, deadline=deadline, principal=_LIBRARY)


class _Opening:
    """What ``stream`` returns: enters and leaves a Stream."""

    def __init__(self, begin: Callable[[], Awaitable[Stream]]) -> None:
        self._begin = begin
        self._stream: Stream | None = None

    async def __aenter__(self) -> Stream:
        self._stream = await self._begin()
        return await self._stream.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(kind, error, trace)
