"""The settings as the rest of Headgate sees them: frozen, typed, checked, every blank filled in."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headgate.config.checks import check_database, check_host, check_network, check_path
from headgate.config.limits import LeaseSettings
from headgate.config.prices import EstimateSettings
from headgate.config.rule import Rule
from headgate.core.alert import AlertPlan
from headgate.core.price import Price
from headgate.core.rule import LimitRule
from headgate.core.trace import TracePlan
from headgate.providers.rows import ProviderRow
from headgate.providers.secret import Secret

DEFAULT_DATA_DIR = "./headgate-data"

Balance = Literal["ordered", "latency", "weighted", "cheapest"]
FailureKind = Literal[
    "context_length",
    "content_filter",
    "rate_limited",
    "overloaded",
    "server_error",
    "timeout",
    "connect_failed",
    "upstream_broken",
    "auth",
    "not_found",
    "too_large",
    "invalid_request",
]
"""What ``on`` of a model may name."""


class TimeoutSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The five bounds in time of an attempt, in seconds (DESIGN §7)."""

    connect: float = 5.0
    headers: float = 60.0
    first_content: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Extra tries at one deployment.

    Attributes:
        attempts: extra tries of one call; 0 is none.
        base, cap: seconds; before the n-th extra try the wait is random, from 0 to ``min(cap, base * 2**(n - 1))``.
        budget: retries that one success earns, 0 to 1.
        eager: try here again before the plan's next deployment is tried.
    """

    attempts: int = 2
    base: float = 0.25
    cap: float = 8.0
    budget: float = 0.2
    eager: bool = False


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a deployment is left alone, and for how long. Times are seconds.

    Attributes:
        enabled: whether failures open it; pauses that an upstream suggests hold either way.
        window: the rolling window that is judged.
        min_calls: attempts in the window below which nothing is judged.
        failure_rate: the share of failed attempts at which it opens, 0 to 1.
        slow_rate: the share of slow attempts at which it opens, 0 to 1.
        slow: first content later than this makes an attempt slow; 0 is off.
        open: how long it stays open before a probe.
        max_pause: the longest pause that an upstream may ask for.
    """

    enabled: bool = True
    window: float = 10.0
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_rate: float = 1.0
    slow: float = 0.0
    open: float = 1.0
    max_pause: float = 300.0


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a deployment gets at once, and how the others wait. Per worker; times are seconds.

    Attributes:
        concurrency: most calls under way; 0 is no fixed bound.
        adaptive: lower the bound on rate limits and on what the provider says remains; raise it again on successes.
        queue: most calls that wait.
        wait: longest wait of an interactive call.
        batch_wait: longest wait of a batch call.
        batch_share: the share of freed places that batch calls get while interactive ones wait, 0 to 1.
    """

    concurrency: int = 0
    adaptive: bool = True
    queue: int = 1000
    wait: float = 10.0
    batch_wait: float = 60.0
    batch_share: float = 0.2


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One provider, its row and the configuration merged.

    Attributes:
        name: the part before the slash in ``provider/model``.
        row: what is known of its kind; where a field below repeats one of the row, the field counts.
        dialects: the conversation dialects it speaks, the preferred one first.
        url: base URL without a slash at its end; "" for an embedded provider.
        keys: what it is called with, the first one first; empty where it wants none.
        headers: extra request headers, lower-case names.
        timeouts, retry, breaker, limit: of an attempt at it, where the model says nothing of its own.
        max_tokens_field: the request field that bounds the answer's length.
        stream_usage: whether streams are asked for usage by ``stream_options``.
        max_connections: per worker.
        ca_file: absolute path of a PEM file, or None for the system's authorities.
        proxy: ``"environment"``, ``"none"`` or a URL.
        prices: by the model's name there, ``*`` for any other; stronger than the price table.
        price_table: the id of the provider in the price table, ``"none"``, or None to find it by the URL.
        count_tokens: whether input is bound by a tokenizer where there is one.
    """

    name: str
    row: ProviderRow
    dialects: tuple[str, ...]
    url: str
    keys: tuple[Secret, ...]
    headers: dict[str, str | Secret]
    timeouts: TimeoutSettings
    retry: RetrySettings
    breaker: BreakerSettings
    limit: LimitSettings
    max_tokens_field: str
    stream_usage: bool
    max_connections: int
    ca_file: str | None
    proxy: str
    prices: dict[str, Price] = {}
    price_table: str | None = None
    count_tokens: bool = False


class StepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of a route: a model at a provider.

    Attributes:
        name: ``provider/model``.
        provider, model: its two halves.
        timeouts, retry, breaker, limit: of an attempt at it, everything inherited.
        max_tokens: sent where the caller names none.
        weight: its share among the equals of its group, above 0.
        price: the model's own, stronger than any of the provider's; None where it has none.
    """

    name: str
    provider: str
    model: str
    timeouts: TimeoutSettings
    retry: RetrySettings
    breaker: BreakerSettings
    limit: LimitSettings
    max_tokens: int
    weight: float = 1.0
    price: Price | None = None


class GroupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Equals of a route: deployments of which any may come first. A plain step is a group of one, ``ordered``.

    Attributes:
        steps: at least one, in the order of the file.
        balance: which of them comes first.
        sticky: whether a conversation stays at its deployment while that is well.
    """

    steps: tuple[StepSettings, ...]
    balance: Balance
    sticky: bool


class HedgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A second attempt at the plan's next deployment while the first one is slow."""

    quantile: Annotated[
        float,
        Rule("Of the deployment's own first-content times: one that takes longer is hedged.", low=0.5, high=0.999),
    ] = 0.95
    budget: Annotated[float, Rule("Extra calls that hedging may cost, per call.", low=0.0, high=1.0)] = 0.05
    min_delay: Annotated[float, Rule("No second attempt sooner than this.", unit="seconds", low=0.001, high=3600.0)] = (
        0.05
    )


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers use, and what answers for it.

    Attributes:
        name: what callers write.
        route: groups of equals, tried in this order (at least one); no deployment stands in it twice.
        on: by kind of failure, what is tried next instead of the rest of the route.
        hedge: None where there is no hedging.
        answer: the text that is answered when nothing else is left; "" where the error is.
        max_tokens: sent where the caller names none.
        description: for people.
        price: its own, None where it has none.
    """

    name: str
    route: tuple[GroupSettings, ...]
    on: dict[str, tuple[StepSettings, ...]]
    hedge: HedgeSettings | None
    answer: str
    max_tokens: int
    description: str
    price: Price | None = None


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP face. Times are seconds, sizes bytes."""

    host: Annotated[str, Rule("Address to listen on; beyond loopback a key must exist.", check=check_host)] = (
        "127.0.0.1"
    )
    port: Annotated[int, Rule("Port to listen on; 0 takes a free one.", low=0, high=65535)] = 8484
    workers: Annotated[int, Rule("Worker processes.", low=1, high=256)] = 1
    body_limit: Annotated[int, Rule("Largest request body.", unit="bytes", low=1024, high=1024**3)] = 32 * 1024 * 1024
    header_limit: Annotated[
        int, Rule("Largest request head: names and values together.", unit="bytes", low=1024, high=1024**2)
    ] = 64 * 1024
    header_count: Annotated[int, Rule("Most request headers.", low=8, high=1000)] = 100
    body_seconds: Annotated[
        float, Rule("For a request's body to arrive whole.", unit="seconds", low=0.01, high=3600.0)
    ] = 60.0
    slow_client_seconds: Annotated[
        float,
        Rule("A client that takes nothing of its answer for so long is cut.", unit="seconds", low=0.01, high=3600.0),
    ] = 30.0
    heartbeat_seconds: Annotated[
        float,
        Rule("Silence of a stream after which a comment is sent, and again.", unit="seconds", low=0.01, high=3600.0),
    ] = 15.0
    drain_seconds: Annotated[
        float, Rule("On SIGTERM, for streams to finish.", unit="seconds", low=0.0, high=3600.0)
    ] = 30.0
    trusted_proxies: Annotated[
        list[str],
        Rule(
            "Reverse proxies, by address or network, whose X-Forwarded-For says where a request comes from.",
            check=check_network,
        ),
    ] = []
    metrics: Annotated[
        Literal["loopback", "keys", "all"],
        Rule("Who may read /metrics without a key: programs on this machine, nobody, or anybody."),
    ] = "loopback"
    strict_translation: Annotated[
        bool, Rule("Refuse (400) what another dialect can not express, instead of naming it in a header.")
    ] = False


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How finished records reach the disk (DESIGN §5)."""

    fsync: Annotated[
        Literal["never", "interval", "always"],
        Rule("Against power loss: leave it to the system, sync once a second, or before each answer's end."),
    ] = "interval"
    segment_bytes: Annotated[
        int, Rule("Size at which a journal segment is closed.", unit="bytes", low=64 * 1024, high=1024**3)
    ] = 64 * 1024 * 1024


class DataSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, and where."""

    dir: Annotated[str, Rule("Data directory; a relative one is below the file's folder.", check=check_path)] = (
        DEFAULT_DATA_DIR
    )
    database: Annotated[
        str,
        Rule(
            "A shared Postgres: `env:NAME` or `file:/path` of its URL, or a URL without password. Left out: SQLite.",
            check=check_database,
            secret=True,
        ),
    ] = ""
    retention_days: Annotated[float, Rule("How long records are kept.", unit="days", low=0.01, high=36500)] = 90.0
    payloads: Annotated[
        Literal["none", "redacted", "full"],
        Rule("How requests and answers are kept, for keys that say nothing: not, redacted, or as they came."),
    ] = "none"
    payload_days: Annotated[
        float, Rule("How long requests and answers are kept, at most.", unit="days", low=0.01, high=36500)
    ] = 30.0
    payload_bytes: Annotated[
        int,
        Rule("Room for requests and answers, compressed; the oldest make room. 0 is no bound.", unit="bytes", low=0),
    ] = 10 * 1024**3
    redact: Annotated[
        Literal["recorder", "worker"],
        Rule("Who takes out what is private: the recorder before the database, or each worker before the journal."),
    ] = "recorder"
    journal: Annotated[JournalSettings, Rule("How records reach the disk.")] = JournalSettings()


class DefaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where a provider or model says nothing."""

    timeouts: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    limit: LimitSettings = LimitSettings()
    max_tokens: int = 4096


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, ready to be composed.

    ``file`` is the configuration's absolute path, None where there is none. ``admin_key`` is the key that
    ``HEADGATE_ADMIN_KEY`` (or ``HEADGATE_ADMIN_KEY_FILE``) bootstraps. ``data.dir`` is absolute here, and
    ``store`` is the URL that ``data.database`` stands for, None for SQLite in ``data.dir``.
    """

    providers: dict[str, ProviderSettings]
    models: dict[str, ModelSettings]
    server: ServerSettings
    data: DataSettings
    defaults: DefaultSettings
    admin_key: Secret | None
    file: str | None
    store: Secret | None = None
    estimate: EstimateSettings = EstimateSettings()
    limits: tuple[LimitRule, ...] = ()
    leases: LeaseSettings = LeaseSettings()
    alerts: AlertPlan | None = None
    traces: TracePlan | None = None

    @property
    def database_url(self) -> str | None:
        """The shared database's URL, None for SQLite in the data directory."""
        return None if self.store is None else self.store.reveal()
