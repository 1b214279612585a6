"""The commit point, and the attempt's record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from headgate.core.call import Attempt
from headgate.core.clock import FixedClock
from headgate.core.errors import HeadgateError, UpstreamBroken, UpstreamError
from headgate.core.event import FinishReason, Frame, Kind, Summary
from headgate.core.ports import UpstreamAnswer
from headgate.core.usage import Usage
from headgate.pipeline.upstream import upstream


class Script:
    """A Source and driver in one: gives batches of kinds, an exception, or waits for ever."""

    def __init__(self, *batches: Sequence[Kind] | Exception | None) -> None:
        self.batches = list(batches)
        self.summary = Summary(model="m-1", finish=FinishReason.STOP, usage=Usage(1, 2))
        self.closed = False

    async def open(self, attempt: Attempt) -> UpstreamAnswer:
        return UpstreamAnswer((), self, self.summary, "openai_chat")

    async def more(self) -> Sequence[Frame]:
        if not self.batches:
            return ()
        batch = self.batches.pop(0)
        if batch is None:
            await asyncio.Event().wait()
        if isinstance(batch, Exception):
            raise batch
        return [Frame(kind, kind.value.encode()) for kind in batch or ()]

    async def aclose(self) -> None:
        self.closed = True


async def test_it_returns_at_the_first_content(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """Role frames and pings do not commit; the first content does, and nothing before it is lost."""
    script = Script([Kind.PREAMBLE], [Kind.PREAMBLE, Kind.CONTENT], [Kind.FINISH, Kind.MARKER])
    attempt = make_attempt()
    reply = await upstream(script, clock)(attempt)
    assert len(script.batches) == 1
    kinds = [frame.kind async for frame in reply]
    assert kinds == [Kind.PREAMBLE, Kind.PREAMBLE, Kind.CONTENT, Kind.FINISH, Kind.MARKER]
    record = attempt.record
    assert (record.outcome, record.finish, record.usage, record.upstream_model) == (
        "completed",
        "stop",
        Usage(1, 2),
        "m-1",
    )


async def test_an_answer_without_content_commits_at_its_finish(
    make_attempt: Callable[..., Attempt], clock: FixedClock
) -> None:
    """An empty completion is an answer once its finish event is there."""
    script = Script([Kind.PREAMBLE], [Kind.FINISH], [Kind.MARKER])
    reply = await upstream(script, clock)(make_attempt())
    assert len(script.batches) == 1
    await reply.aclose()


async def test_a_failure_before_content_is_raised(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """Before the commit point the layer raises, so that another deployment can be tried."""
    attempt = make_attempt()
    script = Script([Kind.PREAMBLE], UpstreamError("busy", status=529, code="overloaded"))
    with pytest.raises(UpstreamError):
        await upstream(script, clock)(attempt)
    record = attempt.record
    assert (record.outcome, record.error, record.status, record.sent) == ("failed", "overloaded", 529, True)


async def test_a_failure_after_content_ends_the_reply(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """After it the Reply raises, and the attempt's record says how it ended."""
    attempt = make_attempt()
    reply = await upstream(Script([Kind.CONTENT], UpstreamBroken("cut", code="stream_cut")), clock)(attempt)
    await reply.batch()
    with pytest.raises(UpstreamBroken):
        await reply.batch()
    assert (attempt.record.outcome, attempt.record.error) == ("failed", "stream_cut")


async def test_cancelling_while_waiting_stops_the_upstream(
    make_attempt: Callable[..., Attempt], clock: FixedClock
) -> None:
    """A client that leaves before the first content closes the source and the record."""
    script = Script([Kind.PREAMBLE], None)
    attempt = make_attempt()
    task = asyncio.create_task(upstream(script, clock)(attempt))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert script.closed
    assert attempt.record.outcome == "cancelled"


class Hanging:
    """A driver whose request is under way for ever, gone out whole or not."""

    def __init__(self, sent: bool) -> None:
        self.sent = sent

    async def open(self, attempt: Attempt) -> UpstreamAnswer:
        attempt.bind(self.abort)
        await asyncio.Event().wait()
        raise AssertionError

    def abort(self, error: HeadgateError) -> None:
        pass


@pytest.mark.parametrize("sent", [False, True])
async def test_a_cancelled_attempt_says_whether_its_request_had_gone_out(
    make_attempt: Callable[..., Attempt], clock: FixedClock, sent: bool
) -> None:
    """A request that had gone out whole may be billed, though nobody has seen an answer."""
    attempt = make_attempt()
    task = asyncio.ensure_future(upstream(Hanging(sent), clock)(attempt))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (attempt.record.outcome, attempt.record.sent) == ("cancelled", sent)


async def test_usage_that_nobody_reported_is_estimated(make_attempt: Callable[..., Attempt], clock: FixedClock) -> None:
    """An answer without usage still gets counts, marked as ours."""
    script = Script([Kind.CONTENT], [Kind.FINISH, Kind.MARKER])
    script.summary.usage = None
    script.summary.content_chars = 400
    attempt = make_attempt()
    reply = await upstream(script, clock)(attempt)
    while await reply.batch():
        pass
    usage = attempt.record.usage
    assert usage is not None
    assert (usage.output, usage.estimated) == (100, True)
