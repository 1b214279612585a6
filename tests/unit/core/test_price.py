"""Money: exact against Decimal, bounds that hold, rates that stay readable."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.price import Price, Rates, show_cost, show_dollars, show_money
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage, priced_tier

RATE = st.integers(0, 200_000_000_000)
MAYBE = st.none() | RATE
COUNT = st.integers(0, 2_000_000)


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    """Any rates."""
    maybe = [draw(MAYBE) for _ in range(8)]
    return Rates(draw(RATE), draw(RATE), *maybe, search=draw(RATE) // 1000, request=draw(RATE) // 1000)


@st.composite
def usages(draw: st.DrawFn, most: int = 2_000_000) -> Usage:
    """Any usage whose parts fit in their whole."""
    given, made = draw(st.integers(0, most)), draw(st.integers(0, most))
    left, parts = given, []
    for _ in range(5):
        parts.append(draw(st.integers(0, left)))
        left -= parts[-1]
    left, rest = made, []
    for _ in range(3):
        rest.append(draw(st.integers(0, left)))
        left -= rest[-1]
    return Usage(
        given,
        made,
        cached=parts[0],
        cache_write=parts[1],
        cache_write_1h=parts[2],
        audio_input=parts[3],
        image_input=parts[4],
        reasoning=rest[0],
        audio_output=rest[1],
        image_output=rest[2],
        searches=draw(st.integers(0, 20)),
    )


def in_decimal(rates: Rates, usage: Usage) -> int:
    """The same, the plain way: each kind of token by itself in dollars, the sum rounded half up to nano-dollars."""
    total = Decimal(usage.searches) * rates.search + rates.request
    for plain, all_of_it, parts in (
        (rates.input, usage.input, ("cached", "cache_write", "cache_write_1h", "audio_input", "image_input")),
        (rates.output, usage.output, ("reasoning", "audio_output", "image_output")),
    ):
        rest = all_of_it
        for name in parts:
            rate = getattr(rates, name)
            if rate is not None:
                total += Decimal(getattr(usage, name)) * rate / 1_000_000
                rest -= getattr(usage, name)
        total += Decimal(rest) * plain / 1_000_000
    return int(total.quantize(Decimal(1), ROUND_HALF_UP))


@given(rates(), usages())
def test_cost_is_exact(rates: Rates, usage: Usage) -> None:
    """A cost is what Decimal says, rounded half up once; its parts add up to it."""
    cost = rates.cost(usage)
    assert cost == in_decimal(rates, usage)
    exact = sum(count * rate * (1 if per_million else 1_000_000) for _, count, rate, per_million in rates.parts(usage))
    assert (exact + 500_000) // 1_000_000 == cost


@given(rates(), st.builds(Usage, COUNT, COUNT, *[COUNT] * 6, searches=COUNT, image_input=COUNT, image_output=COUNT))
def test_cost_is_never_negative(rates: Rates, usage: Usage) -> None:
    """Counts that contradict each other never give a negative cost, and the parts shown still add up to it."""
    cost = rates.cost(usage)
    assert cost >= 0
    exact = sum(count * rate * (1 if per_million else 1_000_000) for _, count, rate, per_million in rates.parts(usage))
    assert (exact + 500_000) // 1_000_000 == cost


@given(
    rates(), st.lists(st.tuples(st.integers(0, 1_000_000), rates()), max_size=3), usages(), st.integers(0, 1_000_000)
)
def test_the_bound_holds(base: Rates, steps: list[tuple[int, Rates]], usage: Usage, more: int) -> None:
    """Whatever kind of tokens a call turns out to have used, it costs at most what its size was bounded at."""
    fixed = [(start, msgspec.structs.replace(one, request=base.request)) for start, one in steps]
    price = Price(base, tuple(sorted(fixed, key=lambda step: step[0])))
    usage.searches = 0
    assert price.cost(usage) <= price.bound(usage.input, usage.output)
    assert price.bound(usage.input, usage.output) <= price.bound(usage.input + more, usage.output + more)


def test_a_long_prompt_costs_the_higher_rates() -> None:
    """Above a step's start all tokens of the call cost its rates; at it the lower ones still hold."""
    price = Price(
        Rates(3_000_000_000, 15_000_000_000), ((200_000, Rates(6_000_000_000, 22_500_000_000, cached=600_000_000)),)
    )
    assert price.cost(Usage(200_000, 1000)) == 600_000_000 + 15_000_000
    assert price.cost(Usage(200_001, 1000)) == 1_200_006_000 + 22_500_000
    assert price.cost(Usage(300_000, 0, cached=300_000)) == 180_000_000


