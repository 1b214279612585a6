"""What the settings of ``data`` become at run time: how long things are kept, and who takes out what is private."""

from __future__ import annotations

import asyncio

from headgate.config.settings import DataSettings
from headgate.stores.data import DataDir
from headgate.stores.journal.ticks import TickJournal
from headgate.stores.journal.writer import JournalWriter
from headgate.stores.retention import Retention


def retention_of(settings: DataSettings) -> Retention:
    """Returns what the recorder is to keep."""
    return Retention(
        settings.retention_days, payload_days=settings.payload_days, payload_bytes=settings.payload_bytes or None
    )


def tick_journal(data: DataDir, writer: JournalWriter, settings: DataSettings) -> TickJournal:
    """Returns the journal of this worker, which redacts itself where the settings say so.

    Raises:
        OSError: the secret of the pseudonyms can be neither read nor made.
    """
    loop = asyncio.get_running_loop()
    if settings.redact != "worker":
        return TickJournal(writer, loop)
    # Some 40 ms and a few MB that a worker without it need not have.
    from headgate.stores.journal.strict import StrictJournal
    from headgate.stores.redaction import open_redactor

    return StrictJournal(writer, loop, open_redactor(data.path))
