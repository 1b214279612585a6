"""Heartbeats and the answer's own writes never meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.core.call import Call, Settlement
from headgate.core.record import Record
from headgate.core.ticker import Ticker
from headgate.server.caller import Caller, Head
from headgate.server.guard import Guard, Limits


class Slow(Caller):
    """A client connection on which every write takes a few turns of the loop; notes what it is asked to do."""

    def __init__(self) -> None:
        self.headers, self.peer = {}, "127.0.0.1"
        self.asked: list[str] = []
        self.begun = asyncio.Event()

    async def _take(self, what: str) -> None:
        self.asked.append(f"{what}…")
        self.begun.set()
        for _ in range(3):
            await asyncio.sleep(0)
        self.asked.append(what)

    async def body(self, limit: int) -> bytes:
        return b""

    async def whole(
        self, status: int, head: Head, body: bytes, *, close: bool = False, after: Settlement | None = None
    ) -> None:
        await self._take("whole")

    async def start(self, status: int, head: Head) -> None:
        await self._take("start")

    async def write(self, data: bytes) -> None:
        await self._take("write")

    async def end(self, data: bytes, after: Settlement | None = None) -> None:
        await self._take("end")

    def abort(self) -> None:
        self.asked.append("abort")

    def watch(self, on_gone: Callable[[], None]) -> None:
        pass

    def unwatch(self) -> None:
        pass


@pytest.fixture
async def caller() -> Slow:
    return Slow()


def watching(caller: Slow) -> Guard:
    """A guard that has just seen a long silence, and scheduled a beat."""
    call = Call(Record("hg_1", 0), None, b"", 0.0)
    guard = Guard(Ticker(asyncio.get_running_loop()), caller, Limits(heartbeat=10.0), call)
    guard.reading = False
    guard.silent_since = guard.now() - 11

    async def beat() -> None:
        await caller.write(b": \n\n")

    guard.beat = beat
    guard._look()
    return guard


async def test_a_beat_that_was_only_scheduled_does_not_come_any_more(caller: Slow) -> None:
    """Where the response ends in the turn in which a beat was due, nothing is written behind it."""
    guard = watching(caller)
    await guard.hush()
    await caller.whole(504, b"", b"")
    guard.stop()
    await asyncio.sleep(0.01)
    assert caller.asked == ["whole…", "whole"]


async def test_what_is_written_waits_for_a_beat_under_way(caller: Slow) -> None:
    """A beat is on the wire whole before the answer's next piece."""
    guard = watching(caller)
    await caller.begun.wait()
    await guard.beaten()
    await guard.hush()
    await caller.end(b"")
    guard.stop()
    assert caller.asked == ["write…", "write", "end…", "end"]


async def test_a_request_that_was_cut_does_not_wait_for_its_beat(caller: Slow) -> None:
    """A client that takes nothing holds up no drain."""
    guard = watching(caller)
    await caller.begun.wait()
    guard.why = "draining"
    await guard.hush()
    await caller.end(b"")
    guard.stop()
    assert caller.asked == ["write…", "end…", "end"]


async def test_an_abandoned_beat_ends_with_its_request(caller: Slow) -> None:
    """A client that left leaves no task behind."""
    guard = watching(caller)
    await caller.begun.wait()
    guard.stop()
    await asyncio.sleep(0.01)
    assert caller.asked == ["write…"]
    assert guard.beating is None
