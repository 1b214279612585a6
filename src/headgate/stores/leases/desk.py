"""LeaseDesk: one thread that talks to the store for an event loop, and the worker's meter file."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from headgate.core.errors import HeadgateError, Unavailable
from headgate.core.leases import Ask, Cells, Leases, Renewal
from headgate.stores.leases.meter_file import FOLDER, MeterFile

_log = logging.getLogger("headgate.limits")
_Done = Callable[[Renewal | HeadgateError], None]
_LAST_S = 5.0


class LeaseDesk:
    """A ``core.leases.Desk``. Neither file nor thread is made before the first limit asks for them.

    Args:
        leases: the store.
        loop: whom it works for.
        data: the data directory.
        holder: the worker's id.
    """

    def __init__(self, leases: Leases, loop: asyncio.AbstractEventLoop, data: Path, holder: str) -> None:
        self._leases = leases
        self._loop = loop
        self._directory = data / FOLDER
        self._holder = holder
        self._file: MeterFile | None = None
        self._work: queue.SimpleQueue[tuple[Sequence[Ask], _Done | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left = False

    def take(self) -> tuple[int, Cells, int]:
        """See the port."""
        if self._file is None:
            try:
                self._file = MeterFile(self._directory, self._holder)
            except OSError as error:
                raise Unavailable(
                    f"Limits can not be counted in {self._directory} ({error.strerror or error}).",
                    code="limits_unavailable",
                    retry_after=5.0,
                ) from error
        return self._file.take()

    def give_back(self, slot: int) -> None:
        """See the port."""
        assert self._file is not None
        self._file.give_back(slot)

    def renew(self, asks: Sequence[Ask], done: _Done) -> None:
        """See the port."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="headgate-leases", daemon=True)
            self._thread.start()
        self._work.put((asks, done))

    def close(self, asks: Sequence[Ask]) -> None:
        """See the port. Where the store is away, the file stays for the recorder. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put((asks, None))
            thread.join(_LAST_S)
        file, self._file = self._file, None
        if file is not None:
            # Without a thread nobody has asked the store for anything: there is nothing to be closed.
            file.close(unlink=self._left or thread is None)

    def _run(self) -> None:
        while True:
            asks, done = self._work.get()
            if done is None:
                self._leave(asks)
                return
            answer: Renewal | HeadgateError
            try:
                answer = self._leases.renew(asks)
            except HeadgateError as error:
                answer = error
            except Exception as error:  # a driver may fail in any way; nothing is granted then
                _log.exception("leases could not be renewed")
                answer = Unavailable(f"leases could not be renewed: {error}", code="limits_unavailable")
            try:
                self._loop.call_soon_threadsafe(done, answer)
            except RuntimeError:
                continue  # the loop is closed: nobody waits any more

    def _leave(self, asks: Sequence[Ask]) -> None:
        try:
            self._leases.close(asks)
            self._left = True
        except HeadgateError as error:
            _log.warning("leases are left for the recorder to close: %s", error.message)
        except Exception:  # as in _run
            _log.exception("leases could not be closed; the recorder will")
