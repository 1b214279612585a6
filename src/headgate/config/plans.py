"""Makes each model's plan of what was written: groups of deployments in order, and where each kind of failure leads."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from headgate.config.ledger import Ledger
from headgate.config.nodes import join
from headgate.config.prices import read_price
from headgate.config.reader import nearest
from headgate.config.schema import GroupConfig, ModelConfig, StepConfig
from headgate.config.settings import DefaultSettings, GroupSettings, ModelSettings, ProviderSettings, StepSettings
from headgate.core.errors import ConfigError
from headgate.core.price import Price
from headgate.providers.rows import ROWS


class Plans:
    """Knows the providers; turns one ModelConfig after another into settings."""

    def __init__(
        self, ledger: Ledger, providers: dict[str, ProviderSettings], named: Iterable[str], defaults: DefaultSettings
    ) -> None:
        """Args:
        ledger: takes problems and origins.
        providers: those that are right, by name.
        named: every provider in the file, right or wrong.
        defaults: the ``defaults`` section.
        """
        self._ledger = ledger
        self._providers = providers
        self._named = frozenset(named)
        self._defaults = defaults

    def model(self, name: str, written: ModelConfig) -> ModelSettings:
        """Returns one model's settings; what is wrong is left out and told."""
        ledger, path = self._ledger, join("models", name)
        if not written.route and not ledger.known_bad(path):
            ledger.tell(path, "has no `route`: list at least one provider/model")
        if written.max_tokens is None and "defaults.max_tokens" in ledger.origins:
            ledger.origins[f"{path}.max_tokens"] = ledger.origins["defaults.max_tokens"]
        price = read_price(written.price, f"{path}.price", self._ledger.tell_more)
        return ModelSettings(
            name=name,
            route=self._route(written, path, price),
            on={kind: self._on(kind, texts, written, path) for kind, texts in written.on.items()},
            hedge=written.hedge,
            answer=written.answer.strip(),
            max_tokens=written.max_tokens or self._defaults.max_tokens,
            description=written.description,
            price=price,
        )

    def _route(self, written: ModelConfig, path: str, price: Price | None) -> tuple[GroupSettings, ...]:
        groups = []
        seen: set[str] = set()
        for index, item in enumerate(written.route):
            below = f"{path}.route[{index}]"
            if isinstance(item, StepConfig):
                group = GroupConfig(of=[item], balance="ordered")
                members = [(item, below)]
            else:
                group = item
                members = [(step, f"{below}.of[{place}]") for place, step in enumerate(item.of)]
                if not members and not self._ledger.known_bad(below):
                    self._ledger.tell(below, "is a group without deployments: list at least one in `of`")
            steps = self._steps(members, written, path, seen, "route", price)
            if steps:
                groups.append(GroupSettings(steps=steps, balance=group.balance, sticky=group.sticky))
        return tuple(groups)

    def _on(self, kind: str, texts: list[str], written: ModelConfig, path: str) -> tuple[StepSettings, ...]:
        below = f"{path}.on.{kind}"
        if not texts and not self._ledger.known_bad(below):
            self._ledger.tell(below, "is empty: list at least one provider/model, or leave the kind out")
        members = [(StepConfig(use=text), f"{below}[{index}]") for index, text in enumerate(texts)]
        return self._steps(members, written, path, set(), "list")

    def _steps(
        self,
        members: list[tuple[StepConfig, str]],
        written: ModelConfig,
        path: str,
        seen: set[str],
        noun: str,
        price: Price | None = None,
    ) -> tuple[StepSettings, ...]:
        """Makes the deployments at the given paths; one whose name is ``seen`` already is told."""
        steps = []
        for item, below in members:
            where = f"{below}.use" if f"{below}.use" in self._ledger.lines else below
            if not item.use:
                if not self._ledger.known_bad(below):
                    self._ledger.tell(below, "has no `use`: write provider/model")
                continue
            provider = self._target(item.use, where)
            if provider is None:
                continue
            if item.use in seen:
                self._ledger.tell(where, f"{item.use} stands in this {noun} already")
            seen.add(item.use)
            steps.append(
                StepSettings(
                    name=item.use,
                    provider=provider.name,
                    model=item.use.partition("/")[2],
                    max_tokens=written.max_tokens or self._defaults.max_tokens,
                    weight=item.weight,
                    price=price,
                    **self._ledger.inherit(written, provider, below, join("providers", provider.name), path),
                )
            )
        return tuple(steps)

    def _target(self, text: str, path: str) -> ProviderSettings | None:
        name, slash, model = text.partition("/")
        if not slash or not name or not model or not model.isprintable() or " " in text:
            hint = "" if slash else f"; providers: {', '.join(sorted(self._providers))}"
            self._ledger.tell(path, f'expected provider/model, found "{text[:80]}"{hint}')
            return None
        provider = self._providers.get(name)
        if provider is None:
            if name not in self._named:
                self._ledger.tell(path, f'unknown provider "{name[:80]}"{self._near_provider(name)}')
            return None
        known = provider.row.models
        if known is not None and model not in known:
            self._ledger.tell(path, f'unknown model "{model[:80]}" at {name}{nearest(model, known, "it has")}')
            return None
        if provider.row.embedded and ("+" in model or model.startswith("fail-")):
            from headgate.sim.engine import read_model  # only routes that name a fault pay for this import

            try:
                read_model(model)
            except ConfigError as error:
                self._ledger.tell(path, error.message)
                return None
        return provider

    def _near_provider(self, name: str) -> str:
        row = ROWS.get(name)
        if row is not None and row.key_env:
            return f"; set {row.key_env[0]}, or describe it under `providers`"
        return nearest(name, itertools.chain(self._providers, self._named), "providers")
