"""The journal's writing end: what is appended is on disk; a sick disk costs nobody an answer."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from headgate.core.record import Record
from headgate.stores.journal.framing import PayloadEntry
from headgate.stores.journal.reader import SegmentReader
from headgate.stores.journal.segments import NEW, create_segment, has_writer, list_segments, remove_stale_new
from headgate.stores.journal.writer import JournalWriter

MakeRecord = Callable[..., Record]


def read_all(directory: Path, suffix: str = ".records") -> list[Record]:
    """Returns all Records in a journal directory."""
    found: list[Record] = []
    for name, _ in list_segments(directory):
        if name.endswith(suffix):
            reader = SegmentReader(directory / name)
            while entries := reader.read():
                found += [msgspec.msgpack.decode(entry.payload, type=Record) for entry in entries]
            reader.close()
    return found


class SickDisk:
    """A ``write`` that fails, or writes but a part, while it is told to."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.short: int | None = None

    def __call__(self, fd: int, data: bytes | bytearray) -> int:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return os.write(fd, data if self.short is None else data[: self.short])


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits at most a minute for what a thread is to do."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


def test_an_appended_record_can_be_read_at_once(tmp_path: Path, make_record: MakeRecord) -> None:
    """A Record is in the file when ``append`` returns, equal to what went in, in a file of our own only."""
    journal = JournalWriter(tmp_path)
    record = make_record(tags={"a": "b"}, notes={"n": [1, None]})
    assert journal.append(record) is None
    assert read_all(tmp_path) == [record]
    (name, _), *rest = list_segments(tmp_path)
    assert not rest
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert has_writer(tmp_path / name)
    journal.close()
    assert not has_writer(tmp_path / name)
    assert journal.stats.records == 1


def test_a_journal_that_was_never_used_leaves_nothing(tmp_path: Path) -> None:
    """Closing without a Record removes the segment; closing twice does nothing more."""
    journal = JournalWriter(tmp_path)
    journal.close()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_record_after_close_is_not_lost(tmp_path: Path, make_record: MakeRecord) -> None:
    """Even a Record that comes late, after ``close``, is written."""
    journal = JournalWriter(tmp_path)
    journal.close()
    record = make_record()
    journal.append(record)
    assert read_all(tmp_path) == [record]


def test_rotation_by_size_and_age(tmp_path: Path, make_record: MakeRecord) -> None:
    """A segment that is full, or old and not empty, is closed and its lock freed; nothing is lost over it."""
    journal = JournalWriter(tmp_path, rotate_bytes=1, sync_seconds=0.02)
    records = []
    for _ in range(3):
        records.append(make_record())
        journal.append(records[-1])
        count = len(list_segments(tmp_path))
        wait_for(lambda count=count: len(list_segments(tmp_path)) > count)  # type: ignore[misc]
    journal.close()
    old = JournalWriter(tmp_path, rotate_seconds=0.0, sync_seconds=0.02)
    count = len(list_segments(tmp_path))
    records.append(make_record())
    old.append(records[-1])
    wait_for(lambda: len(list_segments(tmp_path)) > count)
    old.close()
    assert sorted(r.id for r in read_all(tmp_path)) == sorted(r.id for r in records)
    assert not any(has_writer(tmp_path / name) for name, _ in list_segments(tmp_path))


