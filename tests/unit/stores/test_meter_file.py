"""The meter file: who lives, who is dead, and what the dead leave behind."""

from __future__ import annotations

import pathlib

from headgate.stores.leases.meter_file import MeterFile, list_meters, read_dead


def test_what_a_worker_leaves_behind_can_be_read_once_it_lets_go(tmp_path: pathlib.Path) -> None:
    """A living worker's file tells nothing; a closed one all, also while something in this process still maps it."""
    file = MeterFile(tmp_path / "leases", "w1")
    slot, cells, at = file.take()
    cells[at], cells[at + 1] = 7, 5
    (path,) = list_meters(tmp_path / "leases")
    assert read_dead(path) is None
    file.close(unlink=False)
    assert cells[at] == 7
    assert read_dead(path) == {slot: (7, 5)}


def test_a_slot_begins_anew(tmp_path: pathlib.Path) -> None:
    """A slot that is used again tells nothing of its former lease."""
    file = MeterFile(tmp_path, "w1")
    slot, cells, at = file.take()
    cells[at] = 7
    file.give_back(slot)
    again, cells, at = file.take()
    assert (again, cells[at], cells[at + 1]) == (slot, 0, 0)
    file.close(unlink=True)
    file.close(unlink=True)
    assert list_meters(tmp_path) == []
