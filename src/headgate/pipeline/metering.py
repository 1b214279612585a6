"""Metering: the limits that hold now, and the layers that keep them, put into the chains only while there are any."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from headgate.core.call import AttemptHandler, Deployment, Handler
from headgate.core.rule import LimitRule
from headgate.pipeline.charge import charge
from headgate.pipeline.learned import Learned
from headgate.pipeline.meter import Meter
from headgate.pipeline.quota import quota
from headgate.pipeline.rulebook import Rulebook

_PATIENCE = 2.0
"""Seconds that a thread waits for the loop to take new limits."""


class Prices(Protocol):
    """Knows prices that only a budget asks for (``config.pricing``)."""

    def prepare(self) -> None:
        """Reads what ``assume`` will need, on any thread."""

    def assume(self) -> None:
        """Gives deployments those prices, from now on."""


class Metering:
    """One gateway's.

    Attributes:
        on: whether any limit exists.
        meter: keeps the windows.
        learned: what is known of each deployment's bounds, by its name.
    """

    def __init__(
        self,
        meter: Meter,
        loop: asyncio.AbstractEventLoop,
        *,
        fixed: Sequence[LimitRule] = (),
        stored: Callable[[], Sequence[LimitRule]] = tuple,
        quantile: float = 1.0,
        received: bool = False,
        learned: dict[str, Learned] | None = None,
        prices: Prices | None = None,
    ) -> None:
        """Args:
        meter: keeps the windows.
        loop: the one that everything here belongs to.
        fixed: the limits of the configuration.
        stored: returns those of the store, as they are now.
        quantile: see ``Learned``.
        received: see ``charge``.
        learned: what a gateway before this one has learned.
        prices: is told once a budget needs every price that can be had.
        """
        self.meter = meter
        self.learned: dict[str, Learned] = learned if learned is not None else {}
        self._loop = loop
        self._thread = threading.get_ident()
        self._fixed = tuple(fixed)
        self._stored = stored
        self._quantile = quantile
        self._received = received
        self._handlers: list[tuple[Deployment, AttemptHandler, AttemptHandler]] = []
        self._through: Callable[[Handler], None] | None = None
        self._around: Callable[[Handler], Handler] = _same
        self._inner: Handler | None = None
        self.rules: tuple[LimitRule, ...] = (*self._fixed, *stored())
        self.on = bool(self.rules)
        self._prices = prices
        if prices is not None and _has_money(self.rules):
            prices.assume()

    def changed(self) -> None:
        """The stored limits are others: from here on they hold. Any thread may call it, and waits until they do."""
        if threading.get_ident() == self._thread:
            self._renew()
            return
        done = threading.Event()
        if self._prices is not None and _has_money(self._stored()):
            self._prices.prepare()

        def take() -> None:
            self._renew()
            done.set()

        try:
            self._loop.call_soon_threadsafe(take)
        except RuntimeError:
            return  # the loop is closed: nobody calls any more
        done.wait(_PATIENCE)

    def enclose(self, inner: Handler, around: Callable[[Handler], Handler], through: Callable[[Handler], None]) -> None:
        """Puts the layer ``quota`` between two parts of the onion while there are limits.

        Args:
            inner: what is inside it.
            around: builds what is outside it.
            through: takes the whole, again whenever that changes.
        """
        self._inner, self._around, self._through = inner, around, through
        self._link()

    def choose(
        self,
        deployment: Deployment,
        base: AttemptHandler,
        outside: Callable[[AttemptHandler], AttemptHandler],
        *,
        keep: bool,
    ) -> None:
        """Gives a deployment its chain, with the layer ``charge`` in it while there are limits.

        Args:
            deployment: which one.
            base: what is inside that layer.
            outside: builds what is outside it.
            keep: whether the deployment lives on, and its chain must follow.
        """
        learned = self.learned.get(deployment.name)
        if learned is None or learned.quantile != self._quantile:
            learned = Learned(deployment.name, self._quantile)
            if keep:
                self.learned[deployment.name] = learned
        bare = outside(base)
        charged = outside(charge(base, self.meter, learned, received=self._received))
        deployment.handler = charged if self.on else bare
        if keep:
            self._handlers.append((deployment, bare, charged))

    def _renew(self) -> None:
        rules = (*self._fixed, *self._stored())
        if rules == self.rules:
            return
        self.rules = rules
        self.on = bool(rules)
        if self._prices is not None and _has_money(rules):
            self._prices.assume()
        for deployment, bare, charged in self._handlers:
            deployment.handler = charged if self.on else bare
        self._link()

    def _link(self) -> None:
        if self._inner is None or self._through is None:
            return
        inner = quota(self._inner, Rulebook(self.rules, self.meter.open), self.meter) if self.on else self._inner
        self._through(self._around(inner))


def _has_money(rules: Sequence[LimitRule]) -> bool:
    return any(rule.unit == "dollars" for rule in rules)


def _same(handler: Handler) -> Handler:
    return handler
