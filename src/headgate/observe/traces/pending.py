"""The calls that are not exported yet, by their ids, in files of the data directory.

A call's id is written before the call is stored, and exported only once it is: whatever is killed, nothing that was
stored is forgotten. Nothing of a call but its id is here: what it was is read from the store again, while that
still has it.

``NNNNNNNN.ids`` hold an id a line; ``cursor`` says behind which of them everything is to be exported.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

SEGMENT_BYTES = 2 << 20
_SUFFIX = ".ids"
_CURSOR = "cursor"
_LINE = 4096
"""No id is longer."""


class PendingCalls:
    """Ids in the order in which their calls were stored. One thread appends and commits, another one takes.

    Args:
        directory: made at the first append.

    Attributes:
        waiting: how many ids are committed and not taken.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._first, self._offset = 0, 0
        self._last, self._committed = 0, 0
        self._unsure = self._size = 0
        self.waiting = 0
        self._open()

    def append(self, ids: Sequence[str]) -> None:
        """Writes ids of calls that are about to be stored, in the place of any that never were.

        Raises:
            OSError: the disk is full, or the like; then none of them is there.
        """
        data = "".join([f"{id}\n" for id in ids]).encode()
        with self._lock:
            if not data:
                self._unsure = 0
                return
            if self._committed >= SEGMENT_BYTES:
                self._last, self._committed = self._last + 1, 0
            self._unsure = 0
            self._directory.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(self._segment(self._last), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, self._committed)
                if os.pwrite(fd, data, self._committed) != len(data):
                    os.ftruncate(fd, self._committed)
                    raise OSError("only a part could be written")
            finally:
                os.close(fd)
            self._unsure, self._size = len(ids), len(data)

    def commit(self) -> int:
        """The calls that were appended last are stored; returns how many they are."""
        with self._lock:
            count, self._unsure = self._unsure, 0
            self._committed += self._size if count else 0
            self.waiting += count
            return count

    def peek(self, most: int) -> list[str]:
        """Returns the oldest ids, at most so many, all of one file; none where nothing waits.

        Raises:
            OSError: the files are gone, or can not be read.
        """
        with self._lock:
            if not self.waiting:
                return []
            self._pass_end()
            room = self._end(self._first) - self._offset
            with self._segment(self._first).open("rb") as file:
                file.seek(self._offset)
                lines = file.read(min(room, most * 64 + _LINE)).split(b"\n")
            return [line.decode() for line in lines[:-1][:most]]

    def take(self, ids: Sequence[str]) -> None:
        """Goes on behind ids that ``peek`` returned first.

        Raises:
            OSError: the cursor can not be written; a later recorder begins where the last one that could be is.
        """
        with self._lock:
            self._offset += sum([len(id.encode()) + 1 for id in ids])
            self.waiting -= len(ids)
            self._pass_end()
            self._save()

    def clear(self) -> int:
        """Forgets all that waits; returns how many there were.

        Raises:
            OSError: the files can not be deleted.
        """
        with self._lock:
            count, self.waiting, self._unsure = self.waiting, 0, 0
            for number in self._numbers():
                self._segment(number).unlink(missing_ok=True)
            (self._directory / _CURSOR).unlink(missing_ok=True)
            self._first = self._last = self._offset = self._committed = 0
            return count

    def _open(self) -> None:
        """What the last one left: an append that was not committed may be of calls that are stored."""
        numbers = self._numbers()
        if not numbers:
            return
        self._first, self._last = numbers[0], numbers[-1]
        cursor = self._directory / _CURSOR
        words = cursor.read_text().split() if cursor.exists() else []
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[0]) >= self._first:
            self._first, self._offset = int(words[0]), int(words[1])
        if self._first > self._last:
            self._last, self._offset = self._first, 0
        for number in numbers:
            path = self._segment(number)
            if number < self._first:
                path.unlink(missing_ok=True)
                continue
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1  # a torn line is of an append that nobody committed
            if number == self._last:
                os.truncate(path, whole)
                self._committed = whole
            start = min(self._offset, whole) if number == self._first else 0
            self._offset = start if number == self._first else self._offset
            self.waiting += data.count(b"\n", start, whole)

    def _pass_end(self) -> None:
        while self._first < self._last and self._offset >= self._end(self._first):
            self._segment(self._first).unlink(missing_ok=True)
            self._first, self._offset = self._first + 1, 0

    def _end(self, number: int) -> int:
        return self._committed if number == self._last else self._segment(number).stat().st_size

    def _save(self) -> None:
        new = self._directory / f"{_CURSOR}.new"
        new.write_text(f"{self._first} {self._offset}\n")
        new.replace(self._directory / _CURSOR)

    def _segment(self, number: int) -> Path:
        return self._directory / f"{number:08d}{_SUFFIX}"

    def _numbers(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        return sorted(int(path.stem) for path in self._directory.glob(f"*{_SUFFIX}") if path.stem.isdigit())
