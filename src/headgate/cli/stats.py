"""``headgate stats``: how many calls there were, how they went, how long they took, what they used."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from headgate.cli.database import open_records
from headgate.cli.filters import whose_options
from headgate.cli.options import common
from headgate.cli.spend import moment
from headgate.cli.tables import print_csv, print_json, print_table
from headgate.core.price import show_money

if TYPE_CHECKING:
    from headgate.observe.summary import Quantiles, Summary
    from headgate.stores.query import Filters
    from headgate.stores.stats import Group

_COLUMNS = ("CALLS", "FAILED", "P50", "P95", "P99", "FIRST P50", "FIRST P95", "TOKENS/S", "INPUT", "OUTPUT", "COST")
_DAY_NS = 86_400 * 10**9


@click.command()
@common
@click.option(
    "--by",
    default="model",
    metavar="GROUP",
    help="key, user, team, feature, prompt, model, deployment, provider or arm [model].",
)
@click.option("--order", default="calls", help="calls, cost, failed, input_tokens or output_tokens [calls].")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="Most groups [20].")
@click.option("--since", metavar="TIME", help="From then on: 1h, 7d, or a date (UTC) [24h].")
@click.option("--until", metavar="TIME", help="Before then.")
@whose_options(deployment="calls that this deployment answered.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Output form [table]."
)
def stats(
    config: str | None,
    data: str | None,
    by: str,
    order: str,
    limit: int,
    since: str | None,
    until: str | None,
    form: str,
    **plain: Any,
) -> None:
    """Show how calls went: errors, latency, first content, speed, tokens, cost."""
    from headgate.stores.period import read_period
    from headgate.stores.query import Filters
    from headgate.stores.stats import StatsStore

    now = time.time_ns()
    since_ns, until_ns = read_period(since, until, now, begin=now - _DAY_NS)
    filters = Filters(since_ns=since_ns, until_ns=until_ns, **plain)
    with open_records(config, data) as engine:
        store = StatsStore(engine)
        groups = store.top(by, filters, limit, order)
        total = store.total(filters)
    from headgate.observe.summary import summarize

    rows = [(group, summarize(group.figures)) for group in groups]
    if form == "json":
        _print_json(by, rows, summarize(total), filters)
    elif form == "csv":
        _print_csv(by, rows)
    else:
        _print_table(by, rows, summarize(total), total.cost, filters)


def _print_table(by: str, rows: Sequence[tuple[Group, Summary]], total: Summary, cost: int, filters: Filters) -> None:
    from headgate.cli.story import clean

    click.echo(f"from {moment(filters.since_ns)} to {moment(filters.until_ns)} (UTC)", err=True)
    cells = [[clean(group.label, 40) or "-", *_cells(summary, group.figures.cost)] for group, summary in rows]
    cells.append(["TOTAL", *_cells(total, cost)])
    print_table((by.upper(), *_COLUMNS), cells, frozenset(_COLUMNS))
    for title, counts in (("ERROR", total.errors), ("FINISH", total.finishes), ("CACHE", total.caches)):
        if counts:
            print()
            _print_counts(title, counts, total.calls)


def _print_counts(title: str, counts: Mapping[str, int], calls: int) -> None:
    rows = [(name, f"{count:,}", f"{count / calls:.2%}") for name, count in counts.items()]
    print_table((title, "CALLS", "SHARE"), rows, frozenset({"CALLS", "SHARE"}))


def _cells(summary: Summary, cost: int) -> list[str]:
    latency, first, speed = summary.latency_ms, summary.first_content_ms, summary.tokens_per_second
    return [
        f"{summary.calls:,}",
        "-" if summary.error_rate is None else f"{summary.error_rate:.2%}",
        *(_span(value) for value in (latency.p50, latency.p95, latency.p99, first.p50, first.p95)),
        "-" if speed.p50 is None else f"{speed.p50:.4g}",
        f"{summary.input_tokens:,}",
        f"{summary.output_tokens:,}",
        show_money(cost, 4),
    ]


def _span(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms"


def _print_json(by: str, rows: Sequence[tuple[Group, Summary]], total: Summary, filters: Filters) -> None:
    print_json(
        {
            "since": moment(filters.since_ns),
            "until": moment(filters.until_ns),
            "by": by,
            "rows": [{"value": group.value, "label": group.label, **_plain(summary)} for group, summary in rows],
            "total": _plain(total),
        }
    )


def _print_csv(by: str, rows: Sequence[tuple[Group, Summary]]) -> None:
    """Counts by name are left out: they have no fixed columns."""
    flat = [(group.value, _flat(summary)) for group, summary in rows]
    names = list(flat[0][1]) if flat else []
    print_csv((by, *names), [(value, *row.values()) for value, row in flat])


def _flat(summary: Summary) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _plain(summary).items():
        if isinstance(value, dict) and "p50" in value:
            found.update({f"{name}_{part}": number for part, number in value.items() if part != "count"})
        elif not isinstance(value, dict):
            found[name] = value
    return found


def _plain(part: Summary | Quantiles) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(part)
    return plain
