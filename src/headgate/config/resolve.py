"""Fills in what the file leaves open: provider rows, discovered keys, defaults; and checks how names fit together."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.config.alert_plan import read_alerts
from headgate.config.checks import is_reference
from headgate.config.keyhole import Keyhole
from headgate.config.ledger import Ledger, Origin
from headgate.config.limits import read_limits
from headgate.config.nodes import Node, join
from headgate.config.plans import Plans
from headgate.config.prices import read_prices
from headgate.config.reader import Reader, fields, nearest
from headgate.config.schema import Config, ModelConfig, ProviderConfig, StepConfig
from headgate.config.settings import (
    DefaultSettings,
    ProviderSettings,
    Settings,
)
from headgate.config.traces import read_traces
from headgate.core.errors import ConfigError
from headgate.providers.discovery import discover, find_key
from headgate.providers.rows import GENERIC, ROWS, ProviderRow
from headgate.providers.secret import Secret
from headgate.stores import postgres

FIRST_MODEL = "sim/echo"
"""The model that answers on a machine where nothing is configured."""


def find_database(written: str, environ: Mapping[str, str], base: pathlib.Path) -> Secret:
    """Returns the URL that ``data.database`` stands for.

    Raises:
        ConfigError: what it names is not there, or is no Postgres URL.
    """
    if not is_reference(written):
        return Secret("data.database", written)
    secret = Secret.resolve(written, environ, base)
    wrong = postgres.check_url(secret.reveal())
    if wrong:
        raise ConfigError(f"what {secret.reference} holds can not be used: {wrong}")
    return secret


class Resolver:
    """Makes Settings of what was written. Everything wrong is told to the ledger."""

    def __init__(self, written: Config, ledger: Ledger, keyhole: Keyhole) -> None:
        self._written = written
        self._ledger = ledger
        self._keyhole = keyhole
        self._base = keyhole.base
        self._environ = keyhole.environ
        self._overrides: dict[str, dict[str, Any]] = {"server": {}, "data": {}}

    def override(self, path: str, name: str, value: Any, *, environment: bool = False) -> None:
        """Sets ``server.X`` or ``data.X`` from an option or a variable; None and "" mean it was not given."""
        if value is None or value == "":
            return
        section, _, field = path.partition(".")
        struct: type[msgspec.Struct] = type(getattr(self._written, section))
        hint, rule = fields(struct)[field]
        before = len(self._ledger.problems)
        read = Reader(self._ledger.problems).value(Node(0, value), hint, rule, name)
        if len(self._ledger.problems) == before:
            self._overrides[section][field] = read
            self._ledger.origins[path] = Origin("environment" if environment else "command line", name)

    def settings(self, file: str | None) -> Settings:
        """Returns the settings, to be used only if no problem was told."""
        written = self._written
        policies = self._ledger.inherit(written.defaults, DefaultSettings(), "defaults", "")
        defaults = DefaultSettings(max_tokens=written.defaults.max_tokens, **policies)
        providers = self._providers(defaults)
        plans = Plans(self._ledger, providers, written.providers, defaults)
        models = {name: plans.model(name, model) for name, model in written.models.items()}
        if not models:
            models = {FIRST_MODEL: plans.model(FIRST_MODEL, ModelConfig(route=[StepConfig(use=FIRST_MODEL)]))}
        server = msgspec.structs.replace(written.server, **self._overrides["server"])
        data = msgspec.structs.replace(written.data, **self._overrides["data"])
        base = (
            pathlib.Path() if "dir" in self._overrides["data"] or "data.dir" not in self._ledger.origins else self._base
        )
        data = msgspec.structs.replace(data, dir=str((base / data.dir).absolute()))
        if written.leases.store == "memory" and server.workers > 1:
            self._ledger.tell(
                "leases.store",
                f"memory is one worker's own: with {server.workers} workers each limit would hold "
                f"{server.workers} times; use `database`, or one worker",
            )
        limits = read_limits(written.limits, models, self._ledger)
        return Settings(
            providers=providers,
            models=models,
            server=server,
            data=data,
            defaults=defaults,
            admin_key=self._admin_key(),
            file=file,
            store=self._database(data.database),
            estimate=written.estimate,
            limits=limits,
            leases=written.leases,
            alerts=read_alerts(
                written.alerts, self._ledger, self._keyhole, limits, leased=written.leases.store == "database"
            ),
            traces=read_traces(written.traces, self._ledger, self._keyhole, providers),
        )

    # providers

    def _providers(self, defaults: DefaultSettings) -> dict[str, ProviderSettings]:
        providers = {}
        for name, written in self._written.providers.items():
            provider = self._provider(name, written, defaults)
            if provider is not None:
                providers[name] = provider
        for name, (variable, _) in discover(self._environ).items():
            if name not in self._written.providers:
                self._ledger.origins[f"providers.{name}"] = Origin("environment", variable)
                provider = self._provider(name, ProviderConfig(), defaults)
                if provider is not None:
                    providers[name] = provider
        if "sim" not in self._written.providers:
            provider = self._provider("sim", ProviderConfig(), defaults)
            if provider is not None:
                providers["sim"] = provider
        return providers

    def _provider(self, name: str, written: ProviderConfig, defaults: DefaultSettings) -> ProviderSettings | None:
        path = join("providers", name)
        row = self._row(name, written, path)
        if row is None:
            return None
        url = self._url(row, written, path)
        if url is None:
            return None
        field = written.max_tokens_field or row.max_tokens_field
        if row.dialects == ("anthropic",) and field != "max_tokens":
            self._ledger.tell(f"{path}.max_tokens_field", "the anthropic dialect has max_tokens only")
        for field_name in ("dialect", "url", "max_tokens_field", "stream_usage"):
            self._ledger.origins.setdefault(f"{path}.{field_name}", Origin("provider row", row.name))
        return ProviderSettings(
            name=name,
            row=row,
            dialects=row.dialects,
            url=url,
            keys=self._keys(row, written, path),
            headers=self._headers(written, path),
            max_tokens_field=field,
            stream_usage=row.stream_usage if written.stream_usage is None else written.stream_usage,
            max_connections=written.max_connections,
            ca_file=self._ca_file(written, path),
            proxy=written.proxy,
            prices=read_prices(written.prices, f"{path}.prices", self._ledger.tell_more),
            price_table=written.price_table,
            count_tokens=written.count_tokens,
            **self._ledger.inherit(written, defaults, path, "defaults"),
        )

    def _row(self, name: str, written: ProviderConfig, path: str) -> ProviderRow | None:
        if self._ledger.known_bad(f"{path}.type") or self._ledger.known_bad(f"{path}.dialect"):
            return None
        kind = written.type or (name if name in ROWS and written.dialect is None else None)
        if kind is None and written.dialect is None:
            if not self._ledger.known_bad(path):
                hint = nearest(name, ROWS, "types")
                self._ledger.tell(path, f'wants a `type`, or a `dialect` with a `url`; "{name}" is no known type{hint}')
            return None
        row = ROWS[kind] if kind is not None else GENERIC[written.dialect or ""]
        if written.dialect is not None and written.dialect not in row.dialects:
            self._ledger.tell(
                f"{path}.dialect", f"type {row.name} speaks {row.dialects[0]}; leave `type` out to use another dialect"
            )
            return None
        if name == "sim" and not row.embedded:
            self._ledger.tell(path, 'the name "sim" belongs to the embedded simulator; choose another')
            return None
        if written.type is None:
            self._ledger.origins.setdefault(f"{path}.type", Origin("provider row", row.name))
        return row

    def _url(self, row: ProviderRow, written: ProviderConfig, path: str) -> str | None:
        if row.embedded:
            for field in ("url", "key", "keys", "headers", "max_connections", "ca_file", "proxy"):
                if f"{path}.{field}" in self._ledger.lines:
                    hint = "; for a `headgate sim` use `dialect` and `url`" if field == "url" else ""
                    self._ledger.tell(f"{path}.{field}", f"the embedded simulator has no {field}{hint}")
            return ""
        url = written.url or row.url
        if not url:
            if not self._ledger.known_bad(f"{path}.url"):
                self._ledger.tell(path, "has no `url`: write its base URL, e.g. http://127.0.0.1:9000/v1")
            return None
        return url.rstrip("/")

    def _keys(self, row: ProviderRow, written: ProviderConfig, path: str) -> tuple[Secret, ...]:
        below = f"{path}.keys"
        if below not in self._ledger.lines:
            key = self._key(row, written, path)
            return () if key is None else (key,)
        if f"{path}.key" in self._ledger.lines:
            self._ledger.tell(below, "stands beside `key`: write one of the two")
        if not written.keys and not self._ledger.known_bad(below):
            self._ledger.tell(below, "is empty: list at least one `env:NAME` or `file:/path`, or write `key: none`")
        keys: dict[str, Secret] = {}
        for index, reference in enumerate(written.keys):
            if reference in keys:
                self._ledger.tell(f"{below}[{index}]", f"{reference} stands in this list already")
            secret = self._secret(reference, f"{below}[{index}]") if reference else None
            if secret is not None:
                keys[reference] = secret
        return tuple(keys.values())

    def _key(self, row: ProviderRow, written: ProviderConfig, path: str) -> Secret | None:
        path = f"{path}.key"
        if written.key == "none" or self._ledger.known_bad(path):
            return None
        if written.key is not None:
            return self._secret(written.key, path)
        if not row.key_env:
            return None
        names = " or ".join(f"{name} (or {name}_FILE)" for name in row.key_env)
        if written.url is not None and written.url.rstrip("/") != row.url:
            self._ledger.tell(path, f"{names} belongs to {row.url}; at another URL name the key, or write `key: none`")
            return None
        found = find_key(row, self._environ)
        if found is None:
            if row.key_required and self._keyhole.placeholders:
                return self._keyhole.stand_in(f"env:{row.key_env[0]}")
            if row.key_required:
                self._ledger.tell(
                    path, f"no key for {row.title}: set {names}, or write `key: env:NAME` or `key: file:/path`"
                )
            return None
        self._ledger.origins[path] = Origin("environment", found[0])
        return self._secret(found[1], path)

    def _secret(self, reference: str, path: str) -> Secret | None:
        try:
            return self._keyhole.find(reference)
        except ConfigError as error:
            message = error.message
            if reference.startswith("env:") and reference[4:] not in self._environ:
                message += self._near_variable(reference[4:])
            self._ledger.tell(path, message)
            return None

    def _near_variable(self, name: str) -> str:
        hint = nearest(name, self._environ, "")
        return hint if "did you mean" in hint else ""

    def _headers(self, written: ProviderConfig, path: str) -> dict[str, str | Secret]:
        headers: dict[str, str | Secret] = {}
        for name, text in written.headers.items():
            below = join(f"{path}.headers", name)
            if name.lower() in headers:
                self._ledger.tell(below, "the same header twice (case does not count)")
            elif text.startswith(("env:", "file:")):
                secret = self._secret(text, below)
                if secret is not None:
                    headers[name.lower()] = secret
            else:
                headers[name.lower()] = text
        return headers

    def _ca_file(self, written: ProviderConfig, path: str) -> str | None:
        if written.ca_file is None:
            return None
        file = (self._base / written.ca_file).absolute()
        try:
            if b"-----BEGIN CERTIFICATE-----" not in file.read_bytes():
                self._ledger.tell(f"{path}.ca_file", f"no PEM certificate in {file}")
        except OSError as error:
            self._ledger.tell(f"{path}.ca_file", f"can not read file {file}: {error.strerror}")
        return str(file)

    def _database(self, written: str) -> Secret | None:
        if not written or self._ledger.known_bad("data.database"):
            return None
        try:
            return find_database(written, self._environ, self._base)
        except ConfigError as error:
            self._ledger.tell("data.database", error.message)
            return None

    def _admin_key(self) -> Secret | None:
        for name, scheme in (("HEADGATE_ADMIN_KEY", "env"), ("HEADGATE_ADMIN_KEY_FILE", "file")):
            text = self._environ.get(name, "").strip()
            if text:
                self._ledger.origins["admin_key"] = Origin("environment", name)
                return self._secret(f"env:{name}" if scheme == "env" else f"file:{text}", name)
        return None
