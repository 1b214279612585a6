"""What an attempt is charged: its price of the moment, nothing for what nobody bills, never a zero for the unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headgate.core.call import Attempt, Call
from headgate.core.clock import FixedClock
from headgate.core.errors import HeadgateError, Timeout, UpstreamError
from headgate.core.event import Frame, Kind, Summary
from headgate.core.ports import UpstreamAnswer
from headgate.core.price import Price, Rates
from headgate.core.record import AttemptRecord
from headgate.core.reply import Reply
from headgate.core.usage import Usage
from headgate.pipeline.account import Account
from headgate.pipeline.upstream import upstream

from .conftest import MemoryJournal

PRICE = Price(Rates(1_000_000_000, 2_000_000_000, cached=500_000_000))


class Pending:
    """A request under way, as a transport binds it to the attempt."""

    def __init__(self, sent: bool) -> None:
        self.stage, self.sent = "waiting", sent

    def abort(self, error: HeadgateError) -> None:
        raise AssertionError


class Driver:
    """Answers with usage, raises, or waits for ever; binds a request first."""

    def __init__(self, outcome: Usage | HeadgateError | None, *, sent: bool = True, status: int = 200) -> None:
        self.outcome, self.pending, self.status = outcome, Pending(sent), status

    async def open(self, attempt: Attempt) -> UpstreamAnswer:
        attempt.bind(self.pending.abort)
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, HeadgateError):
            attempt.record.status = self.status
            raise self.outcome
        return UpstreamAnswer((Frame(Kind.CONTENT, b"x"),), None, Summary(usage=self.outcome), "openai_chat")


Make = Callable[..., Attempt]


@pytest.fixture
def attempt(make_attempt: Make) -> Attempt:
    made = make_attempt()
    made.deployment.price = PRICE
    made.call.raw = b"x" * 400
    return made


async def finish(driver: Driver, attempt: Attempt, clock: FixedClock) -> AttemptRecord:
    reply = await upstream(driver, clock)(attempt)
    while await reply.batch():
        pass
    return attempt.record


async def test_an_answer_is_charged_and_its_rates_are_kept(attempt: Attempt, clock: FixedClock) -> None:
    """The cost of the reported usage, and the rates that it is made of."""
    record = await finish(Driver(Usage(1000, 100, cached=400)), attempt, clock)
    assert (record.cost, record.rates) == (1_000_000, PRICE.rates)


async def test_a_deployment_without_a_price_is_unpriced(attempt: Attempt, clock: FixedClock) -> None:
    """No price is no cost, which is not a cost of nothing."""
    attempt.deployment.price = None
    record = await finish(Driver(Usage(1000, 100)), attempt, clock)
    assert (record.cost, record.rates, record.unpriced) == (None, None, True)


async def test_counting_tokens_is_free(attempt: Attempt, clock: FixedClock) -> None:
    """The usage of a count is its answer, and nothing is charged for it."""
    attempt.call.dialect.billed = False
    record = await finish(Driver(Usage(1000)), attempt, clock)
    assert (record.cost, record.rates, record.unpriced) == (0, None, False)


@pytest.mark.parametrize(
    ("driver", "cost"),
    [
        (Driver(UpstreamError("busy", status=503), status=503), 0),
        (Driver(UpstreamError("moved", status=302), status=302), 0),
        (Driver(Timeout("slow", code="connect_timeout"), sent=False, status=0), 0),
        (Driver(Timeout("slow", code="headers_timeout"), sent=True, status=0), 100_000),
        (Driver(UpstreamError("inside a stream", status=529), status=200), 100_000),
    ],
    ids=["refused", "redirected", "never sent", "sent, no answer", "broken inside a 200"],
)
async def test_a_failure_is_charged_if_it_may_be_billed(
    attempt: Attempt, clock: FixedClock, driver: Driver, cost: int
) -> None:
    """What went out whole and got no error status counts as billed: its input, estimated; anything else is free."""
    with pytest.raises(HeadgateError):
        await upstream(driver, clock)(attempt)
    record = attempt.record
    assert record.cost == cost
    assert (record.usage is not None and record.usage.estimated) == bool(cost)


@pytest.mark.parametrize(("sent", "cost"), [(True, 100_000), (False, 0)])
async def test_a_client_that_leaves_early_may_have_been_billed(
    attempt: Attempt, clock: FixedClock, sent: bool, cost: int
) -> None:
    """A call that is cancelled before any answer costs its input if it was sent whole."""
    task = asyncio.ensure_future(upstream(Driver(None, sent=sent), clock)(attempt))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert attempt.record.cost == cost


async def test_an_image_is_not_estimated_as_text(attempt: Attempt, clock: FixedClock, make_attempt: Make) -> None:
    """Where nobody reports usage, a request's long base64 does not count as four bytes a token."""
    from headgate.dialects.openai_chat import OpenAIChat

    data = b"A" * 1_000_000
    attempt.call.raw = (
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":'
        b'{"url":"data:image/png;base64,' + data + b'"}}]}]}'
    )
    attempt.call.view = OpenAIChat().view(attempt.call.raw)
    with pytest.raises(Timeout):
        await upstream(Driver(Timeout("slow", code="headers_timeout"), status=0), clock)(attempt)
    usage = attempt.record.usage
    assert usage is not None
    assert 16_000 < usage.input < 17_000


async def test_a_call_costs_all_its_attempts(make_call: Callable[..., Call], clock: FixedClock) -> None:
    """Losing attempts are in the sum; an attempt that something inside refused before it began costs nothing."""

    def tried(cost: int | None, usage: Usage | None = None) -> AttemptRecord:
        return AttemptRecord("up/m", "up", "m", 0, usage=usage, cost=cost)

    async def total(*attempts: AttemptRecord) -> Any:
        journal = MemoryJournal()

        async def inner(call: Call) -> Reply:
            call.record.attempts += attempts
            return Reply((Frame(Kind.CONTENT, b"x"),), None, Summary(usage=Usage(1)))

        reply = await Account(inner, journal, clock)(make_call())
        while await reply.batch():
            pass
        return journal.records[0].cost

    costs: Sequence[tuple[list[AttemptRecord], int | None]] = [
        ([], 0),
        ([tried(7, Usage(1))], 7),
        ([tried(0)], 0),
        ([tried(None)], 0),
        ([tried(None, Usage(1))], None),
        ([tried(5, Usage(1)), tried(None), tried(7, Usage(1))], 12),
        ([tried(5, Usage(1)), tried(None, Usage(1))], 5),
    ]
    for attempts, cost in costs:
        assert await total(*attempts) == cost
