"""The Reply: frames in order, one end, in order from inner to outer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headgate.core.errors import UpstreamBroken
from headgate.core.event import Frame, Kind, Summary, TextDelta
from headgate.core.reply import Ending, Reply


class Scripted:
    """A Source that gives what it was told to, then ends or raises."""

    def __init__(self, *batches: Sequence[Frame] | Exception) -> None:
        self.batches = list(batches)
        self.closed = 0

    async def more(self) -> Sequence[Frame]:
        if not self.batches:
            return ()
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return batch

    async def aclose(self) -> None:
        self.closed += 1


def frame(text: str) -> Frame:
    return Frame(Kind.CONTENT, text.encode(), events=(TextDelta(text),))


def watched(source: Scripted | None, *ready: Frame) -> tuple[Reply, list[tuple[str, str]]]:
    reply = Reply(ready, source, Summary())
    seen: list[tuple[str, str]] = []

    def note(who: str, ending: Ending) -> None:
        seen.append((who, ending.outcome))

    reply.on_end(lambda ending: note("inner", ending))
    reply.on_end(lambda ending: note("outer", ending))
    return reply, seen


async def test_a_unary_answer_is_one_frame_and_one_end() -> None:
    """Callbacks run once, inner first, when the end has been reached, not before."""
    reply, seen = watched(None, frame("a"))
    assert [part.data async for part in reply] == [b"a"]
    assert seen == [("inner", "completed"), ("outer", "completed")]
    await reply.aclose()
    assert await reply.batch() == ()
    assert len(seen) == 2


async def test_frames_come_one_by_one_or_together() -> None:
    """Iteration and batches may be mixed; order is kept."""
    reply, _ = watched(Scripted([frame("c"), frame("d")], [frame("e")]), frame("a"), frame("b"))
    assert (await reply.__anext__()).data == b"a"
    assert [part.data for part in await reply.batch()] == [b"b"]
    assert [part.data async for part in reply] == [b"c", b"d", b"e"]


async def test_a_tap_is_shown_every_frame_once() -> None:
    """However frames are taken, one by one or together, a tap has seen each of them once, in order, as it left."""
    reply, _ = watched(Scripted([frame("d"), frame("e"), frame("f")], [frame("g")]), frame("a"), frame("b"), frame("c"))
    shown: list[bytes | None] = []
    reply.tap = lambda frames: shown.extend(part.data for part in frames)
    assert shown == []
    assert (await reply.__anext__()).data == b"a"
    assert (await reply.__anext__()).data == b"b"
    assert [part.data for part in await reply.batch()] == [b"c"]
    assert (await reply.__anext__()).data == b"d"
    assert [part.data async for part in reply] == [b"e", b"f", b"g"]
    assert shown == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


async def test_a_failure_ends_it_as_failed() -> None:
    """What came before the failure is delivered; the error is raised; the end says failed."""
    reply, seen = watched(Scripted([frame("b")], UpstreamBroken("cut", code="stream_cut")), frame("a"))
    got = [(await reply.__anext__()).data, (await reply.__anext__()).data]
    with pytest.raises(UpstreamBroken):
        await reply.__anext__()
    assert got == [b"a", b"b"]
    assert seen == [("inner", "failed"), ("outer", "failed")]


async def test_leaving_early_stops_the_source_once() -> None:
    """aclose before the end closes the source and ends as cancelled, however often it is called."""
    source = Scripted([frame("b")])
    reply, seen = watched(source, frame("a"))
    await reply.aclose()
    await reply.aclose()
    assert source.closed == 1
    assert seen == [("inner", "cancelled"), ("outer", "cancelled")]


async def test_a_bug_in_a_source_still_ends_it() -> None:
    """An unexpected exception closes the source too; callbacks never stay waiting."""
    source = Scripted(ValueError("bug"))
    reply, seen = watched(source)
    with pytest.raises(ValueError, match="bug"):
        await reply.batch()
    assert source.closed == 1
    assert len(seen) == 2


def test_a_replaced_frame_has_no_bytes() -> None:
    """A transforming layer's frame keeps its kind and drops the bytes, so that it is rendered anew."""
    changed = frame("a").replaced((TextDelta("b"),))
    assert changed.data is None
    assert changed.kind is Kind.CONTENT
    assert changed.events == (TextDelta("b"),)
