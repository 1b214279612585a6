"""Composes settings into one Handler: the only file that knows every layer (DESIGN §2).

Outer to inner: ``account > auth > decode > route > [per deployment: timeout > upstream]``. The layers of
DESIGN §2 that are not here yet have their place between these; a layer that is not used is not in the chain.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from headgate.config.price_book import PriceBook
from headgate.config.pricing import Pricing
from headgate.config.settings import ProviderSettings, Settings, StepSettings, TimeoutSettings
from headgate.core.call import Deployment, Handler, Principal, Timeouts
from headgate.core.clock import Clock, Ids, SystemClock
from headgate.core.ports import Journal, KeyRing, Transport
from headgate.core.ticker import Ticker
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.anthropic.count_dialect import AnthropicCount
from headgate.dialects.base import Dialect
from headgate.dialects.embeddings import Embeddings
from headgate.dialects.models import ModelInfo
from headgate.dialects.openai_chat import OpenAIChat
from headgate.dialects.tokens import encoding_of
from headgate.pipeline.account import Account
from headgate.pipeline.auth import auth
from headgate.pipeline.decode import decode
from headgate.pipeline.route import route
from headgate.pipeline.timeout import timeout
from headgate.pipeline.upstream import upstream
from headgate.providers.driver import AllowList, Driver, Provider
from headgate.stores.data import DataDir
from headgate.stores.journal.ticks import TickJournal
from headgate.stores.keeper import RecorderKeeper
from headgate.transport.local import LocalApp, LocalTransport
from headgate.transport.origin import Origin
from headgate.transport.pool import Pool
from headgate.transport.proxy import Proxies, Proxy

USER_AGENT = "headgate/0.1"
DIRECT_LIMIT = 1000
"""Deployments kept for ``provider/model`` addressing; more are made anew at each call."""


class Closer(Protocol):
    """Whatever has to be closed with the core."""

    def close(self) -> None:
        """Closes it."""


class Core:
    """A composed gateway: its Handler, and what serves beside it.

    Attributes:
        handler: the whole onion.
        account: its outermost layer, with its counters.
        dialects: every client dialect by name.
        models: the configured models by name, in order.
        keys, journal, clock, ids, loop: as injected.
        estimate_settings: when estimates warn.
        ticker: the one timer for short waits.
        closers: what ``aclose`` closes after the connections, in order.
        created: when it was composed, in seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        journal: Journal,
        keys: KeyRing,
        keyless: bool,
        clock: Clock | None = None,
        ids: Ids | None = None,
        transports: Mapping[str, Transport] | None = None,
        prices: PriceBook | None = None,
    ) -> None:
        """Args:
        settings: what to compose.
        journal: where Records go.
        keys: the virtual keys.
        keyless: whether callers without a key are let in while no key exists.
        clock, ids: injected by tests.
        transports: by provider name, instead of real connections (tests).
        prices: what deployments cost; None for configured prices alone.
        """
        self.clock: Clock = clock or SystemClock()
        self.ids = ids or Ids(self.clock)
        self.loop = asyncio.get_running_loop()
        self.ticker = Ticker(self.loop)
        self.journal = journal
        self.keys = keys
        self.created = int(time.time())
        self.models = {
            name: ModelInfo(name, self.created, "headgate", model.description)
            for name, model in settings.models.items()
        }
        self.dialects: dict[str, Dialect] = {
            dialect.name: dialect for dialect in (OpenAIChat(), Anthropic(), AnthropicCount(), Embeddings())
        }
        self.estimate_settings = settings.estimate
        self._strict = settings.server.strict_translation
        self._pricing = Pricing(prices or PriceBook(None), self.loop, self.clock)
        self._transports: list[Transport] = []
        self.closers: list[Closer] = []
        self._providers = {
            name: self._provider(provider, (transports or {}).get(name))
            for name, provider in settings.providers.items()
        }
        self._settings = settings
        self._direct: dict[str, Deployment] = {}
        self.account = self._build(keyless)
        self.handler: Handler = self.account

    async def aclose(self) -> None:
        """Ends connections, then hands the journal over."""
        self._pricing.close()
        for transport in self._transports:
            await transport.aclose()
        for closer in self.closers:
            closer.close()

    def plan_of(self, name: str, principal: Principal) -> Sequence[Deployment] | None:
        """Returns the deployments that a caller's request for a model would be tried at; None where it may not be."""
        if principal.models is not None and name not in principal.models:
            return None
        found = self._plans.get(name)
        if found is not None or not (principal.direct or self.keys.empty):
            return found
        direct = self._direct_deployment(name)
        return None if direct is None else (direct,)

    def _build(self, keyless: bool) -> Account:
        plans = self._plans = {
            name: tuple(self._deployment(step) for step in model.route) for name, model in self._settings.models.items()
        }
        inner = route(plans, self._direct_deployment, self.clock, lambda: not self.keys.empty)
        inner = decode(inner)
        inner = auth(inner, self.keys, keyless)
        return Account(inner, self.journal, self.clock, self._settings.data.payloads)

    def _deployment(self, step: StepSettings) -> Deployment:
        driver = Driver(self._providers[step.provider], step.model, self.dialects, self._strict)
        handler = timeout(upstream(driver, self.clock), self.ticker)
        made = Deployment(step.name, step.provider, step.model, handler, _timeouts(step.timeouts), step.max_tokens)
        provider = self._settings.providers[step.provider]
        made.encoding = encoding_of(step.model, exact=provider.count_tokens)
        self._pricing.set(made, provider, step.price, keep=len(self._direct) < DIRECT_LIMIT)
        return made

    def _direct_deployment(self, name: str) -> Deployment | None:
        """Makes the deployment for ``provider/model``; None where there is no such provider or model."""
        found = self._direct.get(name)
        if found is not None:
            return found
        provider_name, _, model = name.partition("/")
        provider = self._settings.providers.get(provider_name)
        if provider is None or not model or (provider.row.models is not None and model not in provider.row.models):
            return None
        step = StepSettings(
            name=name,
            provider=provider_name,
            model=model,
            timeouts=provider.timeouts,
            max_tokens=self._settings.defaults.max_tokens,
        )
        made = self._deployment(step)
        if len(self._direct) < DIRECT_LIMIT:
            self._direct[name] = made
        return made

    def _provider(self, settings: ProviderSettings, transport: Transport | None) -> Provider:
        if transport is None:
            transport = _transport(settings)
        self._transports.append(transport)
        row = settings.row
        base = settings.url.partition("://")[2].partition("/")[2]
        prefix = "/v1" if row.embedded else f"/{base}" if base else ""
        overridable = {name.encode() for name in row.static_headers} & row.request_headers
        lines = {name.encode(): f"{name}: {value}\r\n".encode("latin-1") for name, value in row.static_headers.items()}
        return Provider(
            settings.name,
            transport,
            {name: f"{prefix}{path}".encode() for name, path in row.endpoints.items()},
            _headers(settings) + b"".join(line for name, line in lines.items() if name not in overridable),
            defaults={name: line for name, line in lines.items() if name in overridable},
            request_headers=sorted(row.request_headers),
            response_headers=AllowList(row.response_headers, row.response_prefixes),
            max_tokens_field=settings.max_tokens_field,
            stream_usage=settings.stream_usage,
        )


