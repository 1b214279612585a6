"""The recorder's process: one per data directory, it records as long as somebody writes, and goes when nobody does."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import time
from pathlib import Path

from headgate.core.errors import HeadgateError
from headgate.stores.data import DataDir
from headgate.stores.database import URL_VARIABLE
from headgate.stores.journal.segments import list_segments
from headgate.stores.keeper import LOCK, take_recorder_lock
from headgate.stores.leases.meter_file import FOLDER, list_meters
from headgate.stores.live_store import Complaints
from headgate.stores.recorder import BATCH, Preparer, Recorder, Watcher

_log = logging.getLogger("headgate.recorder")
INTERVAL_S = 0.25
GRACE_S = 2.0
_HOUSEKEEPING_S = 60.0
_DEAD_S = 0.5
_GIVE_UP_S = 600.0
_RENEW_S = 60.0
_RETRY_MAX_S = 5.0


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


def main(arguments: list[str] | None = None) -> int:
    """Runs a recorder: ``python -m headgate.stores.recorder_process --data DIR``. Returns the exit code.

    ``--duties MODULE`` names what runs beside it: a module whose ``duties(data)`` returns things to start and close;
    those with ``stored`` are told of what is stored, those with ``storing`` before.
    """
    parser = argparse.ArgumentParser(
        prog="headgate.stores.recorder_process", description="Moves a journal into the database."
    )
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
