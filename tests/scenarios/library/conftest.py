"""Gateways in this process, and the proof that nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import pathlib
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.scenarios.conftest import CONFIG, Upstream

from headgate import Gateway
from headgate.stores.data import DataDir

from .play import Make


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data directory whose schema is there; making one takes longer than most tests here."""
    path = tmp_path_factory.mktemp("migrated") / "data"
    DataDir(path).prepare()
    return path


@pytest.fixture
def data(tmp_path: pathlib.Path, migrated: pathlib.Path) -> pathlib.Path:
    """A fresh data directory."""
    return shutil.copytree(migrated, tmp_path / "data")


@pytest.fixture
def no_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals stay as they are until somebody looks at records: a recorder's process takes longer than most tests."""
    monkeypatch.setattr("headgate.stores.keeper.ensure_recorder", lambda *_, **__: None)


@pytest.fixture
def make(tmp_path: pathlib.Path, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a Gateway before an upstream (or none: on embedded defaults)."""
    monkeypatch.setenv("UP_KEY", "sk-upstream-secret")
    monkeypatch.delenv("HEADGATE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    def start(up: Upstream | None = None, extra: str = "", kind: type[Any] = Gateway, **more: Any) -> Any:
        if up is None:
            return kind(data=data, **more)
        config = tmp_path / "before-up.yaml"
        config.write_text(CONFIG.format(port=up.port) + extra)
        return kind(config, **{"data": data, **more})

    return start


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Whatever a test does with its gateways, their threads and sockets are gone at its end."""
    gc.collect()
    before = {thread.name for thread in threading.enumerate()}
    yield
    gc.collect()
    until = time.monotonic() + 60
    while extra := [thread.name for thread in threading.enumerate() if thread.name not in before]:
        assert time.monotonic() < until, extra
        time.sleep(0.01)


@pytest.fixture(autouse=True)
async def no_task_leaks() -> AsyncIterator[None]:
    """No task outlives the test that started it."""
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
