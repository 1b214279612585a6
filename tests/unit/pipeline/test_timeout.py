"""The five bounds in time of one attempt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from headgate.core.call import Attempt
from headgate.core.errors import HeadgateError, Timeout
from headgate.core.event import Frame, Kind, Summary
from headgate.core.reply import Reply
from headgate.core.ticker import Ticker
from headgate.pipeline.timeout import timeout

from .conftest import View

LONG = {"headers": 9.0, "first_content": 9.0, "idle": 9.0, "total": 9.0}


def ticker() -> Ticker:
    return Ticker(asyncio.get_running_loop())


class Waiting:
    """An upstream whose every wait ends only when the attempt is aborted."""

    def __init__(self, attempt: Attempt) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        attempt.abort = self.fail

    def fail(self, error: HeadgateError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    async def more(self) -> Sequence[Frame]:
        await self.future
        return ()

    async def aclose(self) -> None:
        self.future.cancel()


@pytest.mark.parametrize(
    ("stream", "head", "bounds", "code"),
    [
        (False, False, {"total": 0.05}, "total_timeout"),
        (False, False, {"headers": 0.02, "first_content": 0.02, "total": 0.08}, "total_timeout"),
        (True, False, {"headers": 0.05}, "headers_timeout"),
        (True, True, {"headers": 0.02, "first_content": 0.08}, "first_content_timeout"),
        (True, False, {"first_content": 0.05}, "first_content_timeout"),
        (True, True, {"total": 0.05}, "total_timeout"),
    ],
)
async def test_before_the_commit_point(
    make_attempt: Callable[..., Attempt], stream: bool, head: bool, bounds: dict[str, float], code: str
) -> None:
    """Each bound ends a silent upstream with its own code; a unary call knows only the total."""
    attempt = make_attempt(View(stream=stream), **{**LONG, **bounds})

    async def silent(attempt: Attempt) -> Reply:
        upstream = Waiting(attempt)
        if head:
            attempt.head_at = time.monotonic()
        await upstream.more()
        raise AssertionError

    with pytest.raises(Timeout) as caught:
        await timeout(silent, ticker())(attempt)
    assert caught.value.code == code
    assert "up/m" in caught.value.message


async def test_the_calls_deadline_caps_them_all(make_attempt: Callable[..., Attempt]) -> None:
    """A deadline nearer than every bound ends the attempt as deadline_exceeded."""
    attempt = make_attempt(View(stream=True), deadline=asyncio.get_running_loop().time() + 0.05, **LONG)

    async def silent(attempt: Attempt) -> Reply:
        await Waiting(attempt).more()
        raise AssertionError

    with pytest.raises(Timeout) as caught:
        await timeout(silent, ticker())(attempt)
    assert caught.value.code == "deadline_exceeded"


def streaming(attempt: Attempt, waiting: bool) -> Callable[[Attempt], object]:
    async def handler(attempt: Attempt) -> Reply:
        source = Waiting(attempt)
        attempt.head_at = attempt.content_at = time.monotonic()
        attempt.waiting_since = time.monotonic() if waiting else 0.0
        return Reply((Frame(Kind.CONTENT, b"a"),), source, Summary())

    return handler


async def test_the_idle_gap_ends_a_stalled_stream(make_attempt: Callable[..., Attempt]) -> None:
    """After the commit point a silent upstream ends the Reply with idle_timeout."""
    attempt = make_attempt(View(stream=True), **{**LONG, "idle": 0.05})
    reply = await timeout(streaming(attempt, waiting=True), ticker())(attempt)
    await reply.batch()
    with pytest.raises(Timeout) as caught:
        await reply.batch()
    assert caught.value.code == "idle_timeout"


async def test_a_slow_reader_is_not_an_idle_upstream(make_attempt: Callable[..., Attempt]) -> None:
    """While we do not wait for upstream, no idle gap runs, however long the client takes."""
    attempt = make_attempt(View(stream=True), **{**LONG, "idle": 0.03})
    reply = await timeout(streaming(attempt, waiting=False), ticker())(attempt)
    await asyncio.sleep(0.12)
    assert not reply.ended
    assert (await reply.batch())[0].data == b"a"
    await reply.aclose()


async def test_no_timer_is_left(make_attempt: Callable[..., Attempt]) -> None:
    """An attempt that is over leaves nothing behind that could fire."""
    attempt = make_attempt(View(stream=True), **{**LONG, "idle": 0.03})
    reply = await timeout(streaming(attempt, waiting=True), ticker())(attempt)
    fired: list[HeadgateError] = []
    await reply.aclose()
    attempt.abort = fired.append
    await asyncio.sleep(0.1)
    assert fired == []
