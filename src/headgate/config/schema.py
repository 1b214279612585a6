"""The shape of ``headgate.yaml``: what may be written, in which unit and range, and what it is for.

One field is one setting; the reference in ``docs/configuration.md`` is made from the texts here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from headgate.config.alerts import AlertsConfig
from headgate.config.checks import (
    check_answer,
    check_header,
    check_path,
    check_proxy,
    check_reference,
    check_secret,
    check_url,
)
from headgate.config.limits import LeaseSettings, LimitRuleConfig
from headgate.config.prices import EstimateSettings, PriceConfig
from headgate.config.rule import Rule
from headgate.config.settings import Balance, DataSettings, FailureKind, HedgeSettings, ServerSettings
from headgate.config.traces import TracesConfig

_TIME: dict[str, Any] = {"unit": "seconds", "low": 0.001, "high": 86400.0}
_WAIT: dict[str, Any] = {"unit": "seconds", "low": 0.001, "high": 3600.0}
_WEIGHT: dict[str, Any] = {"low": 0.001, "high": 1000.0}


class TimeoutsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds in time of one attempt; what is left out comes from the next wider place."""

    connect: Annotated[float | None, Rule("Name resolution, TCP, proxy and TLS together.", **_TIME)] = None
    headers: Annotated[float | None, Rule("From the request sent to the response head.", **_TIME)] = None
    first_content: Annotated[
        float | None, Rule("From the request sent to the first content of the answer.", **_TIME)
    ] = None
    idle: Annotated[float | None, Rule("Between two pieces of a stream, while waiting on upstream.", **_TIME)] = None
    total: Annotated[float | None, Rule("The whole attempt.", **_TIME)] = None


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Extra tries at one deployment; what is left out comes from the next wider place."""

    attempts: Annotated[int | None, Rule("Extra tries of a call at one deployment; 0 is none.", low=0, high=20)] = None
    base: Annotated[
        float | None, Rule("Longest wait before the first extra try; it doubles with each one more.", **_WAIT)
    ] = None
    cap: Annotated[float | None, Rule("Longest wait before any extra try.", **_WAIT)] = None
    budget: Annotated[
        float | None,
        Rule("Extra tries that one success earns, so that an outage never multiplies its load.", low=0, high=1),
    ] = None
    eager: Annotated[
        bool | None, Rule("Try here again first, also where another deployment of the plan could be tried.")
    ] = None


class BreakerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """When a deployment is left alone; what is left out comes from the next wider place."""

    enabled: Annotated[
        bool | None, Rule("Whether failures open it (pauses that the provider asks for hold either way).")
    ] = None
    window: Annotated[float | None, Rule("Rolling window that is judged.", unit="seconds", low=0.1, high=3600.0)] = None
    min_calls: Annotated[
        int | None, Rule("Attempts within the window below which nothing is judged.", low=1, high=100_000)
    ] = None
    failure_rate: Annotated[float | None, Rule("Share of failed attempts at which it opens.", low=0.01, high=1)] = None
    slow_rate: Annotated[float | None, Rule("Share of slow attempts at which it opens.", low=0.01, high=1)] = None
    slow: Annotated[
        float | None,
        Rule("An attempt whose first content takes longer is slow; 0 is off.", unit="seconds", low=0.0, high=3600.0),
    ] = None
    open: Annotated[
        float | None, Rule("How long it stays open before one call may try.", unit="seconds", low=0.01, high=3600.0)
    ] = None
    max_pause: Annotated[
        float | None, Rule("Longest pause that the provider may ask for.", unit="seconds", low=0.0, high=86400.0)
    ] = None


class LimitConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a deployment gets at once; what is left out comes from the next wider place."""

    concurrency: Annotated[
        int | None, Rule("Most calls under way at a deployment, per worker; 0 is no fixed bound.", low=0, high=100_000)
    ] = None
    adaptive: Annotated[
        bool | None, Rule("Send less after rate limits, and as the provider says that little remains.")
    ] = None
    queue: Annotated[int | None, Rule("Most calls that wait for a place; 0 is none.", low=0, high=1_000_000)] = None
    wait: Annotated[
        float | None, Rule("Longest wait of an interactive call.", unit="seconds", low=0.0, high=3600.0)
    ] = None
    batch_wait: Annotated[
        float | None, Rule("Longest wait of a batch call.", unit="seconds", low=0.0, high=86400.0)
    ] = None
    batch_share: Annotated[
        float | None, Rule("Share of freed places for batch calls while interactive ones wait.", low=0, high=1)
    ] = None


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
    keys: Annotated[
        list[str],
        Rule(
            "Several keys, instead of `key`: on 401, 403 and 429 the next one is taken.",
            check=check_reference,
            secret=True,
        ),
    ] = []
    headers: Annotated[
        dict[str, str],
        Rule("Extra request headers: text, or `env:NAME` / `file:/path`.", check=check_header, secret=True),
    ] = {}
    timeouts: Annotated[TimeoutsConfig, Rule("Bounds in time of an attempt at this provider.")] = TimeoutsConfig()
    retry: Annotated[RetryConfig, Rule("Extra tries at its deployments.")] = RetryConfig()
    breaker: Annotated[BreakerConfig, Rule("When its deployments are left alone.")] = BreakerConfig()
    limit: Annotated[LimitConfig, Rule("How many calls its deployments get at once.")] = LimitConfig()
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


class StepConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of a route; a plain text is short for ``{use: …}``."""

    use: Annotated[str, Rule("The deployment, as `provider/model`.")] = ""
    weight: Annotated[float, Rule("Its share of the calls, against the others of its group.", **_WEIGHT)] = 1.0


class GroupConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Equals: deployments of which any may come first."""

    of: Annotated[list[StepConfig], Rule("A group of equals: each `provider/model`, or a mapping with a weight.")] = []
    balance: Annotated[
        Balance,
        Rule(
            "Which comes first: the first written, the less loaded and quicker of two, one by weight, or the cheapest."
        ),
    ] = "latency"
    sticky: Annotated[
        bool, Rule("A conversation stays at its deployment while that is well, for the provider's prompt cache.")
    ] = False


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers use, and the deployments that answer for it."""

    route: Annotated[
        list[StepConfig | GroupConfig],
        Rule("What is tried, in this order, until one answers: `provider/model`, a mapping with `use`, or a group."),
    ] = []
    on: Annotated[
        dict[FailureKind, list[str]],
        Rule("By kind of failure, the deployments that are tried next instead of the rest of the route."),
    ] = {}
    hedge: Annotated[
        HedgeSettings | None,
        Rule(
            "A second attempt at the plan's next deployment while the first one is slow; `{}` takes the defaults.",
            off=True,
        ),
    ] = None
    answer: Annotated[
        str,
        Rule(
            "Text to answer when nothing is left to try, marked as degraded. Left out: the error.", check=check_answer
        ),
    ] = ""
    max_tokens: Annotated[
        int | None, Rule("Sent where the caller names none. Left out: `defaults.max_tokens`.", low=1, high=10_000_000)
    ] = None
    timeouts: Annotated[TimeoutsConfig, Rule("Bounds in time of an attempt for this model.")] = TimeoutsConfig()
    retry: Annotated[RetryConfig, Rule("Extra tries for this model.")] = RetryConfig()
    breaker: Annotated[BreakerConfig, Rule("When a deployment is left alone, for this model.")] = BreakerConfig()
    limit: Annotated[LimitConfig, Rule("How many calls a deployment gets at once, for this model.")] = LimitConfig()
    description: Annotated[str, Rule("For people; shown by `config explain`.")] = ""
    price: Annotated[PriceConfig | None, Rule("What it costs at every deployment of its route.")] = None


class DefaultsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where a provider or model says nothing."""

    timeouts: Annotated[TimeoutsConfig, Rule("Bounds in time of every attempt.")] = TimeoutsConfig()
    retry: Annotated[RetryConfig, Rule("Extra tries at every deployment.")] = RetryConfig()
    breaker: Annotated[BreakerConfig, Rule("When any deployment is left alone.")] = BreakerConfig()
    limit: Annotated[LimitConfig, Rule("How many calls every deployment gets at once.")] = LimitConfig()
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
    limits: Annotated[
        list[LimitRuleConfig], Rule("What callers may use in a window of time; see the page on limits.")
    ] = []
    leases: Annotated[LeaseSettings, Rule("How limits are kept.")] = LeaseSettings()
    alerts: Annotated[AlertsConfig, Rule("Who is told when something goes wrong.")] = AlertsConfig()
    traces: Annotated[
        TracesConfig | None,
        Rule("Spans of calls and attempts for an OpenTelemetry collector; `{}` goes by `OTEL_*` variables.", off=True),
    ] = None
