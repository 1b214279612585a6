"""Recorder: moves the journal of a data directory into SQL, a batch a transaction, and keeps house there."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from headgate.stores.data import DataDir
from headgate.stores.database import open_engine
from headgate.stores.journal.segments import has_writer, list_segments, remove_old_corrupt, remove_stale_new
from headgate.stores.keeper import LOG, LOG_BYTES
from headgate.stores.live_store import file_inode

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.core.record import Record
    from headgate.stores.ingest import Ingest
    from headgate.stores.rollups import Tally
    from headgate.stores.tails import Tails

_log = logging.getLogger("headgate.recorder")
BATCH = 2000
_MORE = 3
"""How many batches' entries go in one transaction while more are waiting: rows of rollups are written once for all."""

_PAYLOADS = 4
"""Payloads take a share of a batch: Records must not wait for them to be redacted."""


class Stored(NamedTuple):
    """A batch that is in the store now: Records, offsets behind them, and what new ones came to (None for nothing)."""

    records: list[Record]
    positions: dict[str, int]
    tally: Tally | None


class Watcher(Protocol):
    """Whoever is told of what the recorder stores."""

    def stored(self, stored: Stored) -> None:
        """Takes note of a batch; must be quick, and must not keep the tally."""


class Preparer(Protocol):
    """Whoever must know of Records before they are stored, so that none is stored without it."""

    def storing(self, records: list[Record]) -> None:
        """Takes note of Records as they came, not redacted; they may come again. Must be quick, and not raise."""


class Recorder:
    """Moves the journal of ``data`` into its database. Only the holder of the recorder's lock may use one.

    Args:
        data: the data directory.
        limit: entries in a transaction; where more are waiting, a few times as many.

    Attributes:
        watchers: told of every batch once it is stored.
        preparers: told of its Records before.
        behind: whether the last step left something that was there.
    """

    def __init__(self, data: DataDir, *, limit: int = BATCH) -> None:
        self._data = data
        self._limit = limit
        self.behind = False
        self.watchers: list[Watcher] = []
        self.preparers: list[Preparer] = []
        self._engine: Engine | None = None
        self._ingest: Ingest | None = None
        self._tails: Tails | None = None
        self._inode = 0
        self._followed = -1

    def step(self) -> int:
        """Moves one batch; deletes segments that are done. Returns how many entries went in.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away; after ``close``, a step begins where it left off.
            ConfigError: its schema can not be prepared.
        """
        if self._tails is not None and file_inode(self._data.url) != self._inode:
            self.close()  # the database was deleted or replaced: what is still in the journal goes into the new one
        if self._tails is None:
            self._open()
        assert self._tails is not None
        assert self._ingest is not None
        with _collector_paused():
            limit = self._limit * _MORE if self.behind else self._limit
            batch = self._tails.collect(limit, max(1, self._limit // _PAYLOADS))
            self.behind = batch.full
            if batch.positions:
                for preparer in self.preparers:
                    preparer.storing(batch.records)
                aside = (batch.feedback, batch.tapes)
                self._ingest.store(batch.records, batch.payloads, batch.positions, self._quarantine, *aside)
                stored = Stored(batch.records, batch.positions, self._ingest.tally)
                for watcher in self.watchers:
                    watcher.stored(stored)
        if batch.size < self._limit // 2 and not batch.full:
            self._ingest.catch_up()
        for name in batch.finished:
            self._tails.remove(name)
        if batch.finished:
            self._ingest.forget(batch.finished)
        return batch.size

    def drain(self) -> int:
        """Moves all that is there now. Returns how many entries went in."""
        total = 0
        while True:
            moved = self.step()
            total += moved
            if moved == 0:
                return total

    def keep_house(self) -> None:
        """Applies retention, and clears what killed processes left behind."""
        from headgate.stores.erase.late import follow_up
        from headgate.stores.leases.closing import sweep_windows
        from headgate.stores.retention import load_retention
        from headgate.stores.sweep import sweep

        if self._engine is None:
            return
        retention = load_retention(self._data.path)
        for _ in range(20):
            if self._ingest is None or not self._ingest.fold():
                break
        for _ in range(20):
            if not sweep(self._engine, retention):
                break
        sweep_windows(self._engine, time.time_ns())
        self._followed = follow_up(self._engine, self._data.journal_path, time.time_ns(), self._followed)
        remove_stale_new(self._data.journal_path, time.time())
        days = (retention.retention_days, retention.payload_days)
        remove_old_corrupt(self._data.journal_path, time.time(), *days)
        _bound_log(self._data.path / LOG)

    def close_dead(self) -> int:
        """Closes the leases that dead workers left behind; returns how many workers there were. Raises as ``step``."""
        from headgate.stores.leases.closing import close_dead

        if self._engine is None:
            self._open()
        assert self._engine is not None
        return close_dead(self._engine, self._data.path, self._data.owner)

    def has_writer(self) -> bool:
        """Whether somebody still writes a journal here."""
        if self._tails is not None:
            return self._tails.written
        journal = self._data.journal_path
        return any(has_writer(journal / name) for name, _ in list_segments(journal))

    def close(self) -> None:
        """Lets go of journal and database; the next step opens them again. Idempotent."""
        if self._tails is not None:
            self._tails.close()
            self._tails = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> None:
        from headgate.stores.ingest import Ingest
        from headgate.stores.redaction import open_redactor
        from headgate.stores.tails import Tails

        if self._engine is None:
            self._data.prepare()
            self._engine = open_engine(self._data.url, synchronous="FULL")
        ingest = Ingest(self._engine, self._data.owner, open_redactor(self._data.path))
        positions = ingest.positions()
        there = {name for name, _ in list_segments(self._data.journal_path)}
        gone = positions.keys() - there
        if gone:
            ingest.forget(gone)
        self._inode = file_inode(self._data.url)
        self._ingest = ingest
        self._tails = Tails(self._data.journal_path, positions)

    def _quarantine(self, refused: object) -> None:
        with (self._data.journal_path / "refused.corrupt").open("ab") as file:
            file.write(msgspec.json.encode(refused) + b"\n")
        _log.error("the database will not hold a record in any form; it is kept in %s", file.name)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Leaves a batch's objects, which are all in use, out of the collector's rounds: a sixth of the time it takes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _bound_log(path: Path) -> None:
    """Keeps the log that this process writes to (opened to append, by its starter) within bounds."""
    try:
        if path.stat().st_size > LOG_BYTES:
            shutil.copy2(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
    except FileNotFoundError:
        return


if __name__ == "__main__":
    # A worker that was running while the package was upgraded under it starts its recorder by this name.
    from headgate.stores.recorder_process import main

    sys.exit(main())
