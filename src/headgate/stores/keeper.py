"""Keeps one recorder alive per data directory: elects it by a file lock and starts it anew when it is gone.

Whoever finds the lock free takes it and hands it, open, to the process it starts: no two can ever be started, and
between "nobody records" and "somebody does" there is no gap.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import subprocess
import sys
from pathlib import Path

from headgate.stores.database import URL_VARIABLE

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


def ensure_recorder(directory: Path, url: str | None = None) -> int | None:
    """Starts a recorder for the data directory unless one runs. Costs a few µs when one does.

    Args:
        directory: the data directory.
        url: the database's URL, None for the directory's own SQLite file.

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
                "headgate.stores.recorder",
                "--data",
                str(directory),
                "--lock-fd",
                str(lock),
            ]
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
    """Looks after the recorder of one data directory; ``check`` is cheap enough to be called twice a second."""

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self._directory = directory
        self._url = url
        self._failed = False

    def check(self) -> None:
        """Starts a recorder where none runs. Never raises: a journal without a recorder waits, and loses nothing."""
        try:
            ensure_recorder(self._directory, self._url)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error(
                    "no recorder can be started for %s (%s); records wait in the journal", self._directory, error
                )
            self._failed = True


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
