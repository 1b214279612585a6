"""``headgate feedback``: what people thought of answers, one by one and as a series."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.database import open_records
from headgate.cli.filters import add_options, whose_options
from headgate.cli.options import Words, common
from headgate.cli.tables import print_csv, print_json, print_table
from headgate.core.price import show_cost, show_dollars

if TYPE_CHECKING:
    from headgate.stores.query import Filters
    from headgate.stores.satisfaction import Satisfaction

LIMIT = 50
_NUMBERS = ("FEEDBACK", "SCORE", "BAD", "CALLS", "COST", "LATENCY")


@click.group(cls=Words)
def feedback() -> None:
    """Show what people thought of answers."""


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    return add_options(
        command,
        click.option("--since", metavar="TIME", help="Of calls since then: 1h, 7d, or a date (UTC) [7d]."),
        click.option("--until", metavar="TIME", help="Of calls before then."),
        whose_options("Of"),
    )


@feedback.command("list")
@common
@_filters
@click.option("--label", help="Only with this label.")
@click.option("--below", type=click.FloatRange(0, 1), metavar="SCORE", help="Only with a score below this.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, metavar="N", help=f"At most N [{LIMIT}].")
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table].")
def list_feedback(
    config: str | None,
    data: str | None,
    label: str | None,
    below: float | None,
    limit: int,
    form: str,
    **plain: Any,
) -> None:
    """List feedback, newest first."""
    from headgate.cli.story import clean
    from headgate.stores.satisfaction import FeedbackStore

    with open_records(config, data) as engine:
        rows = FeedbackStore(engine).page(_read(plain), limit, label=label, below=below)
    if form == "jsonl":
        for row in rows:
            print(msgspec.json.encode(row).decode())
        return
    cells = [
        (
            row["time"][:19].replace("T", " "),
            row["call_id"],
            _score(row["score"]),
            clean(row["label"] or "-", 30),
            clean(row["model"], 30),
            clean(row["comment"] or "-", 60),
        )
        for row in rows
    ]
    print_table(("TIME", "CALL", "SCORE", "LABEL", "MODEL", "COMMENT"), cells, frozenset({"SCORE"}))


@feedback.command()
@common
@_filters
@click.option(
    "--by",
    default="day",
    metavar="GROUP,…",
    help="hour, day, key, user, team, feature, prompt, model, deployment, label; several with commas [day].",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Output form [table]."
)
def summary(config: str | None, data: str | None, by: str, form: str, **plain: Any) -> None:
    """Show satisfaction next to cost and (median) latency. Hours and days are those of the calls."""
    from headgate.cli.story import clean
    from headgate.stores.satisfaction import FeedbackStore

    groups = [name.strip() for name in by.split(",") if name.strip()]
    with open_records(config, data) as engine:
        rows = FeedbackStore(engine).series(groups, _read(plain))
    if form == "json":
        print_json({"by": groups, "rows": [_plain(groups, row) for row in rows]})
    elif form == "csv":
        plain_rows = [_plain(groups, row) for row in rows]
        fields = ("feedback", "scored", "score", "bad", "calls", "cost_usd", "latency_seconds")
        print_csv((*groups, *fields), [[row[name] for name in (*groups, *fields)] for row in plain_rows])
    else:
        cells = [(*(clean(value, 40) or "-" for value in row.group), *_cells(row)) for row in rows]
        print_table((*(name.upper() for name in groups), *_NUMBERS), cells, frozenset(_NUMBERS))


def _read(plain: dict[str, Any]) -> Filters:
    from headgate.stores.period import read_period
    from headgate.stores.query import Filters

    since_ns, until_ns = read_period(plain.pop("since") or "7d", plain.pop("until"), time.time_ns())
    return Filters(since_ns=since_ns, until_ns=until_ns, **plain)


def _cells(row: Satisfaction) -> Sequence[str]:
    latency = "-" if row.latency is None else f"{row.latency:.2f} s"
    beside = (f"{row.calls:,}", show_cost(row.cost, 6), latency) if row.calls else ("-", "-", "-")
    return (f"{row.feedback:,}", _score(row.score), f"{row.bad:,}", *beside)


def _plain(groups: Sequence[str], row: Satisfaction) -> dict[str, Any]:
    return {
        **dict(zip(groups, row.group, strict=True)),
        "feedback": row.feedback,
        "scored": row.scored,
        "score": row.score,
        "bad": row.bad,
        "calls": row.calls,
        "cost_usd": None if row.cost is None else show_dollars(row.cost),
        "latency_seconds": row.latency,
    }


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"
