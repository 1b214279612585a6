"""Streams from the library: read, left, dropped, cancelled, closed."""

from __future__ import annotations

import asyncio
import gc
import pathlib

import pytest

from headgate import HeadgateError

from .play import ASK, Make, Start, either, endless, silent, stored, until, until_closed

pytestmark = pytest.mark.usefixtures("no_recorder")


async def test_a_stream(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Text comes in pieces; afterwards ``answer()`` is as whole as a unary one, usage included."""
    async with make(upstream(either)) as gateway, gateway.stream("fast", ASK, session="s") as frames:
        pieces = [text async for text in frames.text()]
        answer = frames.answer()
        assert frames.id == answer.id
    assert pieces == ["Pa", "ris."]
    assert (answer.text, answer.finish, answer.deployment) == ("Paris.", "stop", "up/m-1")
    assert answer.usage is not None
    assert answer.usage.output == 5
    assert (answer.message["role"], answer.message["content"]) == ("assistant", "Paris.")
    assert answer.body["usage"]["completion_tokens"] == 5
    (record,) = stored(data)
    assert (record["outcome"], record["stream"], record["session"]) == ("completed", True, "s")


async def test_leaving_a_stream_early_stops_the_upstream(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Breaking out of the block closes the upstream's connection; the record says cancelled."""
    up = upstream(endless)
    async with make(up) as gateway:
        async with gateway.stream("fast", ASK) as frames:
            async for text in frames.text():
                assert text == "more "
                break
        await until_closed(up)
        assert frames.answer().body == {}
    assert [record["outcome"] for record in stored(data)] == ["cancelled"]


async def test_a_dropped_stream_is_ended_by_its_finalizer(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """A stream whose block is never left stops the upstream once nobody holds it."""
    up = upstream(endless)
    async with make(up) as gateway:
        frames = await gateway.stream("fast", ASK).__aenter__()
        await frames.__anext__()
        assert up.open == 1
        del frames
        gc.collect()
        await until_closed(up)
    assert [record["outcome"] for record in stored(data)] == ["cancelled"]


async def test_a_cancelled_task_stops_the_upstream(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Cancelling the task that waits for an answer, or reads a stream, cancels the call."""
    seen: list[object] = []

    async def read() -> None:
        async with gateway.stream("fast", ASK) as frames:
            async for frame in frames:
                seen.append(frame)

    up = upstream(silent)
    async with make(up) as gateway:
        for work, begun in ((gateway.complete("fast", ASK), up.requests), (read(), seen)):
            task = asyncio.ensure_future(work)
            await until(lambda begun=begun: len(begun) > 0)  # type: ignore[misc]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until_closed(up)
    assert [record["outcome"] for record in stored(data)] == ["cancelled"] * 2


async def test_closing_ends_open_streams_and_records_them(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """``aclose`` with streams and calls under way ends them; none of their records is lost."""
    up = upstream(silent)
    gateway = make(up)
    frames = await gateway.stream("fast", ASK).__aenter__()
    await frames.__anext__()
    waiting = asyncio.ensure_future(gateway.complete("fast", ASK))
    await until(lambda: len(up.requests) == 2)
    await gateway.aclose()
    await gateway.aclose()
    with pytest.raises(HeadgateError):
        await waiting
    await until_closed(up)
    with pytest.raises(RuntimeError, match="closed"):
        await gateway.complete("fast", ASK)
    assert sorted(record["outcome"] for record in stored(data)) == ["cancelled", "failed"]


async def test_a_stream_used_wrongly_says_how(make: Make) -> None:
    """``async for`` over, or ``await`` of, what ``stream`` returns is an error that shows the right way."""
    async with make() as gateway:
        with pytest.raises(RuntimeError, match="async with"):
            async for _ in gateway.stream("sim/echo", "Hi"):  # type: ignore[attr-defined]
                pass
        with pytest.raises(RuntimeError, match="async with"):
            await gateway.stream("sim/echo", "Hi")
