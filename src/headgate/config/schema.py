"""The shape of ``headgate.yaml``: what may be written, in which unit and range, and what it is for.

One field is one setting; the reference in ``docs/configuration.md`` is made from the texts here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headgate.config.checks import check_header, check_path, check_proxy, check_secret, check_url
from headgate.config.prices import EstimateSettings, PriceConfig
from headgate.config.rule import Rule
from headgate.config.settings import DataSettings, ServerSettings

_TIME = {"unit": "seconds", "low": 0.001, "high": 86400.0}


class TimeoutsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds in time of one attempt; what is left out comes from the next wider place."""

    connect: Annotated[float | None, Rule("Name resolution, TCP, proxy and TLS together.", **_TIME)] = None
    headers: Annotated[float | None, Rule("From the request sent to the response head.", **_TIME)] = None
    first_content: Annotated[
        float | None, Rule("From the request sent to the first content of the answer.", **_TIME)
    ] = None
    idle: Annotated[float | None, Rule("Between two pieces of a stream, while waiting on upstream.", **_TIME)] = None
    total: Annotated[float | None, Rule("The whole attempt.", **_TIME)] = None


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A place that answers: a known kind by ``type``, or any server by ``dialect`` and ``url``."""

    type: Annotated[
        str | None, Rule("A row of known facts. Left out: the provider's own name, if it is one.", choices="rows")
    ] = None
    dialect: Annotated[str | None, Rule("The wire it speaks, instead of `type`; needs `url`.", choices="dialects")] = (
        None
    )
    url: Annotated[str | None, Rule("Base URL with its version prefix (`https://host/v1`).", check=check_url)] = None
    key: Annotated[
        str | None,
        Rule(
            "`env:NAME` or `file:/path` of its key, or `none`. Left out: the `type`'s own variable, at its own URL.",
            check=check_secret,
            secret=True,
        ),
    ] = None
    headers: Annotated[
        dict[str, str],
        Rule("Extra request headers: text, or `env:NAME` / `file:/path`.", check=check_header, secret=True),
    ] = {}
    timeouts: Annotated[TimeoutsConfig, Rule("Bounds in time of an attempt at this provider.")] = TimeoutsConfig()
    max_tokens_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None,
        Rule("The request field that bounds the answer. Left out: the `type`'s."),
    ] = None
    stream_usage: Annotated[
        bool | None, Rule("Ask for usage in streams (`stream_options`). Left out: the `type`'s.")
    ] = None
    max_connections: Annotated[int, Rule("Connections to it, per worker.", low=1, high=65535)] = 8192
    ca_file: Annotated[
        str | None, Rule("PEM file of the authorities to trust instead of the system's.", check=check_path)
    ] = None
    proxy: Annotated[
        str,
        Rule("`environment` (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), `none`, or a proxy's URL.", check=check_proxy),
    ] = "environment"
    prices: Annotated[dict[str, PriceConfig], Rule("What its models cost, by their name there; `*` is any other.")] = {}
    price_table: Annotated[
        str | None, Rule("Whose prices in the table hold here, or `none`. Left out: found by the URL.")
    ] = None
    count_tokens: Annotated[
        bool, Rule("Bound a call's input by the model's tokenizer (65 MB a worker) instead of by its bytes.")
    ] = False


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers use, and the deployments that answer for it, in order."""

    route: Annotated[list[str], Rule("`provider/model`, tried in this order until one answers.")] = []
    max_tokens: Annotated[
        int | None, Rule("Sent where the caller names none. Left out: `defaults.max_tokens`.", low=1, high=10_000_000)
    ] = None
    timeouts: Annotated[TimeoutsConfig, Rule("Bounds in time of an attempt for this model.")] = TimeoutsConfig()
    description: Annotated[str, Rule("For people; shown by `config explain`.")] = ""
    price: Annotated[PriceConfig | None, Rule("What it costs at every deployment of its route.")] = None


class DefaultsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where a provider or model says nothing."""

    timeouts: Annotated[TimeoutsConfig, Rule("Bounds in time of every attempt.")] = TimeoutsConfig()
    max_tokens: Annotated[
        int, Rule("Sent where neither the caller nor the model names one.", low=1, high=10_000_000)
    ] = 4096


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    providers: Annotated[dict[str, ProviderConfig], Rule("Where answers come from, by name.")] = {}
    models: Annotated[dict[str, ModelConfig], Rule("What callers may ask for, by name.")] = {}
    server: Annotated[ServerSettings, Rule("The HTTP face.")] = ServerSettings()
    data: Annotated[DataSettings, Rule("What is kept, and where.")] = DataSettings()
    defaults: Annotated[DefaultsConfig, Rule("What holds where nothing else is said.")] = DefaultsConfig()
    estimate: Annotated[EstimateSettings, Rule("Estimates of what a call would cost.")] = EstimateSettings()
