"""Extracts the price table of the package ``genai-prices`` into a file of our own: ``python -m … FILE``.

Run as a process of its own, since the package and pydantic behind it are heavy.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pathlib
import sys
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from headgate.core.usage import PRICED_TIERS
from headgate.providers.pricelist import DAY, Condition, Model, Period, PriceFile, Table, day_start

PACKAGE = "genai-prices"
_NANO = Decimal(1_000_000_000)
_RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
}
_PER_THOUSAND = {"web_searches_kcount": "search", "requests_kcount": "request"}
_CONTEXTS = ("service_tier", "processing", "speed")


def extract() -> PriceFile:
    """Imports the package and returns its table."""
    providers: Any = importlib.import_module("genai_prices.data").providers
    return PriceFile(importlib.metadata.version(PACKAGE), [_table(provider) for provider in providers])


def _table(provider: Any) -> Table:
    models = msgspec.Raw(msgspec.json.encode([_model(model) for model in provider.models]))
    return Table(provider.id, provider.api_pattern, models, list(provider.fallback_model_providers or ()))


def _model(model: Any) -> Model:
    prices = model.prices if isinstance(model.prices, list) else None
    if prices is None:
        periods = [Period(_prices(model.prices))]
    else:
        periods = [Period(_prices(one.prices), _condition(one.constraint)) for one in prices]
    for variant in model.price_variants or ():
        tier = _tier(variant.when)
        if tier:
            periods.append(Period(_prices(variant.prices), _condition(variant.constraint), tier))
    return Model(model.id, _match(model.match), periods)


def _tier(when: dict[str, str]) -> str:
    """Returns which service tier a variant is for; "" for one that no Usage can tell."""
    if len(when) != 1:
        return ""
    ((name, value),) = when.items()
    return value if name in _CONTEXTS and value in PRICED_TIERS else ""


def _prices(price: Any) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    for key, value in vars(price).items():
        if value is None:
            continue
        if key in _RATES:
            rates[_RATES[key]] = _stepped(value)
        elif key in _PER_THOUSAND:
            flat = value if isinstance(value, Decimal) else value.base
            rates[_PER_THOUSAND[key]] = _nano(flat / 1000)
    return rates


def _stepped(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _nano(value)
    return [_nano(value.base), *([tier.start, _nano(tier.price)] for tier in value.tiers)]


def _nano(dollars: Decimal) -> int:
    whole: Decimal = (dollars * _NANO).to_integral_value(ROUND_HALF_UP)
    return int(whole)


def _condition(constraint: Any) -> Condition:
    if constraint is None:
        return Condition()
    date = getattr(constraint, "start_date", None)
    if date is not None:
        return Condition(day_start(date.year, date.month, date.day))
    return Condition(daily=(_second(constraint.start_time), _second(constraint.end_time)))


def _second(time: Any) -> int:
    offset = time.utcoffset()
    second: int = time.hour * 3600 + time.minute * 60 + time.second
    return (second - int(offset.total_seconds() if offset else 0)) % DAY


def _match(clause: Any) -> list[Any]:
    ((name, value),) = vars(clause).items()
    if isinstance(value, list):
        return [name.rstrip("_"), [_match(one) for one in value]]
    return [name, value if name == "regex" else value.lower()]


def main(arguments: list[str]) -> int:
    """Writes the table to the file named by the first argument, whole or not at all."""
    target = pathlib.Path(arguments[0])
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.encode(extract()))
    unfinished.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
