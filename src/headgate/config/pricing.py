"""Pricing: keeps the prices of deployments those of the moment, while the table's dates and hours pass."""

from __future__ import annotations

import asyncio

from headgate.config.price_book import PriceBook
from headgate.config.settings import ProviderSettings
from headgate.core.call import Deployment
from headgate.core.clock import Clock
from headgate.core.price import Price
from headgate.providers.pricelist import Schedule

_LOOK_AGAIN = 3600.0
"""Seconds after which prices are looked at in any case: clocks are set."""


class Pricing:
    """Sets ``Deployment.price``, at once and whenever it changes."""

    def __init__(self, book: PriceBook, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._book = book
        self._loop = loop
        self._clock = clock
        self._changing: list[tuple[Deployment, Schedule]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")
        self._assuming = False
        self._unpriced: list[tuple[Deployment, ProviderSettings]] = []

    def prepare(self) -> None:
        """Reads what ``assume`` will need, on any thread."""
        for deployment, provider in self._unpriced:
            self._book.assume(provider, deployment.model)

    def assume(self) -> None:
        """A budget holds: models without a price get the one that ``PriceBook.assume`` knows, from now on."""
        self._assuming = True
        unpriced, self._unpriced = self._unpriced, []
        for deployment, provider in unpriced:
            self.set(deployment, provider, None)

    def set(self, deployment: Deployment, provider: ProviderSettings, own: Price | None, *, keep: bool = True) -> None:
        """Gives a deployment its price.

        Args:
            deployment: which one.
            provider: where it is.
            own: the price that its model has in the configuration.
            keep: whether it lives on, so that its price must be kept up to date.

        Raises:
            ConfigError: as ``PriceBook.find``.
        """
        found = self._book.find(provider, deployment.model, own)
        if found is None and self._assuming:
            found = self._book.assume(provider, deployment.model)
        elif found is None and keep:
            self._unpriced.append((deployment, provider))
        if not isinstance(found, Schedule):
            deployment.price = found
            return
        now = self._now()
        deployment.price = found.at(now)
        change = found.next_change(now)
        if keep and change != float("inf"):
            self._changing.append((deployment, found))
            self._wait(change)

    def close(self) -> None:
        """Ends the watch."""
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> float:
        return self._clock.time_ns() / 1e9

    def _wait(self, due: float) -> None:
        if due < self._due:
            self.close()
            self._due = due
            delay = min(max(0.0, due - self._now()), _LOOK_AGAIN)
            self._timer = self._loop.call_later(delay, self._refresh)

    def _refresh(self) -> None:
        now = self._now()
        self._due = float("inf")
        for deployment, schedule in self._changing:
            deployment.price = schedule.at(now)
        self._wait(min(schedule.next_change(now) for _, schedule in self._changing))
