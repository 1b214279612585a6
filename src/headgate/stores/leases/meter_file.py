"""MeterFile: what a worker has settled and reserved under each of its leases, in memory that a kill leaves behind.

A file mapped into memory: a number written there is the kernel's at once, without a system call, and survives the
process (not a power cut; nor does the journal, by default). It is locked by its worker: a free lock means that nobody
will ever use those leases again. A forked child has no part in it: the file, and its lock, are its parent's. See
ADR 0012.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import weakref
from pathlib import Path

from headgate.core.errors import Unavailable
from headgate.core.leases import forked_away

FOLDER = "leases"
SUFFIX = ".meter"
_NEW = ".new"
_CHUNK = 4096
_CHUNK_BYTES = _CHUNK * 16
_MOST = 1 << 20
_PAIR = struct.Struct("=qq")


class MeterFile:
    """The meter of one worker, in ``directory`` (made 0700 if missing), named by its holder's id.

    Args:
        directory: the folder of meters.
        holder: the worker's id.

    Raises:
        OSError: the file can not be made.
    """

    def __init__(self, directory: Path, holder: str) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.path = directory / f"{holder}{SUFFIX}"
        new = self.path.with_name(self.path.name + _NEW)
        self._fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Opened twice: a mapping keeps a copy of its descriptor, in forked children too, and must not hold the lock.
        self._mapped = -1
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._mapped = os.open(new, os.O_RDWR | os.O_CLOEXEC)
            self._chunks = [self._grow(0)]
            os.rename(new, self.path)
        except BaseException:
            self._let_go()
            new.unlink(missing_ok=True)
            raise
        self._free: list[int] = []
        self._next = 0
        self._forked = False
        _files.add(self)

    def take(self) -> tuple[int, memoryview, int]:
        """Returns a free slot, both numbers 0: see ``core.leases.Desk.take``.

        Raises:
            Unavailable: the disk, or the file, is full; or it is the file of the process that this one was forked from.
        """
        if self._forked:
            raise forked_away()
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._next
            if slot >= len(self._chunks) * _CHUNK:
                try:
                    if slot >= _MOST:
                        raise OSError("too many windows at once")
                    self._chunks.append(self._grow(len(self._chunks)))
                except OSError as error:
                    raise Unavailable(
                        f"No room to count another limit's window ({error.strerror or error}).",
                        code="limits_unavailable",
                        retry_after=5.0,
                    ) from error
            self._next += 1
        cells, at = self._chunks[slot // _CHUNK], slot % _CHUNK * 2
        cells[at] = cells[at + 1] = 0
        return slot, cells, at

    def give_back(self, slot: int) -> None:
        """The slot may be used again."""
        self._free.append(slot)

    def close(self, *, unlink: bool) -> None:
        """Lets go of the file, its lock with it. Idempotent."""
        if self._fd < 0:
            return
        if unlink:
            self.path.unlink(missing_ok=True)
        # Said, not left to the closing: a child that was forked past Python's hooks may have a copy.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._let_go()

    def _after_fork(self) -> None:
        """In a child: lets go of its copy of the lock, which would outlive the parent. The parent keeps its own."""
        self._forked = True
        self._let_go()

    def _let_go(self) -> None:
        for fd in (self._fd, self._mapped):
            if fd >= 0:
                os.close(fd)
        self._fd = self._mapped = -1

    def _grow(self, chunk: int) -> memoryview:
        # Written, not only made longer: a hole that the disk has no room for would kill us at the first number.
        os.pwrite(self._mapped, bytes(_CHUNK_BYTES), chunk * _CHUNK_BYTES)
        mapped = mmap.mmap(self._mapped, _CHUNK_BYTES, offset=chunk * _CHUNK_BYTES)
        return memoryview(mapped).cast("q")


def read_dead(path: Path) -> dict[int, tuple[int, int]] | None:
    """Returns what a dead worker has left behind, by slot: settled and reserved. None while it lives.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        with open(fd, "rb", closefd=False) as file:
            data = file.read()
    finally:
        os.close(fd)
    whole = len(data) // _PAIR.size * _PAIR.size
    return {slot: pair for slot, pair in enumerate(_PAIR.iter_unpack(data[:whole])) if pair != (0, 0)}


def list_meters(directory: Path) -> list[Path]:
    """Returns the meter files there are."""
    return sorted(directory.glob(f"*{SUFFIX}")) if directory.is_dir() else []


_files: weakref.WeakSet[MeterFile] = weakref.WeakSet()


def _forked() -> None:
    for file in list(_files):
        file._after_fork()


os.register_at_fork(after_in_child=_forked)
