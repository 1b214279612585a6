"""Gateway: the library face. The same Handler as behind the server, in process, without HTTP."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from headgate.client.answer import Answer, Folder
from headgate.client.many import complete_all
from headgate.client.owner import check_loop, check_process
from headgate.client.request import LIBRARY, Request
from headgate.client.stream import Opening, Stream
from headgate.compose import Core, open_core, prepare
from headgate.config.changes import FIXED, changes, hold
from headgate.config.settings import Settings
from headgate.config.source import Source
from headgate.core.call import Priority
from headgate.core.errors import BadRequest, ConfigError, HeadgateError
from headgate.observe.feedback import Feedbacks, FeedbackTaken
from headgate.transport.retire import Retirement

Messages = str | Sequence[Mapping[str, Any]]
"""A conversation in the shape of its dialect; a text stands for one user message."""


class Gateway:
    """One gateway in this process: all configured models behind one door.

    It opens at its first call, or on ``async with``, and belongs to the event loop it was opened on. Close it
    with ``aclose`` (or leave the ``async with``), so that its journal is handed over and connections end.

    Example:
        >>> async def main() -> None:
        ...     async with Gateway() as gateway:
        ...         answer = await gateway.complete("sim/echo", "Hi")
        ...         print(answer.text, answer.finish, answer.deployment)
        >>> asyncio.run(main())
        Hi stop sim/echo
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
        self._core: Core | None = None
        given = {"data.dir": ("data", os.path.abspath(data))} if data is not None else {}
        self._source = Source(config, overrides=given) if settings is None else None
        self._settings = settings or self._read()
        self._closed = False
        self._opening: asyncio.Lock | None = None
        self._ending: list[Core] = []
        self._retirement = Retirement()
        self._feedbacks: Feedbacks | None = None
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._pid = os.getpid()

    async def __aenter__(self) -> Gateway:
        self._closed = False
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._core is not None else "not open yet"
        return f"<Gateway {state}, data in {self._settings.data.dir}>"

    def __del__(self) -> None:
        if self._core is not None and os.getpid() == self._pid:
            warnings.warn(f"{self!r} was dropped without aclose()", ResourceWarning, stacklevel=2, source=self)

    async def aclose(self) -> None:
        """Ends streams that are still open, closes connections, hands the journal to the recorder. Idempotent."""
        self._closed = True
        core, self._core = self._core, None
        if core is None:
            return
        for stream in list(self._streams):
            await stream.aclose()
        await self._retirement.aclose()
        feedbacks, self._feedbacks = self._feedbacks, None
        if feedbacks is not None:
            feedbacks.close()
        await core.aclose()

    async def reload(self, settings: Settings | None = None) -> list[str]:
        """Makes the configuration hold as it is written now, mounted secrets too. Calls under way end as they began.

        A gateway does not look at its file by itself, as the server does. What can not change while it is open
        (``data.dir``, ``data.database``, ``data.journal``) stays.

        Args:
            settings: other ready-made settings, instead of the file.

        Returns:
            What is different now, by path: ``["added models.fast", "changed providers.up.url"]``.

        Raises:
            ConfigError: something in it is wrong, the message says what and where; all stays as it is.

        Example:
            >>> async def main() -> None:
            ...     async with Gateway() as gateway:
            ...         print(await gateway.reload())
            >>> asyncio.run(main())
            []
        """
        async with self._lock():
            with ThreadPoolExecutor(1, "headgate-reload") as thread:
                read = asyncio.get_running_loop().run_in_executor(thread, self._prepared, settings)
                wanted, _ = hold(await read, self._settings, FIXED)
            changed = changes(self._settings, wanted)
            before = self._core
            if before is not None and changed:
                check_loop(before)
                self._core = before.renew(wanted)
                # An older core may still use what this one has handed on and now is dropped.
                self._ending = [core for core in (*self._ending, before) if core.account.open]
                ending = list(self._ending)
                self._retirement.add(before.dropped(self._core), lambda: any(core.account.open for core in ending))
            self._settings = wanted
        return changed

    async def complete(
        self,
        model: str,
        messages: Messages | None = None,
        *,
        dialect: str = "openai_chat",
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline of the call, recorded with it
        priority: Priority = "interactive",
        trace: str = "",
        session: str = "",
        user: str = "",
        feature: str = "",
        prompt: str = "",
        tags: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        """Asks for a whole answer.

        Args:
            model: a configured model, or ``provider/model``.
            messages: the conversation, in the shape of ``dialect``; a text stands for one user message.
            dialect: ``"openai_chat"``, ``"anthropic"`` or ``"embeddings"``: the shape of messages and parameters.
            timeout: seconds that the whole call may take, retries included.
            priority: ``"interactive"`` or ``"batch"``.
            trace, session: join this call with others of one pipeline run or conversation; a ``traceparent`` as trace
                makes it a child of that span.
            user, feature, tags: for whom and for what, in records, costs and limits.
            prompt: the name that the prompt is known by (``greeting@3``), in records and costs.
            **parameters: any other field of the dialect's request (``temperature``, ``tools``, ``max_tokens``…).

        Returns:
            The answer, whole.

        Raises:
            HeadgateError: no whole answer; its ``code`` says why, ``fault`` who must act, the message what to do.

        Example:
            >>> async def main() -> None:
            ...     async with Gateway() as gateway:
            ...         messages = [{"role": "user", "content": "One, two, three, four."}]
            ...         answer = await gateway.complete("sim/echo", messages, max_tokens=4, tags={"step": "count"})
            ...         print(answer.text, answer.finish, answer.usage.output)
            >>> asyncio.run(main())
            One, two, length 4
        """
        if parameters.pop("stream", None):
            raise BadRequest("complete() gives whole answers; use stream() for a streamed one.", param="stream")
        request = Request(
            fields={"model": model, "messages": messages, **parameters},
            dialect=dialect,
            timeout=timeout,
            priority=priority,
            trace=trace,
            session=session,
            user=user,
            feature=feature,
            prompt=prompt,
            tags=tags,
        )
        core = await self._open()
        call = request.call(core)
        try:
            reply = await core.handler(call)
            folder = Folder(call, reply.dialect)
            try:
                while frames := await reply.batch():
                    folder.feed(frames)
            except BaseException:
                await reply.aclose()
                raise
        except HeadgateError as error:
            error.call_id = call.id
            raise
        finally:
            if call.settle is not None:
                await call.settle
        return folder.answer()

    def stream(
        self,
        model: str,
        messages: Messages | None = None,
        *,
        dialect: str = "openai_chat",
        timeout: float | None = None,
        priority: Priority = "interactive",
        trace: str = "",
        session: str = "",
        user: str = "",
        feature: str = "",
        prompt: str = "",
        tags: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Opening:
        """Asks for a streamed answer: ``async with gateway.stream(...) as frames``. Arguments as ``complete``.

        Example:
            >>> async def main() -> None:
            ...     async with Gateway() as gateway:
            ...         async with gateway.stream("sim/echo", "Piece by piece") as frames:
            ...             async for text in frames.text():
            ...                 print(text, end="|")
            ...         print(frames.answer().finish)
            >>> asyncio.run(main())
            Piece| by| piece|stop
        """
        parameters["stream"] = True
        request = Request(
            fields={"model": model, "messages": messages, **parameters},
            dialect=dialect,
            timeout=timeout,
            priority=priority,
            trace=trace,
            session=session,
            user=user,
            feature=feature,
            prompt=prompt,
            tags=tags,
        )
        return Opening(lambda: self._begin(request))

    async def embed(self, model: str, input: str | Sequence[str], **parameters: Any) -> Answer:
        """Asks for embeddings; the vectors are in ``answer.vectors``, in order of ``input``.

        Args:
            model: a configured model, or ``provider/model``.
            input: one text, or several.
            **parameters: as of ``complete``: its own, and fields of the request (``dimensions``…).

        Raises:
            HeadgateError: as ``complete``.

        Example:
            >>> async def main() -> None:
            ...     async with Gateway() as gateway:
            ...         answer = await gateway.embed("sim/echo", ["one", "two"], dimensions=8)
            ...         print([len(vector) for vector in answer.vectors])
            >>> asyncio.run(main())
            [8, 8]
        """
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
                Taken one by one as room becomes free, so a generator may make them.
            concurrency: calls under way at once.
            on_done: called with index and result as each ends, for progress. What it raises ends everything.

        Returns:
            One result a request, in their order: the answer, or the error that it ended with.

        Example:
            >>> async def main() -> None:
            ...     async with Gateway() as gateway:
            ...         requests = [{"model": model, "messages": "Hi"} for model in ("sim/echo", "sim/fail-500")]
            ...         for result in await gateway.map(requests):
            ...             print(result.code if isinstance(result, HeadgateError) else result.text)
            >>> asyncio.run(main())
            Hi
            server_error
        """
        if concurrency < 1:
            raise BadRequest("concurrency must be at least 1", param="concurrency", code="invalid_value")
        await self._open()
        return await complete_all(self.complete, requests, concurrency, on_done)

    async def feedback(
        self, id: str, score: float | None = None, label: str = "", comment: str = "", *, once: str = ""
    ) -> FeedbackTaken:
        """Says what somebody thought of one call's answer. The same said twice is kept once.

        Args:
            id: the call's id: ``answer.id``, ``stream.id``, or an error's ``call_id``.
            score: from 0 (useless) to 1 (just right).
            label: a word of your own, e.g. ``wrong-answer``; at most 100 characters.
            comment: free text; at most 4000 characters.
            once: your word for this one feedback, where the same may be meant twice.

        Returns:
            What became of it; ``pending`` while the call's Record is on its way to the store.

        Raises:
            BadRequest: ``invalid_feedback``, ``record_not_found``, ``idempotency_conflict``.
            Unavailable: the journal does not take it.

        Example:
            >>> async def main() -> None:
            ...     async with Gateway() as gateway:
            ...         answer = await gateway.complete("sim/echo", "Hi")
            ...         taken = await gateway.feedback(answer.id, score=1, label="good")
            ...         print(taken.score, taken.label)
            >>> asyncio.run(main())
            1.0 good
        """
        core = await self._open()
        if self._feedbacks is None:
            self._feedbacks = Feedbacks(core.data, core.journal)
        return await self._feedbacks.give(LIBRARY, id, score=score, label=label, comment=comment, once=once)

    def models(self) -> list[str]:
        """Returns the names of the configured models."""
        return list(self._settings.models)

    def _read(self) -> Settings:
        if self._source is None:
            raise ConfigError("this gateway was made with ready-made settings; give reload() new ones")
        return self._source.load()

    def _prepared(self, settings: Settings | None) -> Settings:
        settings = settings or self._read()
        prepare(settings)
        return settings

    def _lock(self) -> asyncio.Lock:
        """The gateway's own loop is not known before it opens."""
        if self._opening is None:
            self._opening = asyncio.Lock()
        return self._opening

    async def _begin(self, request: Request) -> Stream:
        core = await self._open()
        stream = Stream(request.call(core), core.handler)
        self._streams.add(stream)
        return stream

    async def _open(self) -> Core:
        core = self._core
        if core is not None:
            check_process(self._pid)
        else:
            if self._closed:
                raise RuntimeError("this gateway is closed")
            async with self._lock():
                if self._core is None:
                    self._pid = os.getpid()
                    self._core = await open_core(self._settings, keyless=False)
                core = self._core
        check_loop(core)
        return core
