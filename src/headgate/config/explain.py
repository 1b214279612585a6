"""Shows the effective configuration: every value, and where it came from; secrets by reference only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.config.alerts_shown import explain_alerts
from headgate.config.checks import is_reference
from headgate.config.ledger import POLICIES, Origin
from headgate.config.limits import show_limit
from headgate.config.load import Loaded
from headgate.config.nodes import join
from headgate.config.prices import show_price
from headgate.config.reader import fields
from headgate.config.schema import DefaultsConfig
from headgate.config.settings import (
    DataSettings,
    DefaultSettings,
    HedgeSettings,
    ModelSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
    StepSettings,
)
from headgate.config.traces import explain_traces
from headgate.config.units import show_bytes, show_seconds
from headgate.core.price import Price
from headgate.providers.secret import Secret


class Line(msgspec.Struct, frozen=True):
    """One setting: its path, its value (a secret as ``"env:NAME (set)"``), and its source.

    ``source`` is ``"file"``, ``"environment"``, ``"command line"``, ``"provider row"`` or ``"default"``; ``where`` is
    the file and line, variable, option or row, "" for a default.
    """

    path: str
    value: Any
    source: str
    where: str

    @property
    def origin(self) -> str:
        """The source in words."""
        if self.source == "file":
            return self.where
        return f"{self.source} {self.where}".rstrip()


def explain(loaded: Loaded) -> list[Line]:
    """Returns every effective setting in the order of the schema."""
    lines = []
    for path, value in _values(loaded):
        origin = loaded.origins.get(path)
        lines.append(
            Line(path, value, "default", "") if origin is None else Line(path, value, origin.kind, origin.name)
        )
    return lines


def show_text(lines: list[Line]) -> str:
    """Renders three columns: path, value, origin."""
    rows = [(line.path, _text(line.path, line.value), line.origin) for line in lines]
    widths = [min(max((len(row[column]) for row in rows), default=0), 60) for column in (0, 1)]
    return "\n".join(f"{path:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for path, value, origin in rows)


def show_value(line: Line) -> str:
    """Returns a line's value as a person reads it: amounts with their units."""
    return _text(line.path, line.value)


def show_json(loaded: Loaded, lines: list[Line]) -> str:
    """Renders ``{"file": …, "settings": [{"path", "value", "source", "where"}, …]}``, amounts in seconds and bytes."""
    data = msgspec.json.encode({"file": loaded.settings.file, "settings": lines})
    return msgspec.json.format(data, indent=2).decode()


def _values(loaded: Loaded) -> Iterator[tuple[str, Any]]:
    settings = loaded.settings
    for provider in settings.providers.values():
        yield from _provider(provider, loaded.origins)
    for model in settings.models.values():
        yield from _model(model, loaded)
    yield from _struct(settings.server, "server")
    for path, value in _struct(settings.data, "data"):
        yield path, _database(settings) if path == "data.database" else value
    yield from _policies(settings.defaults, "defaults")
    yield "defaults.max_tokens", settings.defaults.max_tokens
    yield from _struct(settings.estimate, "estimate")
    for index, rule in enumerate(settings.limits):
        for name, value in show_limit(rule):
            yield f"limits[{index}].{name}", value
    yield from _struct(settings.leases, "leases")
    if settings.alerts is not None:
        yield from explain_alerts(settings.alerts)
    if settings.traces is not None:
        yield from explain_traces(settings.traces)
    if settings.admin_key is not None:
        yield "admin_key", _secret(settings.admin_key)


def _provider(provider: ProviderSettings, origins: dict[str, Origin]) -> Iterator[tuple[str, Any]]:
    path = join("providers", provider.name)
    yield f"{path}.type", provider.row.name
    yield f"{path}.dialect", provider.dialects[0]
    if not provider.row.embedded:
        yield f"{path}.url", provider.url
        if f"{path}.keys" in origins:
            for index, key in enumerate(provider.keys):
                yield f"{path}.keys[{index}]", _secret(key)
        else:
            yield f"{path}.key", _secret(provider.keys[0]) if provider.keys else "none"
        for name, value in provider.headers.items():
            yield join(f"{path}.headers", name), _secret(value) if isinstance(value, Secret) else value
    yield from _policies(provider, path)
    yield f"{path}.max_tokens_field", provider.max_tokens_field
    yield f"{path}.stream_usage", provider.stream_usage
    if not provider.row.embedded:
        yield f"{path}.max_connections", provider.max_connections
        yield f"{path}.ca_file", provider.ca_file or "system"
        yield f"{path}.proxy", provider.proxy
    for model, price in provider.prices.items():
        yield from _price(price, join(f"{path}.prices", model))
    if not provider.row.embedded:
        yield f"{path}.price_table", provider.price_table or "by the URL"
        yield f"{path}.count_tokens", provider.count_tokens


