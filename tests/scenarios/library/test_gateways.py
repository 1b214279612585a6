"""The Gateway itself: two in one process, its loop, its sync face, its end, its docstrings."""

from __future__ import annotations

import asyncio
import doctest
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import headgate
from headgate import Answer, Gateway, SyncGateway, UnknownModel
from headgate.client import answer as answer_module
from headgate.client import gateway as gateway_module
from headgate.client import sync as sync_module

from .play import ASK, Make, Start, either, silent, stored


async def test_two_gateways_in_one_process(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Each has its own settings; on one data directory both are recorded, and closing one leaves the other be."""
    async with make(upstream(either)) as first:
        async with Gateway(data=data) as second:
            assert first.models() == ["fast"] != second.models()
            assert (await second.complete("sim/echo", "Hi")).text == "Hi"
        with pytest.raises(UnknownModel):
            await first.complete("nope", "Hi")
        assert (await first.complete("fast", "Hi")).text == "Paris."
    assert len(stored(data)) == 3


def test_a_gateway_stays_on_its_loop(make: Make) -> None:
    """Used from another event loop, it says so instead of hanging."""
    gateway = make()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(gateway.complete("sim/echo", "Hi")).text == "Hi"
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run(gateway.complete("sim/echo", "Hi"))
        first.run(gateway.aclose())


async def test_a_gateway_dropped_open_warns(make: Make) -> None:
    """Whoever forgets ``aclose`` is told, as with any other resource."""
    gateway = make()
    await gateway.complete("sim/echo", "Hi")
    core = gateway._core
    with pytest.warns(ResourceWarning, match="without aclose"):
        gateway = None
    await core.aclose()


def test_the_sync_face(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """The same calls without an event loop, from several threads at once; then nothing of it is left."""
    up = upstream(either)
    with make(up, kind=SyncGateway) as gateway:
        assert gateway.complete("fast", ASK, tags={"a": "b"}).text == "Paris."
        with gateway.stream("fast", ASK) as frames:
            assert "".join(frames.text()) == "Paris."
        assert frames.answer().finish == "stop"
        results = gateway.map([{"model": "fast", "messages": "?"}, {"model": "nope", "messages": "?"}])
        assert isinstance(results[0], Answer)
        assert isinstance(results[1], UnknownModel)
        with pytest.raises(UnknownModel):
            gateway.complete("nope", ASK)
        assert gateway.models() == ["fast"]

        answers: list[str] = []

        def work() -> None:
            for _ in range(5):
                answers.append(gateway.complete("fast", ASK).text)
                with gateway.stream("fast", ASK) as inner:
                    answers.append("".join(inner.text()))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["Paris."] * 40
    gateway.close()
    with pytest.raises(RuntimeError, match="closed"):
        gateway.complete("fast", ASK)
    assert len(stored(data)) == 45


def test_closing_the_sync_face_frees_a_waiting_thread(upstream: Start, make: Make) -> None:
    """A thread that waits for an answer while another closes the gateway gets an error, and does not hang."""
    up, got = upstream(silent), []
    gateway = make(up, kind=SyncGateway)

    def wait() -> None:
        try:
            gateway.complete("fast", ASK)
        except RuntimeError as error:
            got.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not up.requests:
        time.sleep(0.005)
    gateway.close()
    thread.join(5)
    assert got == ["this gateway was closed during the call"]


def test_a_dropped_sync_gateway_ends_its_thread(make: Make) -> None:
    """Nobody has to close a SyncGateway: it ends with its last reference (``nothing_leaks`` looks)."""
    gateway = make(kind=SyncGateway)
    assert gateway.complete("sim/echo", "Hi").text == "Hi"
    assert any(thread.name == "headgate" for thread in threading.enumerate())


def test_a_script_that_closes_nothing_ends_quietly(data: pathlib.Path) -> None:
    """A program with a global SyncGateway ends with exit code 0, says nothing, and its call is recorded."""
    script = (
        "from headgate import SyncGateway\n"
        f"gateway = SyncGateway(data={str(data)!r})\n"
        "frames = gateway.stream('sim/words-50', 'Hi').__enter__()\n"
        "print(gateway.complete('sim/echo', 'Hi').text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hi\n", "")
    assert sorted(record["outcome"] for record in stored(data)) == ["cancelled", "completed"]


@pytest.mark.parametrize("module", [gateway_module, sync_module, answer_module], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_run(module: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example in the library's docstrings prints what it says."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_CONFIG", "HEADGATE_DATA"):
        monkeypatch.delenv(name, raising=False)
    result = doctest.testmod(module, extraglobs={"asyncio": asyncio})
    assert result.attempted > 0
    assert result.failed == 0


def test_public_names_are_imported_when_used() -> None:
    """Every name in ``__all__`` is there, and importing the package alone imports none of the machinery."""
    for name in headgate.__all__:
        assert getattr(headgate, name) is not None
    assert set(headgate.__all__) <= set(dir(headgate))
    with pytest.raises(AttributeError, match="no attribute 'Gatway'"):
        headgate.Gatway  # noqa: B018
    code = "import sys, headgate; print('sqlalchemy' in sys.modules, 'headgate.compose' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "False False\n"
