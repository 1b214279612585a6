"""``headgate spend``: what calls cost, by whom, for what and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from headgate.cli.database import open_records
from headgate.cli.filters import whose_options
from headgate.cli.options import common
from headgate.cli.tables import print_csv, print_json, print_table
from headgate.core.price import show_cost, show_dollars, show_money

if TYPE_CHECKING:
    from headgate.stores.query import Filters
    from headgate.stores.spending import Spend

_NUMBERS = ("CALLS", "OK", "INPUT", "OUTPUT", "CACHED", "COST", "PER OK", "UNPRICED")
_FIELDS = (
    *("calls", "completed", "input_tokens", "output_tokens", "cached_tokens"),
    *("cost_usd", "cost_per_success_usd", "unpriced_calls"),
)


@click.command()
@common
@click.option(
    "--by",
    default="model",
    metavar="GROUP,…",
    help="key, user, team, feature, prompt, model, deployment, provider, day; several with commas [model].",
)
@click.option("--since", metavar="TIME", help="From then on: 1h, 7d, or a date (UTC) [this month].")
@click.option("--until", metavar="TIME", help="Before then.")
@whose_options()
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Output form [table]."
)
def spend(
    config: str | None, data: str | None, by: str, since: str | None, until: str | None, form: str, **plain: Any
) -> None:
    """Show what calls cost. What failed is charged to the answers that came: COST / OK is PER OK."""
    from headgate.stores.period import read_period
    from headgate.stores.query import Filters
    from headgate.stores.spending import SpendStore

    now = time.time_ns()
    since_ns, until_ns = read_period(since, until, now, begin=month_start(now))
    filters = Filters(since_ns=since_ns, until_ns=until_ns, **plain)
    groups = [name.strip() for name in by.split(",") if name.strip()]
    if not groups:
        raise click.BadParameter("name at least one group", param_hint="--by")
    with open_records(config, data) as engine:
        store = SpendStore(engine)
        rows = store.by(groups, filters)
        unpriced = store.unpriced(filters) if any(row.unpriced for row in rows) else []
    if form == "json":
        _print_json(groups, rows, unpriced, filters)
    elif form == "csv":
        print_csv((*groups, *_FIELDS), [(*row.group, *_figures(row).values()) for row in rows])
    else:
        _print_table(groups, rows, filters)
    if form != "json" and unpriced:
        names = ", ".join(f"{name or '(none)'} ({count})" for name, count in unpriced)
        click.echo(f"not in these costs, for want of a price: {names}; see: headgate prices", err=True)


def month_start(now_ns: int) -> int:
    """Returns when the calendar month (UTC) of a moment began, in ns since 1970."""
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


def _known(row: Spend) -> tuple[int | None, int | None]:
    """Cost and cost per answer; None where all that was billed has no price: that is not nothing."""
    return (None, None) if row.unpriced and not row.cost else (row.cost, row.per_success)


def _cells(row: Spend) -> list[str]:
    cost, each = _known(row)
    counts = (row.calls, row.completed, row.input_tokens, row.output_tokens, row.cached_tokens)
    per_success = "-" if each is None else show_money(each, 6)
    unpriced = f"{row.unpriced:,}" if row.unpriced else "-"
    return [*(f"{count:,}" for count in counts), show_cost(cost, 6), per_success, unpriced]


def _total(rows: Sequence[Spend]) -> Spend:
    from headgate.stores.spending import Spend

    total = Spend(())
    for row in rows:
        total.add(row)
    return total


def _figures(row: Spend) -> dict[str, Any]:
    cost, each = _known(row)
    values = (
        *(row.calls, row.completed, row.input_tokens, row.output_tokens, row.cached_tokens),
        *(None if money is None else show_dollars(money) for money in (cost, each)),
        row.unpriced,
    )
    return dict(zip(_FIELDS, values, strict=True))


def _print_table(groups: Sequence[str], rows: Sequence[Spend], filters: Filters) -> None:
    from headgate.cli.story import clean

    click.echo(f"from {moment(filters.since_ns)} to {moment(filters.until_ns)} (UTC)", err=True)
    cells = [(*(clean(value, 40) or "-" for value in row.group), *_cells(row)) for row in rows]
    cells.append(("TOTAL", *[""] * (len(groups) - 1), *_cells(_total(rows))))
    print_table((*(name.upper() for name in groups), *_NUMBERS), cells, frozenset(_NUMBERS))


def _print_json(groups: Sequence[str], rows: Sequence[Spend], unpriced: Any, filters: Filters) -> None:
    found = [{**dict(zip(groups, row.group, strict=True)), **_figures(row)} for row in rows]
    print_json(
        {
            "since": moment(filters.since_ns),
            "until": moment(filters.until_ns),
            "by": groups,
            "rows": found,
            "total": _figures(_total(rows)),
            "unpriced": [{"deployment": name, "calls": count} for name, count in unpriced],
        }
    )


def moment(time_ns: int | None) -> str:
    """Returns a bound in time as reports show it."""
    if time_ns is None:
        return "now"
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="seconds")[:19]
