"""Composes settings into one Handler: the only file that knows every layer (DESIGN §2).

Outer to inner: ``account > auth > decode > quota > degrade > hedge > route > [per deployment: retry > limit > breaker >
charge > timeout > upstream]``. The layers of DESIGN §2 that are not here yet have their place between these; a layer
that is not used is not in the chain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from headgate.config.price_book import PriceBook
from headgate.config.pricing import Pricing
from headgate.config.recording import retention_of, tick_journal
from headgate.config.settings import (
    BreakerSettings,
    LimitSettings,
    ModelSettings,
    ProviderSettings,
    RetrySettings,
    Settings,
    StepSettings,
)
from headgate.config.wiring import make_meter, make_provider, make_timeouts, make_transport, wiring
from headgate.core.call import AttemptHandler, Deployment, Handler, Principal
from headgate.core.clock import Clock, Ids, Random, SystemClock
from headgate.core.ports import Journal, KeyRing, Transport
from headgate.core.terms import Networks
from headgate.core.ticker import Ticker
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.anthropic.count_dialect import AnthropicCount
from headgate.dialects.base import Dialect
from headgate.dialects.embeddings import Embeddings
from headgate.dialects.models import ModelInfo
from headgate.dialects.openai_chat import OpenAIChat
from headgate.dialects.tokens import encoding_of
from headgate.observe.worker import Reporter
from headgate.pipeline.account import Account
from headgate.pipeline.auth import auth
from headgate.pipeline.balance import Group
from headgate.pipeline.breaker import Breaker, breaker
from headgate.pipeline.decode import decode
from headgate.pipeline.degrade import degrade
from headgate.pipeline.health import Health
from headgate.pipeline.hedge import HedgePolicy, hedge
from headgate.pipeline.limit import Limiter, limit
from headgate.pipeline.local_meter import LocalMeter
from headgate.pipeline.meter import Meter
from headgate.pipeline.metering import Metering
from headgate.pipeline.retry import Budget, RetryPolicy, retry
from headgate.pipeline.route import Route, route
from headgate.pipeline.timeout import timeout
from headgate.pipeline.upstream import upstream
from headgate.providers.driver import Driver, Provider
from headgate.providers.keychain import KeyChain
from headgate.stores.data import DataDir
from headgate.stores.keeper import RecorderKeeper
from headgate.transport.dial import tls_context

_Terms = tuple[str, BreakerSettings, LimitSettings, RetrySettings]
_DUTIES = "headgate.observe.duties"
"""What the recorder's process does beside recording."""
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
        deployments: what is known of every deployment at run time, by ``provider/model``.
        dialects: every client dialect by name.
        models: the configured models by name, in order.
        keys, journal, clock, ids, random, loop, keyless: as injected.
        estimate_settings: when estimates warn.
        ticker: the one timer for short waits.
        transports: the connections to each provider, by its name.
        closers: what ``aclose`` closes after the connections, in order.
        data: the data directory, None for a gateway without one.
        proxies: who may tell where a request comes from; None for nobody.
        metering: the limits that hold, and their windows.
        reporter: tells others about this process, None where nobody asks.
        followers: told of new settings by ``renew``; what they raise refuses those.
        created: when the first core of this process was composed, in seconds since 1970.
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
        random: Random | None = None,
        prices: PriceBook | None = None,
        meter: Meter | None = None,
        before: Core | None = None,
    ) -> None:
        """Args:
        settings: what to compose.
        journal: where Records go.
        keys: the virtual keys.
        keyless: whether callers without a key are let in while no key exists.
        clock, ids, random: injected by tests.
        transports: by provider name, instead of real connections (tests).
        prices: what deployments cost; None for configured prices alone.
        meter: keeps the windows of limits; None to keep them in memory.
        before: the core that this one is to follow (see ``renew``).
        """
        self.clock: Clock = clock or SystemClock()
        self.ids = ids or Ids(self.clock)
        self.random = random or Random()
        self.loop = asyncio.get_running_loop()
        self.ticker = Ticker(self.loop)
        self.journal = journal
        self.keys = keys
        self.keyless = keyless
        self.created = int(time.time())
        self.closers: list[Closer] = []
        self.data: DataDir | None = None
        self.followers: list[Callable[[Settings], None]] = []
        self.reporter: Reporter | None = None
        self.transports: dict[str, Transport] = dict(transports or {})
        self._settings = settings
        self._known: dict[_Terms, Health] = {}
        self._chains: dict[str, KeyChain | None] = {}
        self.dialects = every_dialect()
        if before is not None:
            self._take_over(before)
        self.models = {name: self._about(model) for name, model in settings.models.items()}
        self.estimate_settings = settings.estimate
        self.prices = prices or PriceBook(None)
        self._pricing = Pricing(self.prices, self.loop, self.clock)
        self._strict = settings.server.strict_translation
        self.metering = self._meter(meter or LocalMeter(self.clock, settings.server.workers), before)
        self.proxies = Networks(settings.server.trusted_proxies) if settings.server.trusted_proxies else None
        self._providers = {name: self._provider(provider) for name, provider in settings.providers.items()}
        self.deployments: dict[str, Health] = {}
        self._healths: dict[_Terms, Health] = {}
        self._direct: dict[str, Deployment] = {}
        self.account = self._build(keyless)
        self.handler: Handler = self.account
        if before is None:
            keys.watch(self.metering.changed)

    @property
    def settings(self) -> Settings:
        """What it was composed of."""
        return self._settings

    async def aclose(self) -> None:
        """Ends connections, then hands the journal over."""
        self._pricing.close()
        for transport in self.transports.values():
            await transport.aclose()
        for closer in self.closers:
            closer.close()

    def renew(self, settings: Settings) -> Core:
        """Composes new settings beside this running core, for the calls to come; those under way go on with this one.

        Journal, keys, clock, timer, and the connections to providers whose connection settings are the same, are
        shared from then on: of the two only the new core is closed by ``aclose``, of this one only ``dropped``.

        Raises:
            ConfigError: they can not be composed; nothing has changed.
        """
        core = Core(
            settings,
            journal=self.journal,
            keys=self.keys,
            keyless=self.keyless,
            clock=self.clock,
            ids=self.ids,
            random=self.random,
            prices=self.prices,
            meter=self.metering.meter,
            before=self,
        )
        core.account.unauthenticated = self.account.unauthenticated
        if core.reporter is not None:
            core.reporter.core = core
        for follower in self.followers:
            follower(settings)
        self.keys.watch(core.metering.changed)
        # What changed while it was composed has been told to this one only.
        core.metering.changed()
        return core

    def dropped(self, successor: Core) -> list[Transport]:
        """Returns the transports that a core made by ``renew`` has not taken over: to be closed after the last call."""
        self._pricing.close()
        kept = {id(transport) for transport in successor.transports.values()}
        return [transport for transport in self.transports.values() if id(transport) not in kept]

    def _take_over(self, before: Core) -> None:
        """Takes from the core that has run so far what must not begin anew; comes before anything is composed.

        At a provider that is still the same server, that is what is known of its keys, and of each deployment whose
        terms are the same: a breaker stays open, calls under way keep their places.
        """
        self.ticker, self.created = before.ticker, before.created
        self.closers, self.followers, self.data = before.closers, before.followers, before.data
        self.reporter = before.reporter
        self.dialects = before.dialects
        same = set()
        for name, provider in self._settings.providers.items():
            old = before._settings.providers.get(name)
            if old is not None and wiring(old) == wiring(provider):
                self.transports[name] = before.transports[name]
            if old is not None and old.url == provider.url:
                same.add(name)
        self._chains = {name: before._providers[name].keys for name in same}
        self._known = {terms: health for terms, health in before._healths.items() if terms[0].partition("/")[0] in same}

    def plan_of(self, name: str, principal: Principal) -> Sequence[Deployment] | None:
        """Returns the deployments that a caller's request for a model may be tried at; None where it may not be."""
        if principal.models is not None and name not in principal.models:
            return None
        found = self._routes.get(name)
        if found is not None:
            return found.deployments
        direct = self._direct_deployment(name) if principal.direct or self.keys.empty else None
        return None if direct is None else (direct,)

    def _about(self, model: ModelSettings) -> ModelInfo:
        return ModelInfo(model.name, self.created, "headgate", model.description)

    def _meter(self, meter: Meter, before: Core | None) -> Metering:
        leases = self._settings.leases
        return Metering(
            meter,
            self.loop,
            fixed=self._settings.limits,
            stored=lambda: self.keys.rules,
            quantile=leases.reserve,
            received=leases.unreported == "received",
            learned=None if before is None else before.metering.learned,
            prices=self._pricing,
        )

    def _build(self, keyless: bool) -> Account:
        models = self._settings.models
        routes = self._routes = {name: self._route(model) for name, model in models.items()}
        inner = route(routes, self._direct_deployment, self.clock, lambda: not self.keys.empty)
        hedged = {
            name: HedgePolicy(model.hedge.quantile, model.hedge.budget, model.hedge.min_delay)
            for name, model in models.items()
            if model.hedge is not None
        }
        if hedged:
            inner = hedge(inner, hedged, self.ticker)
        answers = {name: model.answer for name, model in models.items() if model.answer}
        if answers:
            inner = degrade(inner, answers)
        account = Account(inner, self.journal, self.clock, self._settings.data.payloads)
        self.metering.enclose(
            inner, lambda handler: auth(decode(handler), self.keys, keyless, self.proxies), account.enclose
        )
        return account

    def _route(self, model: ModelSettings) -> Route:
        # Who is hedged, or chosen by it, has its latency watched.
        watched = model.hedge is not None or any(group.balance == "latency" for group in model.route)
        groups = [
            Group(
                [self._deployment(step, watched=watched) for step in group.steps],
                group.balance,
                sticky=group.sticky,
                random=self.random.random,
            )
            for group in model.route
        ]
        instead = {
            kind: tuple(self._deployment(step, watched=watched) for step in steps) for kind, steps in model.on.items()
        }
        return Route(groups, instead, monotonic=self.clock.monotonic)

    def _deployment(self, step: StepSettings, *, watched: bool = False) -> Deployment:
        """Builds one deployment's own chain of layers around its driver."""
        driver = Driver(self._providers[step.provider], step.model, self.dialects, self._strict)
        health = self._health(step)
        base = timeout(upstream(driver, self.clock), self.ticker)

        def outside(handler: AttemptHandler) -> AttemptHandler:
            handler = breaker(handler, health.breaker, self.clock, health.latency if watched else None)
            if step.limit.adaptive or step.limit.concurrency or watched:
                handler = limit(handler, health.limiter)
            if step.retry.attempts or self._providers[step.provider].keys is not None:
                policy = RetryPolicy(step.retry.attempts, step.retry.base, step.retry.cap, eager=step.retry.eager)
                handler = retry(handler, policy, health.budget, self.clock, self.random.random)
            return handler

        made = Deployment(
            step.name,
            step.provider,
            step.model,
            base,
            make_timeouts(step.timeouts),
            step.max_tokens,
            health=health,
            weight=step.weight,
            encoding=encoding_of(step.model, exact=self._settings.providers[step.provider].count_tokens),
        )
        provider, keep = self._settings.providers[step.provider], len(self._direct) < DIRECT_LIMIT
        self._pricing.set(made, provider, step.price, keep=keep)
        self.metering.choose(made, base, outside, keep=keep)
        return made

    def _health(self, step: StepSettings) -> Health:
        """Returns the state that all models share which have this deployment on the same terms."""
        terms = (step.name, step.breaker, step.limit, step.retry)
        found = self._healths.get(terms)
        if found is None:
            found = self._known.get(terms) or Health(
                Breaker(step.name, random=self.random.random, **msgspec.structs.asdict(step.breaker)),
                Limiter(step.name, self.clock.monotonic, **msgspec.structs.asdict(step.limit)),
                Budget(step.retry.budget),
                adaptive=step.limit.adaptive,
            )
            # Callers can make up any number of names; what is made anew at each call is not kept either.
            if len(self._direct) < DIRECT_LIMIT:
                self._healths[terms] = found
                self.deployments.setdefault(step.name, found)
        return found

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
            retry=provider.retry,
            breaker=provider.breaker,
            limit=provider.limit,
            max_tokens=self._settings.defaults.max_tokens,
        )
        made = self._deployment(step)
        if len(self._direct) < DIRECT_LIMIT:
            self._direct[name] = made
        return made

    def _provider(self, settings: ProviderSettings) -> Provider:
        transport = self.transports.get(settings.name)
        if transport is None:
            transport = self.transports[settings.name] = make_transport(settings)
        return make_provider(settings, transport, self._chains.get(settings.name))


