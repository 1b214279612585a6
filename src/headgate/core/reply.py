"""The Reply: one answer on its way out, as frames, with exactly one end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from headgate.core.errors import HeadgateError
from headgate.core.event import Frame, Summary


class Source(Protocol):
    """Where a Reply's frames come from."""

    async def more(self) -> Sequence[Frame]:
        """Returns the next frames, at least one; an empty sequence when the answer is whole.

        Raises:
            HeadgateError: the answer ended any other way.
        """

    async def aclose(self) -> None:
        """Gives up: stops the upstream. Idempotent; not called after ``more`` returned empty or raised."""


class Ending:
    """How a Reply ended: ``outcome``, the ``error`` if it failed, and the ``summary`` of what came."""

    __slots__ = ("error", "outcome", "summary")

    def __init__(
        self, outcome: Literal["completed", "failed", "cancelled"], summary: Summary, error: HeadgateError | None
    ) -> None:
        self.outcome = outcome
        self.summary = summary
        self.error = error


class Reply:
    """An async iterator of frames that ends exactly once, however it ends.

    A layer that only watches the end calls ``on_end``. A layer that transforms makes a new Reply over a
    Source of its own, and hands the inner Reply's ``aclose`` on. Frames come in batches (``batch``) so that
    what arrived together can leave together; iteration gives them one by one.

    Attributes:
        tap: is shown every frame once, as it leaves, in batches; must not raise. None where nobody looks.
    """

    __slots__ = (
        "_callbacks",
        "_ended",
        "_ready",
        "_source",
        "_split",
        "dialect",
        "headers",
        "position",
        "summary",
        "tap",
    )

    def __init__(
        self,
        ready: Sequence[Frame],
        source: Source | None,
        summary: Summary,
        dialect: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        position: int = -1,
    ) -> None:
        """Args:
        ready: frames already in hand (up to the commit point).
        source: where more come from; None for an answer that is whole in ``ready``.
        summary: what is known of the answer; filled in further as frames pass.
        dialect: the name of the dialect that the frames' bytes are in.
        headers: response headers of the upstream that may go to the client.
        position: which of the Record's attempts it is the answer of; -1 for none.
        """
        self.position = position
        self.dialect = dialect
        self.headers = headers
        self._ready = list(ready)
        self._source = source
        self._callbacks: list[Callable[[Ending], None]] = []
        self._ended = False
        self._split = False
        self.summary = summary
        self.tap: Callable[[Sequence[Frame]], None] | None = None

    def on_end(self, callback: Callable[[Ending], None]) -> None:
        """Registers ``callback`` to run once at the end, after those registered before it. It must not raise."""
        self._callbacks.append(callback)

    async def batch(self) -> Sequence[Frame]:
        """Returns the frames at hand, waiting for at least one; empty once, at the end.

        Raises:
            HeadgateError: the answer did not end whole.
        """
        if self._ready:
            ready, self._ready = self._ready, []
            if self.tap is not None and not self._split:
                self.tap(ready)
            self._split = False
            return ready
        if self._ended:
            return ()
        if self._source is None:
            self._end("completed", None)
            return ()
        try:
            frames = await self._source.more()
        except HeadgateError as error:
            self._end("failed", error)
            raise
        except BaseException:
            await self.aclose()
            raise
        if not frames:
            self._end("completed", None)
        elif self.tap is not None:
            self.tap(frames)
        return frames

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> Frame:
        frames = await self.batch()
        if not frames:
            raise StopAsyncIteration
        if len(frames) > 1:
            self._ready = [*frames[1:], *self._ready]
            self._split = True
        return frames[0]

    async def aclose(self) -> None:
        """Ends the answer now; the upstream is stopped. Does nothing after the end."""
        if self._ended:
            return
        self._ready = []
        try:
            if self._source is not None:
                await self._source.aclose()
        finally:
            self._end("cancelled", None)

    @property
    def ended(self) -> bool:
        """True once the end callbacks have run."""
        return self._ended

    def _end(self, outcome: Literal["completed", "failed", "cancelled"], error: HeadgateError | None) -> None:
        if self._ended:
            return
        self._ended = True
        ending = Ending(outcome, self.summary, error)
        for callback in self._callbacks:
            callback(ending)
