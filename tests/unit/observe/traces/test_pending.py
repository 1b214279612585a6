"""Pending calls: ids in files, exported only once their calls are stored."""

from __future__ import annotations

import pathlib

import pytest

from headgate.observe.traces import pending
from headgate.observe.traces.pending import PendingCalls


def store(calls: PendingCalls, *ids: str) -> None:
    """As the recorder does it."""
    calls.append(ids)
    calls.commit()


def every(calls: PendingCalls, most: int = 3) -> list[str]:
    """Takes all that waits."""
    found = []
    while ids := calls.peek(most):
        found += ids
        calls.take(ids)
    return found


def test_what_is_stored_waits_until_it_is_taken(tmp_path: pathlib.Path) -> None:
    """In order, also for the next process; what was taken does not come again."""
    calls = PendingCalls(tmp_path / "traces")
    assert calls.peek(9) == []
    store(calls, "a", "b", "c")
    assert (calls.waiting, calls.peek(2), calls.peek(9)) == (3, ["a", "b"], ["a", "b", "c"])
    calls.take(["a", "b"])
    store(calls, "d")
    again = PendingCalls(tmp_path / "traces")
    assert again.waiting == 2
    assert every(again) == ["c", "d"]
    assert PendingCalls(tmp_path / "traces").waiting == 0


def test_what_is_not_stored_yet_is_not_exported(tmp_path: pathlib.Path) -> None:
    """And what comes in its place is there once."""
    calls = PendingCalls(tmp_path)
    store(calls, "a")
    calls.append(["b", "c"])
    assert calls.peek(9) == ["a"]
    calls.append(["b", "c", "d"])
    assert calls.commit() == 3
    assert every(calls) == ["a", "b", "c", "d"]
    calls.append(["e"])
    calls.append([])
    assert calls.commit() == 0
    assert calls.peek(9) == []


def test_after_a_kill_between_writing_and_storing_it_is_asked_for(tmp_path: pathlib.Path) -> None:
    """It may have been stored; a line that is torn was not."""
    calls = PendingCalls(tmp_path)
    store(calls, "a")
    calls.append(["b", "c"])
    file = next(tmp_path.glob("*.ids"))
    file.write_bytes(file.read_bytes() + b"tor")
    again = PendingCalls(tmp_path)
    store(again, "d")
    assert every(again) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("restart", [False, True])
def test_files_are_of_bounded_size_and_go_once_they_are_done(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    """Whoever reads them."""
    monkeypatch.setattr(pending, "SEGMENT_BYTES", 30)
    calls = PendingCalls(tmp_path)
    ids = [f"hg_{number:03d}" for number in range(50)]
    for start in range(0, 50, 2):
        store(calls, *ids[start : start + 2])
    assert len(list(tmp_path.glob("*.ids"))) > 5
    found = []
    while some := calls.peek(4):
        found += some
        calls.take(some)
        if restart:
            calls = PendingCalls(tmp_path)
            assert calls.waiting == 50 - len(found)
    assert found == ids
    assert len(list(tmp_path.glob("*.ids"))) == 1
    store(calls, "new")
    assert every(calls) == ["new"]


def test_a_lost_cursor_or_file_is_survived(tmp_path: pathlib.Path) -> None:
    """At worst some come again."""
    calls = PendingCalls(tmp_path)
    store(calls, "a", "b")
    calls.take(["a"])
    (tmp_path / "cursor").write_text("nonsense")
    assert PendingCalls(tmp_path).peek(9) == ["a", "b"]
    (tmp_path / "cursor").write_text("7 100")
    calls = PendingCalls(tmp_path)
    assert calls.waiting == 0
    store(calls, "c")
    assert every(calls) == ["c"]
    assert every(PendingCalls(tmp_path)) == []


def test_a_full_disk_leaves_what_was_there(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the batch is pending then."""
    calls = PendingCalls(tmp_path)
    store(calls, "a")
    with monkeypatch.context() as patch:
        patch.setattr(pending.os, "pwrite", lambda fd, data, offset: len(data) - 1)
        with pytest.raises(OSError, match="only a part"):
            calls.append(["b"])
    assert calls.commit() == 0
    store(calls, "c")
    assert every(calls) == ["a", "c"]


def test_all_can_be_forgotten(tmp_path: pathlib.Path) -> None:
    """And then it begins anew."""
    calls = PendingCalls(tmp_path)
    store(calls, "a", "b")
    assert calls.clear() == 2
    assert list(tmp_path.iterdir()) == []
    assert PendingCalls(tmp_path).waiting == 0
    store(calls, "c")
    assert every(calls) == ["c"]
