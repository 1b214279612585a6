"""The price table: found under every name, priced as its package prices, on every date and hour."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from genai_prices import types
from genai_prices.data import providers

from headgate.core.usage import Usage
from headgate.providers.price_extract import main
from headgate.providers.pricelist import Condition, Model, Period, PriceList, Schedule, day_start, make_price

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> PriceList:
    """The installed package's table, extracted."""
    file = tmp_path_factory.mktemp("prices") / "prices.json"
    assert main([str(file)]) == 0
    assert [path.name for path in file.parent.iterdir()] == ["prices.json"]
    return PriceList.read(file.read_bytes())


def spellings(clause: Any) -> Iterator[str]:
    """Names that a rule of the package takes."""
    if isinstance(clause, types.ClauseOr | types.ClauseAnd):
        inner = clause.or_ if isinstance(clause, types.ClauseOr) else clause.and_
        for one in inner:
            yield from spellings(one)
    elif isinstance(clause, types.ClauseEquals):
        yield clause.equals
        yield clause.equals.upper()
    elif isinstance(clause, types.ClauseStartsWith):
        yield clause.starts_with
        yield f"{clause.starts_with}-20260131"
    elif isinstance(clause, types.ClauseContains):
        yield f"x-{clause.contains}-y"


NAMES = [
    (provider.id, name)
    for provider in providers
    for model in provider.models
    for name in {model.id, *spellings(model.match)}
]


def test_every_name_finds_its_model(prices: PriceList) -> None:
    """Aliases, dated snapshots, other cases and other providers' models: thousands of names, each found as there."""
    assert len(NAMES) > 3000
    for provider in providers:
        for name in [name for at, name in NAMES if at == provider.id]:
            there = provider.find_model(name, all_providers=providers)
            here = prices.find(provider.id, name)
            assert (None if here is None else here.model_id) == (None if there is None else there.id), name


