"""Keeps one recorder alive per data directory: elects it by a file lock and starts it anew when it is gone.

Whoever finds the lock free takes it and hands it, open, to the process it starts: no two can ever be started, and
between "nobody records" and "somebody does" there is no gap.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.core.alert import AlertPlan
from headgate.core.errors import ConfigError
from headgate.core.trace import TracePlan
from headgate.stores.alert_plan import ALERTS
from headgate.stores.database import URL_VARIABLE
from headgate.stores.retention import Retention, save_retention
from headgate.stores.trace_plan import TRACES

if TYPE_CHECKING:
    from headgate.stores.data import DataDir

LOCK = "recorder.lock"
LOG = "recorder.log"
LOG_BYTES = 1 << 20

_log = logging.getLogger("headgate.recorder")
_children: list[subprocess.Popen[bytes]] = []


def take_recorder_lock(directory: Path) -> int | None:
    """Returns a file descriptor that holds the recorder's lock, None while another process holds it.

    Raises:
        OSError: the directory is gone.
    """
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def ensure_recorder(directory: Path, url: str | None = None, duties: str = "") -> int | None:
    """Starts a recorder for the data directory unless one runs. Costs a few µs when one does.

    Args:
        directory: the data directory.
        url: the database's URL, None for the directory's own SQLite file.
        duties: a module of what the recorder's process is to do beside recording, "" for nothing.

    Returns:
        The new process's id, None where one runs already.

    Raises:
        OSError: the directory is gone, or no process can be started.
    """
    _reap()
    lock = take_recorder_lock(directory)
    if lock is None:
        return None
    try:
        _rotate_log(directory / LOG)
        log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            environment = dict(os.environ)
            environment.pop(URL_VARIABLE, None)
            if url is not None:
                environment[URL_VARIABLE] = url
            command = [
                sys.executable,
                "-m",
                "headgate.stores.recorder_process",
                "--data",
                str(directory),
                "--lock-fd",
                str(lock),
            ]
            if duties:
                command += ["--duties", duties]
            child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
            )
        finally:
            os.close(log)
    finally:
        os.close(lock)
    _children.append(child)
    return child.pid


class RecorderKeeper:
    """Looks twice a second whether the data directory has a recorder, and starts one where it has none.

    Args:
        data: the data directory.
        retention: what its recorder is to keep, see ``Retention``.
        seconds: how often to look.
        duties: see ``ensure_recorder``.
        plan: the alerts that its recorder is to look after, None for none.
        traces: what its recorder is to export, None for nothing.

    Attributes:
        reports: called at every look, on the keeper's thread.
    """

    def __init__(
        self,
        data: DataDir,
        *,
        retention: Retention | None = None,
        seconds: float = 0.5,
        duties: str = "",
        plan: AlertPlan | None = None,
        traces: TracePlan | None = None,
    ) -> None:
        self._data = data
        self._retention = self._saved = retention or Retention()
        self._seconds = seconds
        self._duties = duties
        self._plan = self._saved_plan = plan
        self._traces = self._saved_traces = traces
        self.reports: list[Callable[[], None]] = []
        self._failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-recorder-keeper", daemon=True)

    def start(self) -> None:
        """Makes the retention settings known, starts a recorder if there is none, and looks after it from now on.

        Raises:
            ConfigError: the directory's retention settings are not understood, or it belongs to another database.
        """
        self._data.claim()
        save_retention(self._data.path, self._retention)
        ALERTS.save(self._data.path, self._plan)
        TRACES.save(self._data.path, self._traces)
        self.check()
        self._thread.start()

    def keep(self, retention: Retention) -> None:
        """Keeps so much from now on; the recorder goes by it within a minute. Does no I/O itself."""
        self._retention = retention

    def alert(self, plan: AlertPlan | None) -> None:
        """Goes by these alerts from now on, within a second. Does no I/O itself."""
        self._plan = plan

    def trace(self, plan: TracePlan | None) -> None:
        """Exports these traces from now on, within a second. Does no I/O itself."""
        self._traces = plan

    def check(self) -> None:
        """Looks now. Never raises: a journal without a recorder waits, and loses nothing."""
        try:
            if self._data.claimed != self._data.database:
                raise OSError("another gateway with this data directory uses another database")
            ensure_recorder(self._data.path, self._data.given_url, self._duties)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error("no recorder for %s can be started (%s); the journal waits", self._data.path, error)
            self._failed = True

    def close(self) -> None:
        """Stops looking; the recorder goes by itself once no writer is left. Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.check()
            for report in self.reports:
                report()
            wanted = self._retention
            if wanted != self._saved:
                self._saved = wanted
                self._save(wanted)
            plan, traces = self._plan, self._traces
            if plan != self._saved_plan:
                self._saved_plan = plan
                self._save_plan("alerts", functools.partial(ALERTS.save, self._data.path, plan))
            if traces != self._saved_traces:
                self._saved_traces = traces
                self._save_plan("traces", functools.partial(TRACES.save, self._data.path, traces))

    def _save(self, retention: Retention) -> None:
        try:
            save_retention(self._data.path, retention)
        except (OSError, ConfigError) as error:
            _log.error("retention of %s can not be changed: %s", self._data.path, error)

    def _save_plan(self, what: str, save: Callable[[], None]) -> None:
        try:
            save()
        except ConfigError as error:
            _log.error("%s of %s can not be changed: %s", what, self._data.path, error)


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _rotate_log(path: Path) -> None:
    try:
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    except FileNotFoundError:
        return


def _let_go() -> None:
    """The recorder outlives us on purpose; Popen need not warn of it."""
    for child in _children:
        if child.poll() is None:
            child.returncode = 0


atexit.register(_let_go)
