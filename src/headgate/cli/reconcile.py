"""``headgate reconcile``: the ledger beside a provider's own export."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.database import open_records
from headgate.cli.options import common
from headgate.cli.tables import print_csv, print_json, print_table
from headgate.core.errors import BadRequest
from headgate.core.price import show_dollars, show_money

if TYPE_CHECKING:
    from headgate.observe.invoice import Line
    from headgate.observe.reconcile import Row

_SIDES = ("requests", "input", "output", "cached", "cost")
_FIELDS = ("requests", "input_tokens", "output_tokens", "cached_tokens", "cost_usd")
_NUMBERS = ("REQUESTS", "INPUT", "OUTPUT", "COST")


@click.command()
@common
@click.argument("invoice", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@click.option(
    "--provider", metavar="NAME", help="The provider as it is configured here [openai or anthropic, by form]."
)
@click.option("--since", metavar="TIME", help="Only days from then on.")
@click.option("--until", metavar="TIME", help="Only days before then.")
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=NAME", help="day, model, requests, input… is in NAME."
)
@click.option("--alias", "aliases", multiple=True, metavar="OURS=THEIRS", help="A model that has another name there.")
@click.option("--tolerance", type=click.FloatRange(0, 100), default=0.1, help="Per cent that agree all the same [0.1].")
@click.option("--all", "everything", is_flag=True, help="Show what agrees too.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Output form [table]."
)
def reconcile(
    config: str | None,
    data: str | None,
    invoice: pathlib.Path,
    provider: str | None,
    since: str | None,
    until: str | None,
    columns: tuple[str, ...],
    aliases: tuple[str, ...],
    tolerance: float,
    everything: bool,
    form: str,
) -> int:
    """Compare the ledger with a provider's usage or cost export (CSV), by day and model.

    Exit code: 0 where both agree, 1 where they do not.
    """
    from headgate.observe.invoice import FIELDS, read_invoice
    from headgate.observe.reconcile import read_ledger
    from headgate.observe.reconcile import reconcile as compare
    from headgate.stores.query import Filters, parse_time
    from headgate.stores.spending import SpendStore

    renamed = _pairs(aliases, "--alias")
    try:
        text = invoice.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest(f"{invoice} is not UTF-8 text", code="unreadable_invoice") from None
    read = read_invoice(text, _pairs(columns, "--column", FIELDS))
    name = provider or read.provider
    if not name:
        raise BadRequest("whose export is it? name the provider as it is configured: --provider NAME", param="provider")
    now = time.time_ns()
    lines = _within(read.lines, since and parse_time(since, now), until and parse_time(until, now))
    if not lines:
        raise BadRequest(f"{invoice} has no line in this period", code="unreadable_invoice")
    days = sorted(line.day for line in lines)
    filters = Filters(since_ns=parse_time(days[0], now), until_ns=parse_time(days[-1], now) + 86_400 * 10**9)
    with open_records(config, data) as engine:
        ledger = read_ledger(SpendStore(engine), name, filters)
    rows = compare(lines, ledger, tolerance=tolerance, aliases=renamed)
    _show(form, [row for row in rows if everything or row.state != "agrees"])
    differing = sum(row.state != "agrees" for row in rows)
    if form == "table":
        period = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        print(f"{name}, {period}: {len(rows)} days and models, {differing} differ")
    return 1 if differing else 0


def _within(lines: Sequence[Line], since: int | str | None, until: int | str | None) -> list[Line]:
    from headgate.stores.query import parse_time

    return [
        line
        for line in lines
        if (not since or parse_time(line.day, 0) >= int(since)) and (not until or parse_time(line.day, 0) < int(until))
    ]


def _pairs(texts: Sequence[str], option: str, allowed: Sequence[str] | None = None) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or (allowed is not None and name not in allowed):
            wanted = "NAME=VALUE" if allowed is None else f"FIELD=NAME, with a field of {', '.join(allowed)}"
            raise click.BadParameter(f"{text!r}: write {wanted}", param_hint=option)
        pairs[name] = value
    return pairs


def _show(form: str, rows: Sequence[Row]) -> None:
    if form == "json":
        print_json({"rows": [_plain(row) for row in rows]})
    elif form == "csv":
        columns = [f"{side}_{name}" for name in _FIELDS for side in ("invoice", "ledger")]
        cells = []
        for row in rows:
            sides = [_side(row.invoice), _side(row.ledger)]
            figures = [side.get(name) for name in _FIELDS for side in sides]
            cells.append((row.day, row.model, row.state, *figures, "; ".join(row.reasons)))
        print_csv(("day", "model", "state", *columns, "reasons"), cells)
    elif rows:
        _print_table(rows)


def _print_table(rows: Sequence[Row]) -> None:
    from headgate.cli.story import clean

    cells = []
    for row in rows:
        for side, line in (("invoice", row.invoice), ("ledger", row.ledger)):
            counts = ["-" if line is None or value is None else f"{value:,}" for value in _counts(line)]
            cost = "-" if line is None or line.cost is None else show_money(line.cost, 6)
            first = (row.day, clean(row.model, 40), row.state) if side == "invoice" else ("", "", "")
            cells.append((*first, side, *counts, cost))
    print_table(("DAY", "MODEL", "STATE", "SIDE", *_NUMBERS), cells, frozenset(_NUMBERS))
    for row in rows:
        for reason in row.reasons:
            print(f"{row.day} {clean(row.model, 40)}: {reason}")


def _counts(line: Line | None) -> list[int | None]:
    return [None, None, None] if line is None else [line.requests, line.input, line.output]


def _side(line: Line | None) -> dict[str, Any]:
    if line is None:
        return {}
    values = [getattr(line, name) for name in _SIDES[:-1]]
    return dict(zip(_FIELDS, [*values, None if line.cost is None else show_dollars(line.cost)], strict=True))


def _plain(row: Row) -> dict[str, Any]:
    sides = {"invoice": _side(row.invoice) or None, "ledger": _side(row.ledger) or None}
    return {**msgspec.structs.asdict(row), **sides}
