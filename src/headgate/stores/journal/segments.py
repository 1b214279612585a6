"""Segment files: their names, their creation under a lock, and how to tell whether their writer still lives.

A segment is locked (``flock``) by its writer from before its name appears until it is closed; so a free lock means
that nobody will ever write to it again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from headgate.stores.journal.framing import new_prefix

RECORDS = ".records"
PAYLOADS = ".payload"
NEW = ".new"
CORRUPT = ".corrupt"
_STALE_NEW_S = 3600.0

make_durable: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""``fdatasync`` where there is one, else ``fsync`` (macOS)."""


class Segment:
    """A segment open for writing.

    Attributes:
        path: where it lies.
        fd: its file descriptor, locked, in append mode; -1 once closed.
        salt: what its checksums start from.
        size: bytes written and whole; what lies behind it is a torn write.
        entries: how many entries it holds.
        opened: when it was made, on the monotonic clock (s).
    """

    __slots__ = ("entries", "fd", "opened", "path", "salt", "size")

    def __init__(self, path: Path, fd: int, salt: int, size: int, opened: float) -> None:
        self.path = path
        self.fd = fd
        self.salt = salt
        self.size = size
        self.opened = opened
        self.entries = 0

    def close(self, *, unlink: bool = False) -> None:
        """Gives up the lock; with ``unlink`` the file too."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        try:
            if unlink:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(fd)


def create_segment(directory: Path, suffix: str, now: float) -> Segment:
    """Makes a new, locked segment with a random name.

    It gets its name only once it is locked and holds its prefix: the recorder never meets one that looks abandoned.

    Raises:
        OSError: the directory is gone or not writable, or the disk is full.
    """
    prefix, salt = new_prefix()
    while True:
        path = directory / f"{secrets.token_hex(12)}{suffix}"
        new = path.with_name(path.name + NEW)
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(fd, prefix) != len(prefix):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new))
            os.rename(new, path)
        except BlockingIOError:
            os.close(fd)
            continue
        except BaseException:
            os.close(fd)
            new.unlink(missing_ok=True)
            raise
        return Segment(path, fd, salt, len(prefix), now)


def list_segments(directory: Path) -> list[tuple[str, int]]:
    """Returns the names and sizes of the journal's segments, records before payloads; none if it is gone."""
    found: list[tuple[str, int]] = []
    try:
        with os.scandir(directory) as files:
            for file in files:
                if file.name.endswith((RECORDS, PAYLOADS)):
                    try:
                        found.append((file.name, file.stat().st_size))
                    except FileNotFoundError:
                        continue
    except FileNotFoundError:
        return []
    found.sort(key=lambda item: (item[0].endswith(PAYLOADS), item[0]))
    return found


def try_lock(fd: int) -> bool:
    """Takes the lock on an open file if it is free; True if we hold it now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def has_writer(path: Path) -> bool:
    """Whether a live writer holds the segment; False when it is closed, abandoned or gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


def remove_old_corrupt(directory: Path, wall_now: float, days: float | None, payload_days: float | None) -> None:
    """Removes what could not be read and was put aside, once it is older than what could: nobody has redacted it.

    Args:
        directory: the journal.
        wall_now: seconds since 1970.
        days: how long Records are kept; None is without end.
        payload_days: how long payloads are.
    """
    with os.scandir(directory) as files:
        for file in files:
            kept = payload_days if file.name.endswith(PAYLOADS + CORRUPT) else days
            if file.name.endswith(CORRUPT) and kept is not None:
                try:
                    if wall_now - file.stat().st_mtime > kept * 86_400:
                        os.unlink(file.path)
                except FileNotFoundError:
                    continue


def remove_stale_new(directory: Path, wall_now: float) -> None:
    """Removes what a process killed in the middle of ``create_segment`` left behind, an hour later."""
    with os.scandir(directory) as files:
        for file in files:
            if file.name.endswith(NEW):
                try:
                    if wall_now - file.stat().st_mtime > _STALE_NEW_S:
                        os.unlink(file.path)
                except FileNotFoundError:
                    continue