@pytest.mark.parametrize("fault", ["full", "short"])
def test_a_full_disk_queues_and_retries(
    tmp_path: Path, make_record: MakeRecord, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Records that the disk refuses, or takes by half, wait in memory and are written once there is room; said once."""
    disk = SickDisk()
    journal = JournalWriter(tmp_path, write=disk, sync_seconds=0.02)
    first = make_record()
    journal.append(first)
    disk.error, disk.short = (errno.ENOSPC, None) if fault == "full" else (None, 7)
    late = [make_record() for _ in range(5)]
    for record in late:
        assert journal.append(record) is None
    assert journal.stats.queued == 5
    assert [r.id for r in read_all(tmp_path)] == [first.id]
    disk.error = disk.short = None
    wait_for(lambda: journal.stats.queued == 0)
    journal.close()
    assert [r.id for r in read_all(tmp_path)] == [first.id, *(r.id for r in late)]
    assert journal.stats.dropped == 0
    assert sum("can not write" in message for message in caplog.messages) == (1 if fault == "full" else 0)


def test_memory_is_bounded_and_the_loss_is_counted(
    tmp_path: Path, make_record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk takes nothing and the memory for it is used up, Records are dropped, counted, and it is said."""
    disk = SickDisk()
    journal = JournalWriter(tmp_path, write=disk, queue_bytes=500)
    disk.error = errno.ENOSPC
    for _ in range(50):
        journal.append(make_record())
    assert journal.stats.queued + journal.stats.dropped == 50
    assert journal.stats.queued < 10
    assert any("lost" in message for message in caplog.messages)
    disk.error = None
    journal.close()


def test_payloads_are_shed_before_records(tmp_path: Path, make_record: MakeRecord) -> None:
    """A full disk costs payloads first: their segment is deleted to make room, and they are counted."""
    disk = SickDisk()
    journal = JournalWriter(tmp_path, write=disk, min_free_bytes=0)
    journal.append_payload("hg_1", b"question", b"answer")
    journal.append_payload("hg_2", b"question", b"answer")
    (segment,) = [name for name, _ in list_segments(tmp_path) if name.endswith(".payload")]
    reader = SegmentReader(tmp_path / segment)
    entry = msgspec.msgpack.decode(reader.read()[0].payload, type=PayloadEntry)
    reader.close()
    assert entry == PayloadEntry("hg_1", b"question", b"answer")
    disk.error = errno.ENOSPC
    journal.append(make_record())
    assert journal.stats.payloads_shed == 2
    assert not (tmp_path / segment).exists()
    journal.append_payload("hg_3", b"question", b"answer")
    assert journal.stats.payloads_shed == 3
    disk.error = None
    journal.close()
    assert len(read_all(tmp_path)) == 1


def test_payloads_are_shed_while_the_disk_is_short(tmp_path: Path, make_record: MakeRecord) -> None:
    """With less room than the reserve, payloads are no longer taken; Records are."""
    journal = JournalWriter(tmp_path, min_free_bytes=1 << 62, sync_seconds=0.02)
    journal.append_payload("hg_1", b"q", b"a")
    wait_for(lambda: journal._shedding)
    journal.append_payload("hg_2", b"q", b"a")
    journal.append(make_record())
    journal.close()
    assert (journal.stats.payloads, journal.stats.payloads_shed, journal.stats.records) == (1, 1, 1)


def test_what_no_encoder_takes_is_recorded_all_the_same(tmp_path: Path, make_record: MakeRecord) -> None:
    """Lone surrogates, huge integers and foreign objects do not cost the Record."""
    journal = JournalWriter(tmp_path)
    journal.append(make_record(model="a\ud800b", notes={"huge": 1 << 80, "path": Path("/x")}))
    journal.append(make_record(notes={"error": ValueError("v")}))
    journal.close()
    first, second = read_all(tmp_path)
    assert first.model == "a?b"
    assert first.notes == {"huge": (1 << 63) - 1, "path": "/x"}
    assert second.notes == {"error": "v"}


async def test_always_waits_for_one_sync_of_many(tmp_path: Path, make_record: MakeRecord) -> None:
    """With ``always`` each append is awaitable, and those who wait together share a sync."""
    journal = JournalWriter(tmp_path, fsync="always")
    waits = [journal.append(make_record()) for _ in range(100)]
    assert all(wait is not None for wait in waits)
    await asyncio.wait_for(asyncio.gather(*[wait for wait in waits if wait is not None]), 10)
    assert journal._commit is not None
    assert journal._commit.syncs < 50
    journal.close()
    assert len(read_all(tmp_path)) == 100


def test_always_outside_a_loop_syncs_before_it_returns(tmp_path: Path, make_record: MakeRecord) -> None:
    """Without an event loop there is nothing to await: ``append`` itself waits for the disk."""
    journal = JournalWriter(tmp_path, fsync="always")
    assert journal.append(make_record()) is None
    journal.close()
    assert len(read_all(tmp_path)) == 1


def test_a_missing_directory_is_an_error_at_start(tmp_path: Path) -> None:
    """A journal that can never be written says so when it is opened."""
    with pytest.raises(FileNotFoundError):
        JournalWriter(tmp_path / "nowhere")


def test_a_forked_child_writes_a_segment_of_its_own(tmp_path: Path, make_record: MakeRecord) -> None:
    """After a fork, parent and child write different segments, and no Record is lost or doubled."""
    journal = JournalWriter(tmp_path)
    journal.append(make_record())
    child = os.fork()
    if child == 0:
        try:
            journal.append(make_record())
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    journal.append(make_record())
    journal.close()
    assert len({record.id for record in read_all(tmp_path)}) == len(read_all(tmp_path)) == 3
    assert len(list_segments(tmp_path)) == 2


def test_an_abandoned_beginning_is_cleared(tmp_path: Path) -> None:
    """What a process killed while making a segment left behind is removed after an hour, not before."""
    segment = create_segment(tmp_path, ".records", 0.0)
    stale = tmp_path / f"x.records{NEW}"
    stale.touch()
    remove_stale_new(tmp_path, time.time())
    assert stale.exists()
    remove_stale_new(tmp_path, time.time() + 7200)
    assert not stale.exists()
    segment.close(unlink=True)