def test_a_service_tier_has_its_own_rates() -> None:
    """The tier that answered decides; one that is asked for is in the bound, though the provider may not grant it."""
    slow = Price(Rates(500_000_000, 1_000_000_000))
    fast = Price(Rates(2_000_000_000, 4_000_000_000))
    price = Price(Rates(1_000_000_000, 2_000_000_000), tiers={"priority": fast, "flex": slow})
    assert price.cost(Usage(1_000_000, 0, tier="priority")) == 2_000_000_000
    assert price.cost(Usage(1_000_000, 0, tier="batch")) == 1_000_000_000
    assert price.bound(1_000_000, 0, "priority") == 2_000_000_000
    assert price.bound(1_000_000, 0, "flex") == 1_000_000_000
    assert [priced_tier(word) for word in ("priority", "default", None, 7, ["flex"])] == ["priority", "", "", "", ""]


def test_a_half_is_rounded_up_once() -> None:
    """Half a nano-dollar becomes one; two halves in one call make one together, not two."""
    assert Rates(500_000).cost(Usage(1)) == 1
    assert Rates(499_999).cost(Usage(1)) == 0
    assert Rates(500_000, 500_000).cost(Usage(1, 1)) == 1


def test_records_of_older_releases_are_read() -> None:
    """A journal entry without cost and rates decodes; with them, the rates give the cost again for ever."""
    rates = Rates(150_000_000, 600_000_000, cached=75_000_000)
    usage = Usage(1000, 100, cached=400)
    attempt = AttemptRecord("a/m", "a", "m", 1, usage=usage, cost=rates.cost(usage), rates=rates)
    record = Record("hg_1", 1, attempts=[attempt], cost=180_000, prompt="greet@1")
    data = msgspec.msgpack.encode(record)
    read = msgspec.msgpack.decode(data, type=Record)
    assert read == record
    kept = read.attempts[0]
    assert kept.rates is not None
    assert kept.usage is not None
    assert kept.rates.cost(kept.usage) == kept.cost == 180_000
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(data)[: Record.__struct_fields__.index("cost")])
    assert msgspec.msgpack.decode(old, type=Record).cost is None
    assert len(msgspec.msgpack.encode(rates)) < 32


def test_unpriced_is_not_nothing() -> None:
    """What was billed without a price makes a call's cost unknown; what nobody bills costs nothing."""

    def made(cost: int | None, usage: Usage | None) -> AttemptRecord:
        return AttemptRecord("a/m", "a", "m", 1, usage=usage, cost=cost)

    assert sum_costs([]) == 0
    assert sum_costs([made(None, None)]) == 0
    assert sum_costs([made(None, Usage(1))]) is None
    assert sum_costs([made(0, None), made(None, Usage(1))]) is None
    assert sum_costs([made(5, Usage(1)), made(None, Usage(1)), made(7, Usage(1))]) == 12
    assert [show_cost(None), show_cost(0)] == ["unpriced", "$0.00"]


@pytest.mark.parametrize(
    ("nano", "places", "shown"),
    [
        (0, 9, "$0.00"),
        (1, 9, "$0.000000001"),
        (999_999_999, 9, "$0.999999999"),
        (999_999_999, 6, "$1.00"),
        (1_234_500_000_000, 9, "$1,234.50"),
        (-1_500_000_000, 9, "-$1.50"),
        (-1, 6, "$0.00"),
    ],
)
def test_money_is_shown_exactly(nano: int, places: int, shown: str) -> None:
    """Dollars with two decimals at least, and as many more as there are; rounded only where asked to."""
    assert show_money(nano, places) == shown


@given(st.integers(-(10**18), 10**18))
def test_dollars_for_programs_lose_nothing(nano: int) -> None:
    """The plain decimal is the same number."""
    assert Decimal(show_dollars(nano)) * 1_000_000_000 == nano


def test_a_price_is_told_in_a_line() -> None:
    """Every rate that is priced apart is named, steps too."""
    price = Price(
        Rates(150_000_000, 600_000_000, cached=75_000_000, search=10_000_000, request=1_000_000),
        ((200_000, Rates(300_000_000, 1_200_000_000)),),
    )
    assert price.show() == (
        "$0.15 input, $0.60 output, $0.075 cached per million tokens, $0.01 per search, $0.001 per request; "
        "above 200,000 tokens $0.30 input, $1.20 output"
    )
