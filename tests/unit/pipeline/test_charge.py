"""An attempt reserves its worst case and settles what it took, exactly once, whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headgate.core.call import Attempt, Call, Deployment, Principal
from headgate.core.clock import FixedClock
from headgate.core.errors import HeadgateError, LimitExceeded, UpstreamError
from headgate.core.event import Frame, Kind, Summary
from headgate.core.price import Price, Rates, show_money
from headgate.core.reply import Reply
from headgate.core.rule import LimitRule
from headgate.core.usage import Usage
from headgate.dialects.openai_chat import OpenAIChat
from headgate.pipeline.charge import MARGIN, charge
from headgate.pipeline.learned import Learned
from headgate.pipeline.local_meter import LocalMeter
from headgate.pipeline.quota import quota
from headgate.pipeline.rulebook import Rulebook

PRICE = Price(Rates(1_000_000_000, 2_000_000_000))
"""1,000 nano-dollars an input token, 2,000 an output token."""
ASK = msgspec.json.encode({"model": "fast", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]})
BOUND = 32 + len(ASK)
MOST = BOUND * 1000 + 100 * 2000


class Upstream:
    """What is inside the layer: ends an attempt as told."""

    def __init__(self, usage: Usage | None, *, error: BaseException | None = None, cost: int | None = None) -> None:
        self.usage, self.error, self.cost, self.sent = usage, error, cost, 0

    async def __call__(self, attempt: Attempt) -> Reply:
        self.sent += 1
        record = attempt.record
        record.outcome = "completed"
        record.usage = self.usage
        record.cost = 0 if self.usage is None else PRICE.cost(self.usage) if self.cost is None else self.cost
        if self.error is not None:
            raise self.error
        summary = Summary(content_chars=40)
        return Reply([Frame(Kind.CONTENT, b"{}")], None, summary)


class Bench:
    """One limit, one deployment, one meter."""

    def __init__(
        self, clock: FixedClock, *rules: LimitRule, price: Price | None = PRICE, quantile: float = 1.0
    ) -> None:
        self.clock = clock
        self.meter = LocalMeter(clock)
        self.book = Rulebook(rules, self.meter.open)
        self.price = price
        self.learned = Learned("up/m", quantile)
        self.call: Call | None = None

    def used(self, unit: str = "dollars") -> int:
        """Used and reserved."""
        (window,) = [window for window in self.meter.windows.values() if window.rule.unit == unit]
        return window.rule.amount - window.left

    async def run(
        self, upstream: Upstream, make_call: Callable[..., Call], *, stream: bool = False, received: bool = False
    ) -> Reply:
        handler = charge(upstream, self.meter, self.learned, received=received)

        async def route(call: Call) -> Reply:
            deployment = Deployment("up/m", "up", "m", handler, None, price=self.price)  # type: ignore[arg-type]
            return await handler(Attempt(call, deployment, 0))

        call = self.call = make_call(principal=Principal("key_1", "k"))
        call.dialect = OpenAIChat()
        call.raw = ASK.replace(b"{", b'{"stream":true,', 1) if stream else ASK
        call.view = call.dialect.view(call.raw)
        call.record.key_id = "key_1"
        return await quota(route, self.book, self.meter)(call)


def dollars(amount: int, **more: Any) -> LimitRule:
    return LimitRule("key", "", "dollars", "day", amount, **more)


async def test_reserved_at_its_worst_and_settled_at_what_it_took(clock: FixedClock, make_call: Any) -> None:
    """Until its end the whole bound counts, then its cost, to the nano-dollar."""
    bench = Bench(clock, dollars(10**9))
    reply = await bench.run(Upstream(Usage(10, 5)), make_call)
    assert bench.used() == MOST
    await reply.aclose()
    assert bench.used() == 10 * 1000 + 5 * 2000
    await reply.aclose()
    assert bench.used() == 20_000


async def test_tokens_of_each_kind(clock: FixedClock, make_call: Any) -> None:
    """Input, output and both are limits of their own."""
    kinds = ("tokens", "input_tokens", "output_tokens")
    bench = Bench(clock, *(LimitRule("user", "", kind, "hour", 10_000) for kind in kinds), price=None)
    reply = await bench.run(Upstream(Usage(10, 5)), make_call)
    assert [bench.used(kind) for kind in kinds] == [BOUND + 100, BOUND, 100]
    await reply.aclose()
    assert [bench.used(kind) for kind in kinds] == [15, 10, 5]


async def test_a_call_that_may_not_fit_is_not_sent(clock: FixedClock, make_call: Any) -> None:
    """402, the limit's name, when its window ends; the attempt's record says that it never was one."""
    bench = Bench(clock, dollars(2 * MOST - 1, name="pocket money"))
    await bench.run(Upstream(Usage(1, 1)), make_call)
    upstream = Upstream(Usage(1, 1))
    with pytest.raises(LimitExceeded) as caught:
        await bench.run(upstream, make_call)
    assert (caught.value.code, caught.value.limit) == ("budget_exceeded", "pocket money")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 86_400
    assert f"no room for this call, which may take up to {show_money(MOST)}" in caught.value.message
    assert (upstream.sent, bench.used()) == (0, MOST)
    assert bench.call is not None
    assert bench.call.record.attempts[0].outcome == "skipped"


async def test_a_call_that_never_fits_is_told_so(clock: FixedClock, make_call: Any) -> None:
    """Waiting would not help: no time to come back is said, but what to change."""
    bench = Bench(clock, dollars(MOST - 1))
    with pytest.raises(LimitExceeded, match="never has room") as caught:
        await bench.run(Upstream(Usage(1, 1)), make_call)
    assert caught.value.retry_after is None
    assert "max_tokens" in (caught.value.hint or "")


async def test_exactly_what_is_left_may_be_used(clock: FixedClock, make_call: Any) -> None:
    """A bound that just fits fits."""
    bench = Bench(clock, dollars(MOST))
    await (await bench.run(Upstream(Usage(10, 5)), make_call)).aclose()
    with pytest.raises(LimitExceeded):
        await bench.run(Upstream(Usage(10, 5)), make_call)


async def test_what_was_not_billed_is_given_back(clock: FixedClock, make_call: Any) -> None:
    """Refused by the upstream, or never sent: nothing is used."""
    bench = Bench(clock, dollars(10**9))
    with pytest.raises(UpstreamError):
        await bench.run(Upstream(None, error=UpstreamError("no", status=503)), make_call)
    assert bench.used() == 0


@pytest.mark.parametrize("error", [HeadgateError("cut"), asyncio.CancelledError()])
async def test_what_may_have_been_billed_counts_in_full(
    clock: FixedClock, make_call: Any, error: BaseException
) -> None:
    """A request that went out and whose usage nobody told settles at its reservation; its record says the same."""
    bench = Bench(clock, dollars(10**9))
    with pytest.raises(type(error)):
        await bench.run(Upstream(Usage(3, 1, estimated=True), error=error), make_call)
    assert bench.used() == MOST
    assert bench.call is not None
    record = bench.call.record.attempts[0]
    assert (record.usage, record.cost) == (Usage(BOUND, 100, estimated=True), MOST)


@pytest.mark.parametrize(("received", "made"), [(False, 100), (True, 40 + MARGIN)])
async def test_a_stream_without_usage(clock: FixedClock, make_call: Any, received: bool, made: int) -> None:
    """At its reservation; or, where a setting says so, at what came of it and a margin, never more than reserved."""
    bench = Bench(clock, dollars(10**9))
    reply = await bench.run(Upstream(Usage(3, 1, estimated=True)), make_call, stream=True, received=received)
    reserved = bench.used()
    await reply.aclose()
    assert reserved - bench.used() == max(0, 100 - made) * 2000


async def test_no_price_no_call_under_a_budget(clock: FixedClock, make_call: Any) -> None:
    """Refused with what to write; under a limit of tokens alone it goes out."""
    bench = Bench(clock, dollars(10**9), price=None)
    with pytest.raises(LimitExceeded, match=r'providers\.up\.prices: \{"m"') as caught:
        await bench.run(Upstream(Usage(1, 1)), make_call)
    assert (caught.value.code, caught.value.fault) == ("unpriced_model", "gateway")
    bench = Bench(clock, LimitRule("key", "", "tokens", "day", 10**6), price=None)
    await bench.run(Upstream(Usage(1, 1)), make_call)


async def test_a_settlement_above_its_reservation_counts_whole(clock: FixedClock, make_call: Any) -> None:
    """The budget may be passed by that one call; the next one's bound is as wide as it was."""
    bench = Bench(clock, dollars(3 * MOST))
    await (await bench.run(Upstream(Usage(10, 5), cost=2 * MOST), make_call)).aclose()
    assert bench.used() == 2 * MOST
    assert bench.learned.exceeded == 1
    with pytest.raises(LimitExceeded):
        await bench.run(Upstream(Usage(10, 5)), make_call)


async def test_a_learned_share_is_reserved(clock: FixedClock, make_call: Any) -> None:
    """Once enough calls are known, less than the worst case is set aside."""
    bench = Bench(clock, dollars(10**9), quantile=0.9)
    before = 0
    for _ in range(100):
        before = bench.used() if bench.meter.windows else 0
        await (await bench.run(Upstream(Usage(10, 5)), make_call)).aclose()
    before = bench.used()
    await bench.run(Upstream(Usage(10, 5)), make_call)
    assert 20_000 <= bench.used() - before <= MOST // 5


async def test_a_new_window_begins_at_nothing(clock: FixedClock, make_call: Any) -> None:
    """And what was reserved in the one before settles there, not here."""
    bench = Bench(clock, dollars(MOST))
    late = await bench.run(Upstream(Usage(10, 5)), make_call)
    clock.advance(86_400)
    on_time = await bench.run(Upstream(Usage(10, 5)), make_call)
    await late.aclose()
    assert bench.used() == MOST
    await on_time.aclose()
    assert bench.used() == 20_000
