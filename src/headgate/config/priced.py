"""Plans without a gateway: the steps of a model with their prices, for verbs that only look."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from headgate.config.load import Loaded
from headgate.config.price_book import NO_TABLE, PriceBook
from headgate.config.settings import Settings, StepSettings
from headgate.core.call import Attempt, Deployment, Timeouts
from headgate.core.errors import ConfigError
from headgate.dialects.tokens import encoding_of
from headgate.providers.pricelist import Schedule


def steps_of(settings: Settings, name: str) -> Sequence[StepSettings]:
    """Returns the steps of a configured model, or the one of ``provider/model``; none for an unknown name."""
    model = settings.models.get(name)
    if model is not None:
        return [step for group in model.route for step in group.steps]
    provider, _, at = name.partition("/")
    found = settings.providers.get(provider)
    if found is None or not at or (found.row.models is not None and at not in found.row.models):
        return ()
    return (
        StepSettings(
            name=name,
            provider=provider,
            model=at,
            timeouts=found.timeouts,
            retry=found.retry,
            breaker=found.breaker,
            limit=found.limit,
            max_tokens=settings.defaults.max_tokens,
        ),
    )


def check_tables(loaded: Loaded) -> None:
    """Looks up what providers name as their ``price_table``; the table is read where one does, and only there.

    Raises:
        ConfigError: one names what the table has not; each on a line, with the file's line.
    """
    settings = loaded.settings
    wrong = []
    for name in [one.name for one in settings.providers.values() if one.price_table not in (None, NO_TABLE)]:
        try:
            price_steps(settings, steps_of(settings, f"{name}/any"))
        except ConfigError as error:
            origin = loaded.origins.get(f"providers.{name}.price_table")
            wrong.append(error.message if origin is None else f"{origin.name}: {error.message}")
    if wrong:
        raise ConfigError("\n".join(wrong))


def price_steps(settings: Settings, steps: Sequence[StepSettings]) -> list[Deployment]:
    """Returns a deployment for each step, with its price of this moment. None of them can be called."""
    with contextlib.ExitStack() as stack:
        folder = Path(settings.data.dir)
        if not folder.is_dir():  # who only looks makes no data directory
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-")))
        return _price(settings, steps, PriceBook(folder))


def _price(settings: Settings, steps: Sequence[StepSettings], book: PriceBook) -> list[Deployment]:
    now = time.time()
    made = []
    for step in steps:
        provider = settings.providers[step.provider]
        deployment = Deployment(step.name, step.provider, step.model, _refuse, Timeouts(), step.max_tokens)
        price = book.find(provider, step.model, step.price)
        deployment.price = price.at(now) if isinstance(price, Schedule) else price
        deployment.encoding = encoding_of(step.model, exact=provider.count_tokens)
        made.append(deployment)
    return made


async def _refuse(attempt: Attempt) -> NoReturn:
    raise AssertionError(f"{attempt.deployment.name} is only looked at")
