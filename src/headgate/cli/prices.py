"""``headgate prices``: what deployments cost, and where that is known from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.options import common, overrides
from headgate.cli.tables import print_json, print_table
from headgate.core.errors import UnknownModel

if TYPE_CHECKING:
    from headgate.core.call import Deployment


@click.command()
@common
@click.argument("models", nargs=-1)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output form [table].")
def prices(config: str | None, data: str | None, models: tuple[str, ...], form: str) -> int:
    """List what the deployments of all models, or of these MODELS (or provider/model), cost now.

    Exit code: 0 where all have a price, 1 where one has none.
    """
    from headgate.config.load import load_settings
    from headgate.config.priced import price_steps, steps_of

    settings = load_settings(config, overrides=overrides(data__dir=("--data", data)))
    found: dict[str, list[Deployment]] = {}
    for name in models or settings.models:
        steps = steps_of(settings, name)
        if not steps:
            raise UnknownModel(f"the model {name!r} is not configured", param="models")
        found[name] = price_steps(settings, steps)
    rows = [(name, deployment) for name, deployments in found.items() for deployment in deployments]
    if form == "json":
        print_json({"prices": [_plain(name, deployment) for name, deployment in rows]})
    else:
        _print_table(rows)
    return 1 if any(deployment.price is None for _, deployment in rows) else 0


def _print_table(rows: list[tuple[str, Deployment]]) -> None:
    from headgate.core.price import how_to_price

    cells = []
    for name, deployment in rows:
        price = deployment.price
        shown = ("unpriced: " + how_to_price(deployment.name), "-") if price is None else (price.show(), price.source)
        cells.append((name, deployment.name, *shown))
    print_table(("MODEL", "DEPLOYMENT", "PRICE", "FROM"), cells)


def _plain(name: str, deployment: Deployment) -> dict[str, Any]:
    price = deployment.price
    rates = None if price is None else msgspec.structs.asdict(price.rates)
    source = None if price is None else price.source
    return {"model": name, "deployment": deployment.name, "nano_dollars_per_million": rates, "source": source}
