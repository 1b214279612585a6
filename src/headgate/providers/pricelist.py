"""PriceList: the public price table, looked up by provider and model name; what a model costs when.

The table is that of the package ``genai-prices``, extracted once per version into a file of our own
(``price_extract``), since importing the package takes a worker 30 MB. Its matching rules hold here as they hold there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from headgate.core.price import Price, Rates

DAY = 86_400
_COMPACT_DATE = re.compile(r"(?<=-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


class Condition(msgspec.Struct, frozen=True):
    """When a price holds, in UTC: from a moment on (s since 1970), or daily between two times (s of the day)."""

    start: int | None = None
    daily: tuple[int, int] | None = None

    def holds(self, moment: float) -> bool:
        """Says whether it does at a moment (s since 1970)."""
        if self.start is not None and moment < self.start:
            return False
        if self.daily is None:
            return True
        begin, end = self.daily
        time = moment % DAY
        return begin <= time < end if begin <= end else time >= begin or time < end

    def next_change(self, moment: float) -> float:
        """Returns the next moment after this one at which ``holds`` may change; infinity for never."""
        found = [self.start] if self.start is not None and self.start > moment else []
        midnight = int(moment // DAY) * DAY
        for time in self.daily or ():
            found += [at for at in (midnight + time, midnight + DAY + time) if at > moment]
        return min(found, default=float("inf"))


class Period(msgspec.Struct, frozen=True):
    """Rates and the condition under which they hold; ``tier`` is the service tier that they are for."""

    prices: dict[str, Any]
    when: Condition = Condition()
    tier: str = ""


class Model(msgspec.Struct, frozen=True):
    """One model of the table: how it is recognised, and its prices; of those that hold the last one counts."""

    id: str
    match: list[Any]
    periods: list[Period]


class Table(msgspec.Struct, frozen=True):
    """One provider of the table: the pattern of its URL, its models (JSON, read when they are needed), and whose models
    it has besides."""

    id: str
    url: str
    models: msgspec.Raw
    fallback: list[str] = []


class Schedule:
    """A model's price over time."""

    def __init__(self, model: Model, source: str) -> None:
        self._model = model
        self._source = source

    @property
    def model_id(self) -> str:
        """The model's own id in the table."""
        return self._model.id

    def at(self, moment: float) -> Price | None:
        """Returns the price that holds at a moment (s since 1970); None where the table has none."""
        standard = [period for period in self._model.periods if not period.tier]
        chosen = next((period for period in reversed(standard) if period.when.holds(moment)), None)
        if chosen is None and standard:
            chosen = standard[0]
        if chosen is None or "input" not in chosen.prices:
            return None
        tiers: dict[str, dict[str, Any]] = {}
        for period in self._model.periods:
            if period.tier and period.when.holds(moment):
                known = tiers.setdefault(period.tier, {})
                known.update({name: rate for name, rate in period.prices.items() if name not in known})
        variants = {
            tier: make_price({**chosen.prices, **prices}, self._source) for tier, prices in tiers.items() if prices
        }
        return make_price(chosen.prices, self._source, variants)

    def next_change(self, moment: float) -> float:
        """Returns when ``at`` may answer otherwise, s since 1970; infinity for never."""
        return min((period.when.next_change(moment) for period in self._model.periods), default=float("inf"))


class PriceList:
    """The tables of some providers."""

    def __init__(self, version: str, tables: Iterable[Table]) -> None:
        self.source = f"genai-prices {version}"
        self._tables = {table.id: table for table in tables}
        self._models: dict[str, list[Model]] = {}

    @classmethod
    def read(cls, data: bytes) -> PriceList:
        """Reads what ``price_extract`` wrote.

        Raises:
            msgspec.DecodeError: it is not that.
        """
        file = _decode(data)
        return cls(file.version, file.tables)

    def provider_at(self, url: str) -> str | None:
        """Returns the id of the provider whose API is at a URL."""
        return next((table.id for table in self._tables.values() if re.match(table.url, url)), None)

    def has(self, provider: str) -> bool:
        """Says whether there is a provider with this id."""
        return provider in self._tables

    def providers(self) -> list[str]:
        """Returns the ids of all providers."""
        return list(self._tables)

    def find(self, provider: str, model: str) -> Schedule | None:
        """Returns the price of a provider's model; names are taken with dates and in other spellings too."""
        table = self._tables.get(provider)
        if table is None:
            return None
        name = model.lower()
        found = self._search(table, name)
        if found is None:
            dated = _COMPACT_DATE.sub(r"\1-\2-\3", name)
            found = self._search(table, dated) if dated != name else None
        return None if found is None else Schedule(found, self.source)

    def _search(self, table: Table, name: str) -> Model | None:
        for one in (table, *(self._tables[other] for other in table.fallback if other in self._tables)):
            if one.id not in self._models:
                self._models[one.id] = _decode_models(one.models)
            for model in self._models[one.id]:
                if _matches(model.match, name):
                    return model
        return None


class PriceFile(msgspec.Struct, frozen=True):
    """The whole of an extracted table."""

    version: str
    tables: list[Table]


_decode = msgspec.json.Decoder(PriceFile).decode
_decode_models = msgspec.json.Decoder(list[Model]).decode


def make_price(rates: dict[str, Any], source: str, tiers: dict[str, Price] | None = None) -> Price:
    """Returns a Price.

    Args:
        rates: by the names of ``Rates``, each an int, or ``[base, [above, int], …]`` for rates that step up with the
            prompt's length.
        source: see ``Price``.
        tiers: see ``Price``.
    """
    starts = sorted({step[0] for rate in rates.values() if isinstance(rate, list) for step in rate[1:]})
    steps = tuple((start, _rates_above(rates, start)) for start in starts)
    return Price(_rates_above(rates, -1), steps, tiers or {}, source)


def _rates_above(rates: dict[str, Any], start: int) -> Rates:
    flat = {}
    for name, rate in rates.items():
        value = rate
        if isinstance(rate, list):
            value = rate[0]
            for above, higher in rate[1:]:
                if start >= above:
                    value = higher
        flat[name] = value
    # A write's rate without a lifetime of its own is that of both.
    if flat.get("cache_write_1h") is None and flat.get("cache_write") is not None:
        flat["cache_write_1h"] = flat["cache_write"]
    return Rates(**flat)


def _matches(clause: list[Any], name: str) -> bool:
    kind, value = clause
    if kind == "equals":
        return bool(name == value)
    if kind == "starts_with":
        return name.startswith(value)
    if kind == "ends_with":
        return name.endswith(value)
    if kind == "contains":
        return value in name
    if kind == "regex":
        return re.search(value, name) is not None
    inner = (_matches(one, name) for one in value)
    return any(inner) if kind == "or" else all(inner)


def day_start(year: int, month: int, day: int) -> int:
    """Returns when a day begins, in UTC, s since 1970."""
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())