def _model(model: ModelSettings, loaded: Loaded) -> Iterator[tuple[str, Any]]:
    path = join("models", model.name)
    yield from _route(model, path, loaded)
    if model.hedge is None:
        yield f"{path}.hedge", False
    else:
        yield from _struct(model.hedge, f"{path}.hedge")
    if model.answer:
        yield f"{path}.answer", model.answer
    yield f"{path}.max_tokens", model.max_tokens
    if model.description:
        yield f"{path}.description", model.description
    if model.price is not None:
        yield from _price(model.price, f"{path}.price")


def _route(model: ModelSettings, path: str, loaded: Loaded) -> Iterator[tuple[str, Any]]:
    """Shows what is tried in turn, and what is tried instead after some kinds of failure."""
    providers = loaded.settings.providers
    for index, group in enumerate(model.route):
        below = f"{path}.route[{index}]"
        if f"{below}.of" in loaded.origins:
            for place, step in enumerate(group.steps):
                yield from _step(step, f"{below}.of[{place}]", providers, loaded.origins)
            yield f"{below}.balance", group.balance
            yield f"{below}.sticky", group.sticky
        else:
            yield from _step(group.steps[0], below, providers, loaded.origins)
    for kind, steps in model.on.items():
        for index, step in enumerate(steps):
            yield from _step(step, f"{path}.on.{kind}[{index}]", providers, loaded.origins)


def _price(price: Price, path: str) -> Iterator[tuple[str, Any]]:
    for name, value in show_price(price):
        yield f"{path}.{name}", value


def _step(
    step: StepSettings, path: str, providers: dict[str, ProviderSettings], origins: dict[str, Origin]
) -> Iterator[tuple[str, Any]]:
    """Shows a deployment, in the form it was written in, and of what it inherits whatever its provider has not."""
    is_mapping = f"{path}.use" in origins
    yield f"{path}.use" if is_mapping else path, step.name
    if is_mapping or ".of[" in path:
        yield f"{path}.weight", step.weight
    provider = providers[step.provider]
    for name in POLICIES:
        policy = getattr(step, name)
        if policy != getattr(provider, name):
            yield from _struct(policy, f"{path}.{name}")


def _policies(settings: ProviderSettings | DefaultSettings, path: str) -> Iterator[tuple[str, Any]]:
    for name in POLICIES:
        yield from _struct(getattr(settings, name), f"{path}.{name}")


def _struct(struct: msgspec.Struct, path: str) -> Iterator[tuple[str, Any]]:
    for name, value in msgspec.structs.asdict(struct).items():
        if isinstance(value, msgspec.Struct):
            yield from _struct(value, f"{path}.{name}")
        else:
            yield f"{path}.{name}", value


def _database(settings: Settings) -> str:
    if settings.store is None:
        return "SQLite in data.dir"
    written = settings.data.database
    return _secret(settings.store) if is_reference(written) else written


def _secret(secret: Secret) -> str:
    return f"{secret.reference} ({'not set here' if secret.absent else 'set'})"


def _text(path: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.replace("\n", "\\n")
    unit = _UNITS.get(path) or _UNITS.get(".".join(path.rsplit(".", 2)[-2:]))
    if unit == "bytes":
        return show_bytes(value)
    if unit == "seconds":
        return show_seconds(value)
    return f"{value:g} days" if unit == "days" else f"{value:g}" if isinstance(value, float) else str(value)


def _units(cls: type[msgspec.Struct], prefix: str) -> dict[str, str]:
    found = {}
    for name, (hint, rule) in fields(cls).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            found.update(_units(hint, f"{prefix}{name}."))
        elif rule.unit:
            found[f"{prefix}{name}"] = rule.unit
    return found


_UNITS = (
    _units(ServerSettings, "server.")
    | _units(DataSettings, "data.")
    | _units(DefaultsConfig, "")
    | _units(HedgeSettings, "hedge.")
)
"""By whole path, and by the last two parts of what may stand in several places (``retry.base``)."""
