"""One write a tick, and nothing goes out before it."""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections.abc import Callable

import pytest

from headgate.core.record import Record
from headgate.stores.journal.ticks import TickJournal
from headgate.stores.journal.writer import JournalWriter


class Disk:
    """Counts writes; refuses those that it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.refuse = 0

    def write(self, fd: int, data: bytes | bytearray) -> int:
        if self.refuse:
            self.refuse -= 1
            raise OSError(28, "No space left on device")
        self.sizes.append(len(data))
        return os.write(fd, data)


@pytest.fixture
def journal(tmp_path: pathlib.Path) -> Callable[..., tuple[TickJournal, Disk]]:
    def make(**settings: object) -> tuple[TickJournal, Disk]:
        disk = Disk()
        writer = JournalWriter(tmp_path, write=disk.write, **{"fsync": "never", **settings})
        return TickJournal(writer, asyncio.get_running_loop()), disk

    return make


async def test_records_of_one_tick_are_one_write(journal: Callable[..., tuple[TickJournal, Disk]]) -> None:
    """Whatever ends in one tick shares a write and a settlement; callbacks run after it, in order."""
    ticks, disk = journal()
    seen: list[tuple[str, int]] = []
    for name in ("a", "b", "c"):
        ticks.append(Record(name, 1)).then(lambda name=name: seen.append((name, len(disk.sizes))))
    assert (disk.sizes, seen) == ([], [])
    await asyncio.sleep(0)
    assert seen == [("a", 1), ("b", 1), ("c", 1)]
    later = ticks.append(Record("d", 1))
    await later
    assert (later.done, len(disk.sizes)) == (True, 2)
    later.then(lambda: seen.append(("d", 2)))
    assert seen[-1] == ("d", 2)
    ticks.close()


async def test_one_failing_callback_harms_no_other(
    journal: Callable[..., tuple[TickJournal, Disk]], caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that can not go out is logged; the other answers of its tick go out."""
    ticks, _ = journal()
    seen: list[str] = []

    def broken() -> None:
        raise RuntimeError("the handler is closed")

    ticks.append(Record("a", 1)).then(broken)
    ticks.append(Record("b", 1)).then(lambda: seen.append("b"))
    await asyncio.sleep(0)
    assert seen == ["b"]
    assert len(caplog.records) == 1
    ticks.close()


async def test_closing_writes_what_waits(journal: Callable[..., tuple[TickJournal, Disk]]) -> None:
    """Nothing is left behind in the tick that was under way."""
    ticks, disk = journal()
    settled = ticks.append(Record("a", 1))
    ticks.close()
    assert settled.done
    assert len(disk.sizes) == 1


async def test_a_refused_batch_is_written_one_by_one(journal: Callable[..., tuple[TickJournal, Disk]]) -> None:
    """A disk that refuses the batch costs no Record: each is tried again by itself."""
    ticks, disk = journal()
    disk.refuse = 1
    settled = [ticks.append(Record(name, 1)) for name in ("a", "b")]
    await asyncio.sleep(0)
    assert all(one.done for one in settled)
    assert len(disk.sizes) == 2
    ticks.close()


async def test_a_record_that_can_not_be_encoded_as_it_is_spoils_no_other(
    journal: Callable[..., tuple[TickJournal, Disk]],
) -> None:
    """An odd value in one Record sends the batch the slow way; all are written."""
    ticks, disk = journal()
    ticks.append(Record("a", 1, notes={"odd": 2**70}))
    ticks.append(Record("b", 1))
    await asyncio.sleep(0)
    assert len(disk.sizes) == 2
    ticks.close()


async def test_fsync_always_settles_after_the_sync(journal: Callable[..., tuple[TickJournal, Disk]]) -> None:
    """With fsync at each answer the settlement comes from the sync's thread, not from the write."""
    ticks, _ = journal(fsync="always")
    settled = ticks.append(Record("a", 1))
    await asyncio.wait_for(settled_of(settled), 5)
    assert settled.done
    ticks.close()


async def settled_of(settlement: object) -> None:
    await settlement  # type: ignore[misc]
