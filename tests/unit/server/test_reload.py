"""The Reloader reads on its own thread, hands over on the loop, and ends without a trace."""

from __future__ import annotations

import asyncio
import pathlib
import threading

import pytest

from headgate.config import follow
from headgate.config.settings import Settings
from headgate.config.source import Source
from headgate.core.errors import ConfigError
from headgate.server.reload import Reloader

ONE = "models: {one: {route: [sim/echo]}}\n"
TWO = "models: {two: {route: [sim/echo]}}\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PERIOD", 0.02)
    monkeypatch.setattr(follow, "SETTLE", 0.01)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "headgate.yaml"
    path.write_text(ONE)
    return path


def make(file: pathlib.Path) -> Reloader:
    source = Source(file, environ={})
    return Reloader(source, source.load(), source.version)


def change(file: pathlib.Path) -> None:
    file.write_text(TWO)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "headgate-reload"]


async def test_what_is_new_is_applied_on_the_loop(file: pathlib.Path) -> None:
    """In the thread of the loop, where cores live; afterwards the thread is gone."""
    applied: asyncio.Queue[tuple[list[str], int]] = asyncio.Queue()
    reloader = make(file)
    reloader.start(lambda settings, version: applied.put_nowait((list(settings.models), threading.get_ident())))
    assert threads() == ["headgate-reload"]
    change(file)
    assert await asyncio.wait_for(applied.get(), 5) == (["two"], threading.get_ident())
    await reloader.stop()
    assert threads() == []
    await reloader.stop()


async def test_a_refusal_on_the_loop_keeps_what_was(file: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """What composing raises is told as any other refusal."""
    asked = asyncio.Event()

    def refuse(settings: Settings, version: str) -> None:
        asked.set()
        raise ConfigError("the proxy can not be read")

    reloader = make(file)
    reloader.start(refuse)
    change(file)
    await asyncio.wait_for(asked.wait(), 5)
    while not caplog.messages:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await reloader.stop()
    assert caplog.messages == ["configuration refused, the one before holds: the proxy can not be read"]


async def test_waking_reads_without_a_change(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGHUP does not wait for the next look."""
    monkeypatch.setattr(follow, "PERIOD", 60.0)
    caplog.set_level("INFO", "headgate.config")
    reloader = make(file)
    reloader.start(lambda settings, version: None)
    await asyncio.sleep(0.1)
    reloader.wake()
    while not caplog.messages:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await reloader.stop()
    assert caplog.messages == ["configuration read again: nothing changed"]


def test_a_loop_that_went_ends_it(file: pathlib.Path) -> None:
    """An application that never shuts the gateway down leaves no thread that looks for nobody."""
    reloader = make(file)

    async def begin() -> None:
        reloader.start(lambda settings, version: None)

    with asyncio.Runner() as runner:
        runner.run(begin())
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "headgate-reload"]
    thread.join(60)
    assert threads() == []
