"""The keeper's own thread makes changed retention known."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from headgate.stores import keeper as module
from headgate.stores.data import DataDir
from headgate.stores.keeper import RecorderKeeper
from headgate.stores.retention import FILE, Retention, load_retention


def wait_for(condition: Callable[[], object]) -> None:
    """Waits at most a minute for what a thread is to do."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _no_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ensure_recorder", lambda *_: None)


def test_retention_changes_while_it_runs(data: DataDir) -> None:
    """The data directory has the new one soon after; the recorder reads it there."""
    keeper = RecorderKeeper(data, retention=Retention(90.0), seconds=0.01)
    keeper.start()
    assert load_retention(data.path).retention_days == 90.0
    keeper.keep(Retention(30.0))
    wait_for(lambda: load_retention(data.path).retention_days == 30.0)
    keeper.close()


def test_retention_that_can_not_be_written_is_told(data: DataDir, caplog: pytest.LogCaptureFixture) -> None:
    """Once; the keeper goes on looking."""
    keeper = RecorderKeeper(data, retention=Retention(90.0), seconds=0.01)
    keeper.start()
    (data.path / FILE).write_text("{broken")
    with caplog.at_level(logging.ERROR, "headgate.recorder"):
        keeper.keep(Retention(30.0))
        wait_for(lambda: caplog.records)
    time.sleep(0.05)
    keeper.close()
    assert len(caplog.records) == 1
    assert "can not be changed" in caplog.text
