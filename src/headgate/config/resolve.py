"""Fills in what the file leaves open: provider rows, discovered keys, defaults; and checks how names fit together."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headgate.config.nodes import Node, Problem, join
from headgate.config.prices import read_price, read_prices
from headgate.config.reader import Reader, fields, nearest
from headgate.config.schema import Config, ModelConfig, ProviderConfig, TimeoutsConfig
from headgate.config.settings import (
    DefaultSettings,
    ModelSettings,
    ProviderSettings,
    Settings,
    StepSettings,
    TimeoutSettings,
)
from headgate.core.errors import ConfigError
from headgate.providers.discovery import discover, find_key
from headgate.providers.rows import GENERIC, ROWS, ProviderRow
from headgate.providers.secret import Secret

FIRST_MODEL = "sim/echo"
"""The model that answers on a machine where nothing is configured."""


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from: ``kind``, and which file and line, variable, option or row."""

    kind: Literal["file", "environment", "command line", "provider row", "defaults section"]
    name: str


class Resolver:
    """Makes Settings of what was written. Everything wrong is told to the reader's problems."""

    def __init__(
        self, written: Config, reader: Reader, source: str, base: pathlib.Path, environ: Mapping[str, str]
    ) -> None:
        self._written = written
        self._reader = reader
        self._base = base
        self._environ = environ
        self._overrides: dict[str, dict[str, Any]] = {"server": {}, "data": {}}
        self.origins = {path: Origin("file", f"{source}:{line}") for path, line in reader.lines.items()}

    def override(self, path: str, name: str, value: Any, *, environment: bool = False) -> None:
        """Sets ``server.X`` or ``data.X`` from an option or a variable; None and "" mean it was not given."""
        if value is None or value == "":
            return
        section, _, field = path.partition(".")
        struct: type[msgspec.Struct] = type(getattr(self._written, section))
        hint, rule = fields(struct)[field]
        before = len(self._reader.problems)
        read = Reader(self._reader.problems).value(Node(0, value), hint, rule, name)
        if len(self._reader.problems) == before:
            self._overrides[section][field] = read
            self.origins[path] = Origin("environment" if environment else "command line", name)

    def settings(self, file: str | None) -> Settings:
        """Returns the settings, to be used only if no problem was told."""
        written = self._written
        defaults = DefaultSettings(
            timeouts=self._timeouts(written.defaults.timeouts, TimeoutSettings(), "defaults.timeouts", ""),
            max_tokens=written.defaults.max_tokens,
        )
        providers = self._providers(defaults)
        models = {name: self._model(name, model, providers, defaults) for name, model in written.models.items()}
        if not models:
            models = {FIRST_MODEL: self._model(FIRST_MODEL, ModelConfig(route=[FIRST_MODEL]), providers, defaults)}
        server = msgspec.structs.replace(written.server, **self._overrides["server"])
        data = msgspec.structs.replace(written.data, **self._overrides["data"])
        base = pathlib.Path() if "dir" in self._overrides["data"] or "data.dir" not in self.origins else self._base
        data = msgspec.structs.replace(data, dir=str((base / data.dir).absolute()))
        return Settings(
            providers=providers,
            models=models,
            server=server,
            data=data,
            defaults=defaults,
            admin_key=self._admin_key(),
            file=file,
            estimate=written.estimate,
        )

    def _tell(self, path: str, message: str) -> None:
        line = self._reader.lines.get(path, 0)
        above = path
        while not line and ("." in above or "[" in above):
            above = above[: max(above.rfind("."), above.rfind("["))]
            line = self._reader.lines.get(above, 0)
        self._reader.problems.append(Problem(line, path, message))

    def _known_bad(self, path: str) -> bool:
        """Whether a problem with this path, or below it, is told already."""
        below = (f"{path}.", f"{path}[")
        return any(problem.path == path or problem.path.startswith(below) for problem in self._reader.problems)

    def _tell_more(self, path: str, message: str) -> None:
        if not self._known_bad(path):
            self._tell(path, message)

    # providers

    def _providers(self, defaults: DefaultSettings) -> dict[str, ProviderSettings]:
        providers = {}
        for name, written in self._written.providers.items():
            provider = self._provider(name, written, defaults)
            if provider is not None:
                providers[name] = provider
        for name, (variable, _) in discover(self._environ).items():
            if name not in self._written.providers:
                self.origins[f"providers.{name}"] = Origin("environment", variable)
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
            self._tell(f"{path}.max_tokens_field", "the anthropic dialect has max_tokens only")
        for field_name in ("dialect", "url", "max_tokens_field", "stream_usage"):
            self.origins.setdefault(f"{path}.{field_name}", Origin("provider row", row.name))
        return ProviderSettings(
            name=name,
            row=row,
            dialects=row.dialects,
            url=url,
            key=self._key(row, written, path),
            headers=self._headers(written, path),
            timeouts=self._timeouts(written.timeouts, defaults.timeouts, f"{path}.timeouts", "defaults.timeouts"),
            max_tokens_field=field,
            stream_usage=row.stream_usage if written.stream_usage is None else written.stream_usage,
            max_connections=written.max_connections,
            ca_file=self._ca_file(written, path),
            proxy=written.proxy,
            prices=read_prices(written.prices, f"{path}.prices", self._tell_more),
            price_table=written.price_table,
            count_tokens=written.count_tokens,
        )

    def _row(self, name: str, written: ProviderConfig, path: str) -> ProviderRow | None:
        if self._known_bad(f"{path}.type") or self._known_bad(f"{path}.dialect"):
            return None
        kind = written.type or (name if name in ROWS and written.dialect is None else None)
        if kind is None and written.dialect is None:
            if not self._known_bad(path):
                hint = nearest(name, ROWS, "types")
                self._tell(path, f'wants a `type`, or a `dialect` with a `url`; "{name}" is no known type{hint}')
            return None
        row = ROWS[kind] if kind is not None else GENERIC[written.dialect or ""]
        if written.dialect is not None and written.dialect not in row.dialects:
            self._tell(
                f"{path}.dialect", f"type {row.name} speaks {row.dialects[0]}; leave `type` out to use another dialect"
            )
            return None
        if name == "sim" and not row.embedded:
            self._tell(path, 'the name "sim" belongs to the embedded simulator; choose another')
            return None
        if written.type is None:
            self.origins.setdefault(f"{path}.type", Origin("provider row", row.name))
        return row

    def _url(self, row: ProviderRow, written: ProviderConfig, path: str) -> str | None:
        if row.embedded:
            for field in ("url", "key", "headers", "max_connections", "ca_file", "proxy"):
                if f"{path}.{field}" in self._reader.lines:
                    hint = "; for a `headgate sim` use `dialect` and `url`" if field == "url" else ""
                    self._tell(f"{path}.{field}", f"the embedded simulator has no {field}{hint}")
            return ""
        url = written.url or row.url
        if not url:
            if not self._known_bad(f"{path}.url"):
                self._tell(path, "has no `url`: write its base URL, e.g. http://127.0.0.1:9000/v1")
            return None
        return url.rstrip("/")

    def _key(self, row: ProviderRow, written: ProviderConfig, path: str) -> Secret | None:
        path = f"{path}.key"
        if written.key == "none" or self._known_bad(path):
            return None
        if written.key is not None:
            return self._secret(written.key, path)
        if not row.key_env:
            return None
        names = " or ".join(f"{name} (or {name}_FILE)" for name in row.key_env)
        if written.url is not None and written.url.rstrip("/") != row.url:
            self._tell(path, f"{names} belongs to {row.url}; at another URL name the key, or write `key: none`")
            return None
        found = find_key(row, self._environ)
        if found is None:
            if row.key_required:
                self._tell(path, f"no key for {row.title}: set {names}, or write `key: env:NAME` or `key: file:/path`")
            return None
        self.origins[path] = Origin("environment", found[0])
        return self._secret(found[1], path)

    def _secret(self, reference: str, path: str) -> Secret | None:
        try:
            return Secret.resolve(reference, self._environ, self._base)
        except ConfigError as error:
            message = error.message
            if reference.startswith("env:") and reference[4:] not in self._environ:
                message += self._near_variable(reference[4:])
            self._tell(path, message)
            return None

    def _near_variable(self, name: str) -> str:
        hint = nearest(name, self._environ, "")
        return hint if "did you mean" in hint else ""

    def _headers(self, written: ProviderConfig, path: str) -> dict[str, str | Secret]:
        headers: dict[str, str | Secret] = {}
        for name, text in written.headers.items():
            below = join(f"{path}.headers", name)
            if name.lower() in headers:
                self._tell(below, "the same header twice (case does not count)")
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
                self._tell(f"{path}.ca_file", f"no PEM certificate in {file}")
        except OSError as error:
            self._tell(f"{path}.ca_file", f"can not read file {file}: {error.strerror}")
        return str(file)

    def _admin_key(self) -> Secret | None:
        for name, scheme in (("HEADGATE_ADMIN_KEY", "env"), ("HEADGATE_ADMIN_KEY_FILE", "file")):
            text = self._environ.get(name, "").strip()
            if text:
                self.origins["admin_key"] = Origin("environment", name)
                return self._secret(f"env:{name}" if scheme == "env" else f"file:{text}", name)
        return None

    # models

    def _timeouts(
        self, written: TimeoutsConfig, wider: TimeoutSettings, path: str, above: str, own: str = ""
    ) -> TimeoutSettings:
        """Lays what was written at ``own`` (else ``path``) over the wider ones; notes where each is from."""
        values = {}
        for name, value in msgspec.structs.asdict(written).items():
            if value is not None:
                values[name] = value
            origin = self.origins.get(f"{above if value is None else own or path}.{name}")
            if origin is not None:
                self.origins[f"{path}.{name}"] = origin
        return msgspec.structs.replace(wider, **values)

    def _model(
        self, name: str, written: ModelConfig, providers: dict[str, ProviderSettings], defaults: DefaultSettings
    ) -> ModelSettings:
        path = join("models", name)
        if not written.route and not self._known_bad(path):
            self._tell(path, "has no `route`: list at least one provider/model")
        max_tokens = written.max_tokens or defaults.max_tokens
        if written.max_tokens is None and "defaults.max_tokens" in self.origins:
            self.origins[f"{path}.max_tokens"] = self.origins["defaults.max_tokens"]
        price = read_price(written.price, f"{path}.price", self._tell_more)
        steps: list[StepSettings] = []
        for index, text in enumerate(written.route):
            below = f"{path}.route[{index}]"
            provider = self._target(text, below, providers) if text else None
            if provider is None:
                continue
            if any(step.name == text for step in steps):
                self._tell(below, f"{text} stands in this route already")
            above = join("providers", provider.name) + ".timeouts"
            timeouts = self._timeouts(
                written.timeouts, provider.timeouts, f"{below}.timeouts", above, f"{path}.timeouts"
            )
            model = text.partition("/")[2]
            steps.append(
                StepSettings(
                    name=text,
                    provider=provider.name,
                    model=model,
                    timeouts=timeouts,
                    max_tokens=max_tokens,
                    price=price,
                )
            )
        return ModelSettings(
            name=name, route=tuple(steps), max_tokens=max_tokens, description=written.description, price=price
        )

    def _target(self, text: str, path: str, providers: dict[str, ProviderSettings]) -> ProviderSettings | None:
        name, slash, model = text.partition("/")
        if not slash or not name or not model or not model.isprintable() or " " in text:
            hint = "" if slash else f"; providers: {', '.join(sorted(providers))}"
            self._tell(path, f'expected provider/model, found "{text[:80]}"{hint}')
            return None
        provider = providers.get(name)
        if provider is None:
            if name not in self._written.providers:
                self._tell(path, f'unknown provider "{name[:80]}"{self._near_provider(text, providers)}')
            return None
        known = provider.row.models
        if known is not None and model not in known:
            self._tell(path, f'unknown model "{model[:80]}" at {name}{nearest(model, known, "it has")}')
            return None
        if provider.row.embedded and ("+" in model or model.startswith("fail-")):
            from headgate.sim.engine import read_model  # only routes that name a fault pay for this import

            try:
                read_model(model)
            except ConfigError as error:
                self._tell(path, error.message)
                return None
        return provider

    def _near_provider(self, text: str, providers: dict[str, ProviderSettings]) -> str:
        name = text.partition("/")[0]
        row = ROWS.get(name)
        if row is not None and row.key_env:
            return f"; set {row.key_env[0]}, or describe it under `providers`"
        return nearest(name, {*providers, *self._written.providers}, "providers")
