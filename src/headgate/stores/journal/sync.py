"""Group commit: one fdatasync on a thread for all who wait, so that a slow disk never holds the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from headgate.stores.journal.segments import Segment, make_durable


class GroupCommit:
    """Makes written entries durable on a thread of its own.

    Args:
        on_error: told of a failed sync; the waiters are let go all the same: no answer hangs on a sick disk.
        fdatasync: what makes a file durable; injected by tests.
    """

    def __init__(self, on_error: Callable[[OSError], None], fdatasync: Callable[[int], None] | None = None) -> None:
        self._on_error = on_error
        self._fdatasync = fdatasync or make_durable
        self._condition = threading.Condition()
        self._waiting: list[asyncio.Future[None]] = []
        self._dirty: set[Segment] = set()
        self._retired: list[Segment] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="headgate-journal-sync", daemon=True)
        self._thread.start()
        self.syncs = 0

    def wait(self, segment: Segment, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Returns a future of ``loop``, done once all that is written to ``segment`` by now is durable."""
        future: asyncio.Future[None] = loop.create_future()
        with self._condition:
            self._waiting.append(future)
            self._dirty.add(segment)
            self._condition.notify()
        return future

    def retire(self, segment: Segment) -> None:
        """Makes a segment durable, then closes it."""
        with self._condition:
            self._retired.append(segment)
            self._condition.notify()

    def stop(self) -> None:
        """Finishes what is asked for and ends the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not (self._waiting or self._retired or self._stopping):
                    self._condition.wait()
                waiting, self._waiting = self._waiting, []
                dirty, self._dirty = self._dirty, set()
                retired, self._retired = self._retired, []
                if not waiting and not retired:
                    return
            for segment in dirty.union(retired):
                try:
                    self._fdatasync(segment.fd)
                    self.syncs += 1
                except OSError as error:
                    self._on_error(error)
            for segment in retired:
                segment.close()
            _release(waiting)


def _release(waiting: list[asyncio.Future[None]]) -> None:
    """Completes futures, each on its own loop; a loop that is closed has nobody left to tell."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for future in waiting:
        by_loop.setdefault(future.get_loop(), []).append(future)
    for loop, futures in by_loop.items():
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(_complete, futures)
            except RuntimeError:  # closed since we looked
                continue


def _complete(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
