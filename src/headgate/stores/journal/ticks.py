"""TickJournal: one ``write`` per event-loop tick for all Records that end in it (DESIGN §5).

What must not go out before its Record is on disk waits as a callback, not as a future and a task's wake-up (ADR 0007).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence

from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.core.tape import Tape
from headgate.stores.journal.framing import PayloadEntry
from headgate.stores.journal.writer import JournalWriter

_log = logging.getLogger("headgate.journal")


class Tick:
    """The Records of one tick, on their way to the disk; a ``core.ports.Settlement``."""

    __slots__ = ("_callbacks", "done", "records")

    def __init__(self) -> None:
        self.done = False
        self.records: list[Record] = []
        self._callbacks: list[Callable[[], None]] = []

    def then(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` once the Records can no longer be lost; at once if they are there."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def __await__(self) -> Generator[asyncio.Future[None], None, None]:
        if not self.done:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._callbacks.append(lambda: None if future.done() else future.set_result(None))
            yield from future

    def settled(self) -> None:
        """They are on disk."""
        self.done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # One answer's trouble must not keep the others of its tick from going out.
                _log.exception("what waited for a record failed")


class TickJournal:
    """Port ``Journal`` over a writer, for one event loop."""

    def __init__(self, writer: JournalWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._tick: Tick | None = None
        self._payloads: list[PayloadEntry] = []

    def append(self, record: Record) -> Tick:
        """Takes a Record, to be written at the end of this tick."""
        tick = self._tick or self._begin()
        tick.records.append(record)
        return tick

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        """Takes a call's payloads, to be written at the end of this tick, before its Record."""
        if self._tick is None:
            self._begin()
        self._payloads.append(PayloadEntry(call_id, request, response, policy))

    def append_tapes(self, call_id: str, tapes: Sequence[Tape]) -> None:
        """See ``JournalWriter.append_tapes``."""
        self._writer.append_tapes(call_id, tapes)

    def append_feedback(self, feedback: Feedback) -> Tick | None:
        """Takes feedback, written at once: it is rare. See ``JournalWriter.append_feedback``."""
        durable = self._writer.append_feedback(feedback)
        if durable is None:
            return None
        tick = Tick()
        asyncio.ensure_future(durable).add_done_callback(lambda _: tick.settled())
        return tick

    def close(self) -> None:
        """Writes what waits, and closes the writer."""
        self._flush()
        self._writer.close()

    def _begin(self) -> Tick:
        self._tick = tick = Tick()
        self._loop.call_soon(self._flush)
        return tick

    def _flush(self) -> None:
        tick, self._tick = self._tick, None
        if tick is None:
            return
        if self._payloads:
            payloads, self._payloads = self._payloads, []
            self._writer.append_payloads(payloads)
        durable = self._writer.append_all(tick.records)
        if durable is None:
            tick.settled()
        else:
            asyncio.ensure_future(durable).add_done_callback(lambda _: tick.settled())
