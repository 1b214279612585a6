"""Prices as they are written in the configuration: dollars per million tokens, exact, with steps by prompt length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec

from headgate.config.nodes import join
from headgate.config.rule import Rule
from headgate.config.units import Rate
from headgate.core.price import Price, show_money
from headgate.providers.pricelist import make_price

SOURCE = "configuration"
ANY_MODEL = "*"
"""In ``providers.NAME.prices``: every model that is not named."""


class PriceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs; a kind of token that is left out costs as ``input`` or ``output`` does."""

    input: Annotated[Rate | None, Rule("Per million input tokens; 0 where it costs nothing.")] = None
    output: Annotated[Rate | None, Rule("Per million output tokens; 0 where it costs nothing.")] = None
    cached: Annotated[Rate | None, Rule("Input read from the provider's prompt cache.")] = None
    cache_write: Annotated[Rate | None, Rule("Input written to it, for 5 minutes.")] = None
    cache_write_1h: Annotated[Rate | None, Rule("Input written to it, for an hour. Left out: `cache_write`.")] = None
    reasoning: Annotated[Rate | None, Rule("Reasoning, where it is priced apart from other output.")] = None
    audio_input: Annotated[Rate | None, Rule("Audio in the input.")] = None
    audio_output: Annotated[Rate | None, Rule("Audio in the output.")] = None
    image_input: Annotated[Rate | None, Rule("Image tokens in the input, where they are counted apart.")] = None
    image_output: Annotated[Rate | None, Rule("Image tokens in the output, where they are counted apart.")] = None
    search: Annotated[Rate | None, Rule("Per web search that the provider makes.", unit="dollars")] = None
    request: Annotated[Rate | None, Rule("Per request.", unit="dollars")] = None


class EstimateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an estimate warns."""

    warn_tokens: Annotated[int, Rule("Estimates warn above so many input tokens.", low=1, high=1_000_000_000)] = 100_000
    warn_dollars: Annotated[
        float, Rule("Estimates warn where the call may cost more dollars.", low=0.0, high=1_000_000.0)
    ] = 1.0


def show_price(price: Price) -> Iterator[tuple[str, str]]:
    """Yields each field of a configured price as it could be written, for the explanation."""
    for name in PriceConfig.__struct_fields__:
        rate = getattr(price.rates, name)
        if rate is None:
            kind = "output" if name in ("reasoning", "audio_output", "image_output") else "input"
            yield name, f"as {kind}"
            continue
        text, last = show_money(rate), rate
        for start, rates in price.steps:
            higher = getattr(rates, name)
            if higher != last:
                text, last = f"{text}, {show_money(higher)} above {start}", higher
        yield name, text


def read_price(written: PriceConfig | None, path: str, tell: Callable[[str, str], None]) -> Price | None:
    """Returns the price that was written at ``path``, None where there is none; ``tell`` hears what is wrong."""
    if written is None:
        return None
    rates = {}
    for name in written.__struct_fields__:
        rate: Rate | None = getattr(written, name)
        if rate is not None:
            rates[name] = [rate.base, *(list(step) for step in rate.steps)] if rate.steps else rate.base
    if not rates:
        return None
    if "input" not in rates or "output" not in rates:
        tell(path, "a price wants `input` and `output`, in dollars per million tokens; 0 where it costs nothing")
        return None
    return make_price(rates, SOURCE)


def read_prices(written: dict[str, PriceConfig], path: str, tell: Callable[[str, str], None]) -> dict[str, Price]:
    """Returns the prices of a provider's models, by the model's name there or ``*``."""
    found = {}
    for model, config in written.items():
        price = read_price(config, join(path, model), tell)
        if price is not None:
            found[model] = price
    return found