def prepare(settings: Settings) -> None:
    """Does beforehand, on any thread, what is slow about composing settings: reads certificates (20 ms a file).

    Raises:
        ConfigError: a CA file can not be used.
    """
    for provider in settings.providers.values():
        if provider.url.startswith("https:"):
            tls_context(provider.ca_file)


def every_dialect() -> dict[str, Dialect]:
    """Returns every client dialect by name."""
    every: tuple[Dialect, ...] = (OpenAIChat(), Anthropic(), AnthropicCount(), Embeddings())
    return {dialect.name: dialect for dialect in every}


async def open_core(settings: Settings, *, keyless: bool) -> Core:
    """Opens the data directory and composes a gateway over it; starts the recorder where none runs.

    Args:
        settings: what to compose.
        keyless: whether callers without a key are let in while no key exists.

    Raises:
        ConfigError: the data directory or its database can not be used.
        Unavailable: a Postgres does not answer.
    """
    data = DataDir(settings.data.dir, url=settings.database_url)
    keys = data.open_keys(admin_key=_admin_key(settings))
    kept = settings.data
    journal = data.open_journal(fsync=kept.journal.fsync, segment_bytes=kept.journal.segment_bytes)
    keeper = RecorderKeeper(
        data, retention=retention_of(kept), duties=_DUTIES, plan=settings.alerts, traces=settings.traces
    )
    keeper.start()
    ticks = tick_journal(data, journal, kept)
    clock = SystemClock()
    shared = make_meter(settings, data, clock)
    core = Core(
        settings,
        journal=ticks,
        keys=keys,
        keyless=keyless,
        clock=clock,
        prices=PriceBook(data.path),
        meter=None if shared is None else shared[0],
    )
    core.data = data
    core.reporter = Reporter(core, data.path)
    keeper.reports.append(core.reporter.report)
    core.closers += [ticks, *([] if shared is None else [shared[0]]), keys, keeper, core.reporter]

    def follow(settings: Settings) -> None:
        keys.set_admin_key(_admin_key(settings))
        if settings.database_url is not None:
            data.set_url(settings.database_url)
            keys.set_url(settings.database_url)
            if shared is not None:
                shared[1].set_url(settings.database_url)
        if shared is not None:
            shared[0].closed = settings.leases.store_lost == "closed"
        keeper.keep(retention_of(settings.data))
        keeper.alert(settings.alerts)
        keeper.trace(settings.traces)

    core.followers.append(follow)
    return core


def _admin_key(settings: Settings) -> str:
    return settings.admin_key.reveal() if settings.admin_key is not None else ""