def _headers(settings: ProviderSettings) -> bytes:
    lines = {"content-type": "application/json", "accept": "*/*", "user-agent": USER_AGENT}
    for name, value in settings.headers.items():
        lines[name] = value if isinstance(value, str) else value.reveal()
    if settings.key is not None:
        lines[settings.row.auth_header] = settings.row.auth_prefix + settings.key.reveal()
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")


def _timeouts(settings: TimeoutSettings) -> Timeouts:
    return Timeouts(settings.connect, settings.headers, settings.first_content, settings.idle, settings.total)


def _transport(settings: ProviderSettings) -> Transport:
    if settings.row.embedded:
        from headgate.sim.local import SimApp

        return LocalTransport(cast(LocalApp, SimApp()))
    origin = Origin.parse(settings.url)
    if settings.proxy == "none":
        proxy = None
    elif settings.proxy == "environment":
        proxy = Proxies.from_environment(os.environ).find(origin)
    else:
        proxy = Proxy.parse(settings.proxy)
    return Pool(origin, ca_file=settings.ca_file, proxy=proxy, max_connections=settings.max_connections)


async def open_core(settings: Settings, *, keyless: bool) -> Core:
    """Opens the data directory and composes a gateway over it; starts the recorder where none runs.

    Args:
        settings: what to compose.
        keyless: whether callers without a key are let in while no key exists.

    Raises:
        ConfigError: the data directory or its database can not be used.
    """
    data = DataDir(settings.data.dir)
    admin_key = settings.admin_key.reveal() if settings.admin_key is not None else ""
    keys = data.open_keys(admin_key=admin_key)
    kept = settings.data
    journal = data.open_journal(fsync=kept.journal.fsync, segment_bytes=kept.journal.segment_bytes)
    keeper = RecorderKeeper(data, retention_days=kept.retention_days)
    keeper.start()
    ticks = TickJournal(journal, asyncio.get_running_loop())
    core = Core(settings, journal=ticks, keys=keys, keyless=keyless, prices=PriceBook(data.path))
    core.closers += [ticks, keys, keeper]
    return core