def test_names_that_people_write_are_found(prices: PriceList) -> None:
    """The usual names of the usual providers have a price; made-up ones have none."""
    for provider, name in [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini-2024-07-18"),
        ("openai", "GPT-4o-2024-08-06"),
        ("openai", "o4-mini-2025-04-16"),
        ("openai", "text-embedding-3-large"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("anthropic", "claude-3-5-haiku-latest"),
        ("azure", "gpt-4o-mini"),
        ("aws", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("deepseek", "deepseek-chat"),
        ("groq", "llama-3.3-70b-versatile"),
    ]:
        schedule = prices.find(provider, name)
        assert schedule is not None, name
        assert schedule.at(NOW.timestamp()) is not None, name
    assert prices.find("openai", "no-such-model") is None
    assert prices.find("no-such-provider", "gpt-4o") is None


def test_providers_are_known_by_their_url(prices: PriceList) -> None:
    """A base URL tells whose prices hold; an unknown one tells nothing."""
    assert prices.provider_at("https://api.openai.com/v1") == "openai"
    assert prices.provider_at("https://my-team.openai.azure.com/openai/v1") == "azure"
    assert prices.provider_at("https://api.deepseek.com/v1") == "deepseek"
    assert prices.provider_at("https://llm.example.com/v1") is None


def random_usage(chance: random.Random) -> Usage:
    given, made = chance.randrange(400_000), chance.randrange(50_000)
    share = given // 6
    return Usage(
        given,
        made,
        cached=chance.randrange(share + 1),
        cache_write=chance.randrange(share + 1),
        cache_write_1h=chance.randrange(share + 1),
        audio_input=chance.choice([0, share]),
        reasoning=made // 3,
        audio_output=chance.choice([0, made // 4]),
        searches=chance.randrange(4),
        tier=chance.choice(["", "", "priority", "flex", "batch", "fast"]),
    )


def theirs(model: types.ModelInfo, provider: types.Provider, usage: Usage, moment: datetime) -> Decimal:
    """What the package itself says."""
    known = types.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.audio_input,
        cache_audio_read_tokens=0,
        output_audio_tokens=usage.audio_output,
        output_reasoning_tokens=usage.reasoning,
        web_searches=usage.searches,
    )
    context = {
        "": {},
        "batch": {"processing": "batch"},
        "fast": {"speed": "fast", "service_tier": "fast"},
    }.get(usage.tier, {"service_tier": usage.tier})
    price = model.get_prices(moment, context)
    return price.calc_price(known)["total_price"]


def test_prices_are_the_packages(prices: PriceList) -> None:
    """For models of every kind, any usage, date, hour and tier costs to the nano-dollar what the package says."""
    chance = random.Random(4)
    compared = 0
    for provider in providers:
        for model in provider.models:
            schedule = prices.find(provider.id, model.id)
            if schedule is None or schedule.model_id != model.id:
                continue
            moment = datetime.fromtimestamp(chance.uniform(day_start(2025, 1, 1), day_start(2026, 12, 1)), UTC)
            price = schedule.at(moment.timestamp())
            if price is None:
                continue
            usage = random_usage(chance)
            exact = theirs(model, provider, usage, moment) * 1_000_000_000
            # A rate finer than a nano-dollar per million tokens is rounded to one.
            slack = Decimal(usage.input) / 1_000_000
            assert abs(price.cost(usage) - exact) <= slack + Decimal("0.5"), (provider.id, model.id, usage)
            compared += 1
    assert compared > 1500


def test_exact_prices_are_exact(prices: PriceList) -> None:
    """Where rates are whole nano-dollars, the cost is the package's, rounded half up."""
    openai = next(provider for provider in providers if provider.id == "openai")
    model = openai.find_model("gpt-4o-mini")
    schedule = prices.find("openai", "gpt-4o-mini")
    assert model is not None
    assert schedule is not None
    price = schedule.at(NOW.timestamp())
    assert price is not None
    chance = random.Random(5)
    for _ in range(300):
        usage = random_usage(chance)
        usage.tier = ""
        exact = theirs(model, openai, usage, NOW) * 1_000_000_000
        assert price.cost(usage) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def test_a_model_without_rates_has_no_price(prices: PriceList) -> None:
    """What the table lists without an input rate (free tiers, audio by the hour) is unpriced, not free."""
    for name in ("whisper-1", "omni-moderation-latest"):
        schedule = prices.find("openai", name)
        assert schedule is not None
        assert schedule.at(NOW.timestamp()) is None


def test_dates_and_hours() -> None:
    """The last price that holds counts; the next change is the next date or hour at which another may."""
    day = day_start(2026, 3, 13)
    periods = [
        Period({"input": 100}),
        Period({"input": 200}, Condition(start=day)),
        Period({"input": 400}, Condition(start=day + 86_400, daily=(79_200, 21_600))),
    ]
    schedule = Schedule(Model("m", ["equals", "m"], periods), "test")

    def rate(moment: float) -> int:
        price = schedule.at(moment)
        assert price is not None
        return price.rates.input

    assert [rate(day - 1), rate(day), rate(day + 80_000), rate(day + 90_000)] == [100, 200, 200, 400]
    assert [rate(day + 86_400 + 21_600), rate(day + 86_400 + 79_200)] == [200, 400]
    assert schedule.next_change(day - 10) == day
    assert schedule.next_change(day + 86_400) == day + 86_400 + 21_600
    assert schedule.next_change(day + 86_400 + 21_600) == day + 86_400 + 79_200
    assert Schedule(Model("m", ["equals", "m"], periods[:1]), "test").next_change(day) == float("inf")


def test_a_model_whose_every_price_has_a_date_begins_with_the_first() -> None:
    """Before the first date of all, the first price stands in."""
    periods = [Period({"input": 1}, Condition(start=1000)), Period({"input": 2}, Condition(start=2000))]
    price = Schedule(Model("m", ["equals", "m"], periods), "test").at(0)
    assert price is not None
    assert price.rates.input == 1


def test_a_cache_write_without_a_lifetime_is_of_both() -> None:
    """A table that prices cache writes once means the hour's too."""
    rates = make_price({"input": 3, "output": 1, "cache_write": 4}, "test").rates
    assert (rates.cache_write, rates.cache_write_1h) == (4, 4)
    stepped = make_price({"input": [3, [10, 6]], "output": 1}, "test")
    assert [(start, rates.input, rates.output) for start, rates in stepped.steps] == [(10, 6, 1)]
