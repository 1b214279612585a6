"""The settings as the rest of Headgate sees them: frozen, typed, checked, every blank filled in."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headgate.config.checks import check_host, check_path
from headgate.config.prices import EstimateSettings
from headgate.config.rule import Rule
from headgate.core.price import Price
from headgate.providers.rows import ProviderRow
from headgate.providers.secret import Secret

DEFAULT_DATA_DIR = "./headgate-data"


class TimeoutSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The five bounds in time of an attempt, in seconds (DESIGN §7)."""

    connect: float = 5.0
    headers: float = 60.0
    first_content: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One provider, its row and the configuration merged.

    Attributes:
        name: the part before the slash in ``provider/model``.
        row: what is known of its kind; where a field below repeats one of the row, the field counts.
        dialects: the conversation dialects it speaks, the preferred one first.
        url: base URL without a slash at its end; "" for an embedded provider.
        key: None where it wants none.
        headers: extra request headers, lower-case names.
        timeouts: bounds in time of an attempt at it, where the model says nothing of its own.
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
    key: Secret | None
    headers: dict[str, str | Secret]
    timeouts: TimeoutSettings
    max_tokens_field: str
    stream_usage: bool
    max_connections: int
    ca_file: str | None
    proxy: str
    prices: dict[str, Price] = {}
    price_table: str | None = None
    count_tokens: bool = False


class StepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a route: a model at a provider. ``name`` is ``provider/model``; ``max_tokens`` is sent
    where the caller names none; ``price`` is the model's own, stronger than any of the provider's."""

    name: str
    provider: str
    model: str
    timeouts: TimeoutSettings
    max_tokens: int
    price: Price | None = None


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers use, and its steps in order (at least one); ``price`` is its own, if it has one."""

    name: str
    route: tuple[StepSettings, ...]
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
    retention_days: Annotated[float, Rule("How long records are kept.", unit="days", low=0.01, high=36500)] = 90.0
    payloads: Annotated[
        Literal["none", "full"], Rule("Whether requests and answers are kept, for keys that say nothing.")
    ] = "none"
    journal: Annotated[JournalSettings, Rule("How records reach the disk.")] = JournalSettings()


class DefaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where a provider or model says nothing."""

    timeouts: TimeoutSettings
    max_tokens: int


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, ready to be composed.

    ``file`` is the configuration's absolute path, None where there is none. ``admin_key`` is the key that
    ``HEADGATE_ADMIN_KEY`` (or ``HEADGATE_ADMIN_KEY_FILE``) bootstraps. ``data.dir`` is absolute here.
    """

    providers: dict[str, ProviderSettings]
    models: dict[str, ModelSettings]
    server: ServerSettings
    data: DataSettings
    defaults: DefaultSettings
    admin_key: Secret | None
    file: str | None
    estimate: EstimateSettings = EstimateSettings()
