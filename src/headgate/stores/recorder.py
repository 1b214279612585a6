"""The recorder: one process per data directory that moves the journal into SQL and goes when no writer is left."""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from headgate.core.errors import HeadgateError
from headgate.stores.data import DataDir
from headgate.stores.database import URL_VARIABLE, open_engine
from headgate.stores.journal.segments import has_writer, list_segments, remove_old_corrupt, remove_stale_new
from headgate.stores.keeper import LOCK, LOG, LOG_BYTES, take_recorder_lock
from headgate.stores.leases.meter_file import FOLDER, list_meters
from headgate.stores.live_store import Complaints, file_inode

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.core.record import Record
    from headgate.stores.ingest import Ingest
    from headgate.stores.rollups import Tally
    from headgate.stores.tails import Tails

_log = logging.getLogger("headgate.recorder")
INTERVAL_S = 0.25
BATCH = 2000
_MORE = 3
"""How many batches' entries go in one transaction while more are waiting: rows of rollups are written once for all."""

_PAYLOADS = 4
"""Payloads take a share of a batch: Records must not wait for them to be redacted."""

GRACE_S = 2.0
_HOUSEKEEPING_S = 60.0
_DEAD_S = 0.5
_GIVE_UP_S = 600.0
_RENEW_S = 60.0
_RETRY_MAX_S = 5.0


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


class RecorderProcess:
    """The loop around a ``Recorder``: its pace, its patience with a database that is away, and when it ends."""

    def __init__(self, data: DataDir, lock: int, *, interval: float = INTERVAL_S, grace: float = GRACE_S) -> None:
        self._data = data
        self._lock: int | None = lock
        self._interval = interval
        self._grace = grace
        self._recorder = Recorder(data)
        self._stopping = False
        self._complaints = Complaints(_log)

    def stop(self, *_: object) -> None:
        """Ends the loop once what is there now is stored, as far as one batch goes; a signal handler."""
        self._stopping = True

    def run(self) -> int:
        """Returns the exit code once no writer is left, or the data directory is gone."""
        idle_since = failing_since = None
        kept_house = time.monotonic() - _HOUSEKEEPING_S + 5
        closed_dead = time.monotonic() - _DEAD_S
        wait = self._interval
        while self._is_there() and self._data.claimed == self._data.database:
            now = time.monotonic()
            try:
                moved = self._recorder.step()
                if now - closed_dead >= _DEAD_S and self._has_meters():
                    closed_dead = now
                    self._recorder.close_dead()
                if now - kept_house >= _HOUSEKEEPING_S:
                    kept_house = now
                    self._recorder.keep_house()
                failing_since, wait = None, self._interval
            except Exception as error:  # a database may fail in any way; the journal waits, and we try again
                if not self._is_there():
                    break
                self._complain(error)
                failing_since = failing_since or now
                self._recorder.close()
                if self._stopping or self._has_failed_for(now - failing_since):
                    return 1
                time.sleep(wait)
                wait = min(wait * 2, _RETRY_MAX_S)
                continue
            if self._stopping and not self._recorder.behind:
                return 0
            if moved or self._has_segments() or self._has_meters():
                idle_since = None
            else:
                idle_since = idle_since or now
                if now - idle_since >= self._grace and self._leave():
                    return 0
            if moved < BATCH // 2 and not self._recorder.behind:
                time.sleep(self._interval)
        return 0

    def watch(self, watcher: Watcher) -> None:
        """Tells somebody of every batch from now on."""
        self._recorder.watchers.append(watcher)

    def prepare(self, preparer: Preparer) -> None:
        """Tells somebody of every batch's Records before they are stored."""
        self._recorder.preparers.append(preparer)

    def close(self) -> None:
        """Lets go of everything, the lock last."""
        self._recorder.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _has_failed_for(self, seconds: float) -> bool:
        """Whether to give up: a SQLite file without writers, or a Postgres, whose URL writers may know better."""
        if self._data.database:
            return seconds > _RENEW_S
        return seconds > _GIVE_UP_S and not self._recorder.has_writer()

    def _leave(self) -> bool:
        """Gives the lock up, then looks once more: a writer that saw it held may have come in between."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        if not (self._has_segments() or self._has_meters()):
            return True
        try:
            self._lock = take_recorder_lock(self._data.path)
        except OSError:
            return True
        # Somebody else may have recorded in between: what is known of the database is not true any more.
        self._recorder.close()
        return self._lock is None

    def _is_there(self) -> bool:
        """Whether the data directory still is the one whose lock we hold."""
        try:
            named = os.stat(self._data.path / LOCK)
        except FileNotFoundError:
            return False
        held = os.fstat(self._lock) if self._lock is not None else named
        return (named.st_ino, named.st_dev) == (held.st_ino, held.st_dev)

    def _has_segments(self) -> bool:
        return bool(list_segments(self._data.journal_path))

    def _has_meters(self) -> bool:
        return bool(list_meters(self._data.path / FOLDER))

    def _complain(self, error: Exception) -> None:
        refused = "" if isinstance(error, HeadgateError) else ", the database does not take it"
        self._complaints.say(f"the journal waits{refused}", error)


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


def main(arguments: list[str] | None = None) -> int:
    """Runs a recorder: ``python -m headgate.stores.recorder --data DIR``. Returns the exit code.

    ``--duties MODULE`` names what runs beside it: a module whose ``duties(data)`` returns things to start and close;
    those with ``stored`` are told of what is stored, those with ``storing`` before.
    """
    parser = argparse.ArgumentParser(prog="headgate.stores.recorder", description="Moves a journal into the database.")
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    parser.add_argument("--lock-fd", type=int, help="an open file that holds the recorder's lock")
    parser.add_argument("--duties", help="a module of what else this process is to do")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        data = DataDir(options.data, url=os.environ.get(URL_VARIABLE), create=False)
        lock = options.lock_fd if options.lock_fd is not None else take_recorder_lock(data.path)
    except (HeadgateError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if lock is None:
        return 0
    os.set_inheritable(lock, False)
    os.nice(5)
    process = RecorderProcess(data, lock)
    duties = importlib.import_module(options.duties).duties(data) if options.duties else []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, process.stop)
    try:
        for duty in duties:
            duty.start()
            if hasattr(duty, "stored"):
                process.watch(duty)
            if hasattr(duty, "storing"):
                process.prepare(duty)
        return process.run()
    finally:
        for duty in duties:
            duty.close()
        process.close()


if __name__ == "__main__":
    sys.exit(main())
