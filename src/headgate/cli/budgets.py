"""``headgate budgets``: limits and what is left of them, in the data directory's store."""

from __future__ import annotations

import click
import msgspec

from headgate.cli.limits import checked
from headgate.cli.options import common
from headgate.cli.registry import day, open_registry, show_lines, show_table
from headgate.core.rule import PERIODS, UNITS, show_amount

_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table]."
)


@click.group()
def budgets() -> None:
    """Show, set and remove limits: dollars, tokens, requests, calls at once."""


@budgets.command("list")
@common
@_FORM
def list_(config: str | None, data: str | None, form: str) -> None:
    """List the limits in the store; those of the configuration are in `headgate config explain`."""
    with open_registry(config, data) as registry:
        found = registry.list_limits()
    if form == "jsonl":
        show_lines({**msgspec.structs.asdict(info), "amount": show_amount(info.unit, info.amount)} for info in found)
        return
    rows = ((info.id, info.rule.title, info.rule.shown, day(info.created_ns)) for info in found)
    show_table(("ID", "LIMIT", "ALLOWS", "SET"), rows)


@budgets.command("set")
@common
@click.argument("whom")
@click.argument("amount")
@click.option("--unit", type=click.Choice(UNITS), default="dollars", help="What is limited [dollars].")
@click.option("--per", type=click.Choice(PERIODS), help="The window, by the calendar (UTC).")
@click.option("--priority", type=click.Choice(["interactive", "batch"]), help="Only calls of this class.")
@click.option("--name", default="", help="What refusals call it.")
def set_(
    config: str | None,
    data: str | None,
    whom: str,
    amount: str,
    unit: str,
    per: str | None,
    priority: str | None,
    name: str,
) -> None:
    """Allow WHOM an AMOUNT: `user:alice 5 --per day`, `user 1 --per day` (every user), `everything 100 --per month`.

    WHOM is key, user, team, feature, model or everything; behind a colon, which one. Workers obey within a second.
    """
    from headgate.stores.allowance import LimitSpec

    scope, _, value = whom.partition(":")
    spec = LimitSpec(
        scope=scope, value=value, amount=amount, unit=unit, per=per or "", priority=priority or "", name=name
    )
    checked(spec, "AMOUNT")
    with open_registry(config, data, create=True, budget=True) as registry:
        info = registry.set_limit(spec)
    print(f"{info.id}: {info.rule.title}: {info.rule.shown}")


@budgets.command("remove")
@common
@click.argument("id")
def remove(config: str | None, data: str | None, id: str) -> None:
    """Remove the limit with this ID (or name); workers know within a second."""
    with open_registry(config, data) as registry:
        info = registry.remove_limit(id)
    print(f"removed {info.id} ({info.rule.title})")
