"""The journal's reading end: whole entries from an offset on, patience with a torn tail, a way past damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from headgate.stores.journal.framing import PREFIX_SIZE, Entry, next_entry, parse, salt_of
from headgate.stores.journal.segments import CORRUPT, PAYLOADS, try_lock

_CHUNK = 1 << 20


class Damage(NamedTuple):
    """A stretch of a segment that could not be read: where, how long, whether it is but a torn tail, and its fate."""

    start: int
    size: int
    torn: bool
    fate: str


class SegmentReader:
    """Reads one segment from ``offset`` on, while it is written or after.

    Attributes:
        path: the segment.
        offset: behind the last entry handed out.
        stopped: why the last ``read`` gave no more: ``""`` (at the end, or enough), ``"torn"`` or ``"damaged"``.
        closed_by_writer: True once we hold its lock: nothing will ever be added.

    Raises:
        FileNotFoundError: there is no such segment.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.stopped = ""
        self.closed_by_writer = False
        self._salt: int | None = None
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """How many bytes the segment has now."""
        return os.fstat(self._fd).st_size

    def check_writer(self) -> bool:
        """Takes the lock if the writer has let go; True once we have it. What is unread then is all there will be."""
        if not self.closed_by_writer:
            self.closed_by_writer = try_lock(self._fd)
        return self.closed_by_writer

    def read(self, limit: int = 2000, chunk: int = _CHUNK) -> list[Entry]:
        """Returns at most ``limit`` further entries, none at the end, at a torn tail or at damage."""
        self.stopped = ""
        if self._salt is None and not self._read_prefix():
            return []
        salt = self._salt
        assert salt is not None
        left = self.size - self.offset
        if left <= 0:
            return []
        data = os.pread(self._fd, min(left, chunk), self.offset)
        parsed = parse(data, salt, self.offset, limit)
        while not parsed.entries and parsed.stopped == "torn" and len(data) < parsed.need <= self.size - self.offset:
            data = os.pread(self._fd, parsed.need, self.offset)  # an entry larger than the chunk
            parsed = parse(data, salt, self.offset, limit)
        if not parsed.entries:
            self.stopped = parsed.stopped
        self.offset = parsed.end
        return parsed.entries

    def at_end(self) -> bool:
        """Whether all of the segment has been handed out."""
        return self.offset >= self.size

    def skip_damage(self) -> Damage | None:
        """Gets past what stopped the last ``read``: to the next sound entry, or, once the writer is gone, to the end.

        What is skipped is put aside (see ``save_corrupt``), but for a torn tail, which no caller was ever
        answered by. Returns None, and stays, where the writer may still complete it.
        """
        data = os.pread(self._fd, self.size - self.offset, self.offset)
        start = self.offset
        found = -1 if self._salt is None else next_entry(data, self._salt, 1)
        if found < 0 and not self.closed_by_writer:
            return None
        torn = found < 0 and self.stopped == "torn"
        size = found if found >= 0 else len(data)
        fate = save_corrupt(self.path, data[:size]) if size and not torn else ""
        self.offset = start + size
        self.stopped = ""
        return Damage(start, size, torn, fate)

    def close(self) -> None:
        """Lets go of the file, and of its lock. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_prefix(self) -> bool:
        prefix = os.pread(self._fd, PREFIX_SIZE, 0)
        self._salt = salt_of(prefix)
        if self._salt is None:
            self.stopped = "torn" if len(prefix) < PREFIX_SIZE else "damaged"
            return False
        self.offset = max(self.offset, PREFIX_SIZE)
        return True


def save_corrupt(path: Path, data: bytes | memoryview) -> str:
    """Keeps bytes that can not be used beside their segment, for a person to look at; never those of payloads.

    Nobody can redact what nobody can read, and payloads are all that people have said.

    Returns:
        Where they went, in words for a log.
    """
    if path.name.endswith(PAYLOADS):
        return "are dropped: what can not be read can not be redacted"
    fd = os.open(path.with_name(path.name + CORRUPT), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    return f"are kept in {path.name}{CORRUPT}"
