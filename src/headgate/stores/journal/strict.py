"""StrictJournal: takes out what is private before the journal is written, so that it is never on a disk at all."""

from __future__ import annotations

import asyncio
import logging

from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.guards.redactor import Redactor
from headgate.stores.journal.ticks import Tick, TickJournal
from headgate.stores.journal.writer import JournalWriter
from headgate.stores.redaction import clean_feedback, cleaned

_log = logging.getLogger("headgate.journal")


class StrictJournal(TickJournal):
    """A ``TickJournal`` whose worker redacts, on its event loop: 0.1 ms and more for each kB of payload.

    What a key or ``data.payloads`` wants ``full`` stays as it is.
    """

    def __init__(self, writer: JournalWriter, loop: asyncio.AbstractEventLoop, redactor: Redactor) -> None:
        super().__init__(writer, loop)
        self._redactor = redactor

    def append(self, record: Record) -> Tick:
        """See ``TickJournal.append``."""
        return super().append(cleaned(self._redactor, record))

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        """See ``TickJournal.append_payload``."""
        if policy != "full":
            try:
                request, response = self._redactor.body(request).data, self._redactor.body(response).data
            except Exception as error:  # nothing of it may be kept, and the call must end
                _log.error("the payloads of %s can not be redacted and are dropped (%s)", call_id, type(error).__name__)
                return
        super().append_payload(call_id, request, response, policy)

    def append_feedback(self, feedback: Feedback) -> Tick | None:
        """See ``TickJournal.append_feedback``."""
        return super().append_feedback(clean_feedback(self._redactor, feedback))
