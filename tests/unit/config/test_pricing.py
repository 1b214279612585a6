"""Prices that change with dates and hours, kept up to date on the deployments."""

from __future__ import annotations

import asyncio
import pathlib

from headgate.config.load import load_settings
from headgate.config.price_book import PriceBook
from headgate.config.pricing import Pricing
from headgate.config.settings import ProviderSettings
from headgate.core.call import Deployment, Timeouts
from headgate.core.clock import FixedClock
from headgate.core.price import Price, Rates
from headgate.providers.pricelist import Condition, Model, Period, Schedule

START = 1_800_000_000
PROVIDER = load_settings(text="{}", environ={}).providers["sim"]


class Book(PriceBook):
    """A book with one model, whose price doubles at START."""

    def __init__(self) -> None:
        super().__init__(None)

    def find(self, provider: ProviderSettings, model: str, own: Price | None = None) -> Price | Schedule | None:
        periods = [
            Period({"input": 1_000_000, "output": 0}),
            Period({"input": 2_000_000, "output": 0}, Condition(start=START)),
        ]
        return own or Schedule(Model(model, ["equals", model], periods), "test")


def deployment() -> Deployment:
    async def handler(attempt: object) -> None:
        raise AssertionError

    return Deployment("sim/echo", "sim", "echo", handler, Timeouts())  # type: ignore[arg-type]


def cost(deployment: Deployment) -> int:
    assert deployment.price is not None
    return deployment.price.rates.input


async def changed(deployment: Deployment) -> None:
    """Waits until the price is no longer the old one, two seconds at most."""
    for _ in range(200):
        if cost(deployment) != 1_000_000:
            return
        await asyncio.sleep(0.01)


async def test_a_price_changes_at_its_moment() -> None:
    """A deployment has the old price until the change, the new one after it; one not kept stays as it was made."""
    clock = FixedClock(epoch_ns=int((START - 0.05) * 1e9))
    pricing = Pricing(Book(), asyncio.get_running_loop(), clock)
    kept, dropped, fixed = deployment(), deployment(), deployment()
    pricing.set(kept, PROVIDER, None)
    pricing.set(dropped, PROVIDER, None, keep=False)
    pricing.set(fixed, PROVIDER, Price(Rates(7)))
    assert [cost(one) for one in (kept, dropped, fixed)] == [1_000_000, 1_000_000, 7]
    clock.advance(0.06)
    await changed(kept)
    assert [cost(one) for one in (kept, dropped, fixed)] == [2_000_000, 1_000_000, 7]
    pricing.close()


async def test_a_timer_that_fires_early_waits_again() -> None:
    """Where the clock was set back meanwhile, the price stays until its moment has come."""
    clock = FixedClock(epoch_ns=int((START - 0.02) * 1e9))
    pricing = Pricing(Book(), asyncio.get_running_loop(), clock)
    kept = deployment()
    pricing.set(kept, PROVIDER, None)
    await asyncio.sleep(0.06)
    assert cost(kept) == 1_000_000
    clock.advance(0.03)
    await changed(kept)
    assert cost(kept) == 2_000_000
    pricing.close()


PROXY = """
providers:
  up: {dialect: openai_chat, url: "http://127.0.0.1:9/v1"}
  mine: {type: ollama, url: "http://127.0.0.1:9/v1"}
  told: {dialect: openai_chat, url: "http://127.0.0.1:9/v1", price_table: none}
"""


async def test_a_budget_assumes_the_price_of_a_house_at_a_way_to_it(tmp_path: pathlib.Path) -> None:
    """Only once a budget asks, and only where somebody else's closed model is asked for through an unknown server."""
    providers = load_settings(text=PROXY, environ={}).providers
    pricing = Pricing(PriceBook(tmp_path), asyncio.get_running_loop(), FixedClock(epoch_ns=START * 10**9))
    asked = [("up", "gpt-4o-mini"), ("up", "claude-3-5-haiku-latest"), ("up", "qwen3-8b"), ("mine", "gpt-4o-mini")]
    made = []
    for name, model in [*asked, ("told", "gpt-4o-mini")]:
        one = Deployment(f"{name}/{model}", name, model, deployment().handler, Timeouts())
        pricing.set(one, providers[name], None)
        made.append(one)
    assert [one.price for one in made] == [None] * 5
    pricing.prepare()
    pricing.assume()
    assert [one.price is not None for one in made] == [True, True, False, False, False]
    assert made[0].price is not None
    assert (made[0].price.rates.input, made[0].price.rates.output) == (150_000_000, 600_000_000)
    late = Deployment("up/gpt-4o", "up", "gpt-4o", deployment().handler, Timeouts())
    pricing.set(late, providers["up"], None)
    assert late.price is not None
    pricing.close()
