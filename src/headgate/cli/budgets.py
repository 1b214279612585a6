"""``headgate budgets``: limits and what is left of them, in the data directory's store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.limits import checked
from headgate.cli.options import Words, common
from headgate.cli.registry import day, open_registry, show_lines, show_table
from headgate.core.price import show_money
from headgate.core.rule import PERIODS, SCOPES, UNITS, show_amount

if TYPE_CHECKING:
    from headgate.stores.budgets import Budget
    from headgate.stores.limits import LimitInfo

_NEGATIVE = re.compile(r"-(?:\.?\d\S*|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table]."
)


@click.group(cls=Words)
def budgets() -> None:
    """Show, set and remove limits: dollars, tokens, requests, calls at once."""


@budgets.command("list")
@common
@click.option("--scope", type=click.Choice(SCOPES), help="Only limits of this scope.")
@click.option("--past", is_flag=True, help="Windows that are over too.")
@_FORM
def list_(config: str | None, data: str | None, scope: str | None, past: bool, form: str) -> None:
    """List limits with what is used, reserved and left of them, the fullest first.

    Limits of the configuration stand here once somebody has used them; see `headgate config explain` for them all.
    """
    from headgate.stores.budgets import with_unused

    with open_registry(config, data) as registry:
        limits = registry.list_limits(scope=scope or "")
        found = with_unused(registry.list_budgets(scope=scope or "", past=past), [info.rule for info in limits])
    # A limit on every member of a kind has no window of its own.
    kinds = [info for info in limits if not info.value and info.scope != "everything"]
    if form == "jsonl":
        show_lines(_plain(budget, limits) for budget in found)
        show_lines({**msgspec.structs.asdict(info), "amount": show_amount(info.unit, info.amount)} for info in kinds)
        return
    rows = [_row(budget, limits) for budget in found]
    rows += [(info.id, info.rule.title, info.rule.shown, "-", "-", "-", "-") for info in kinds]
    show_table(("ID", "LIMIT", "ALLOWS", "USED", "RESERVED", "LEFT", "ENDS"), rows)


def _id(budget: Budget, limits: Sequence[LimitInfo]) -> str | None:
    rule = budget.rule
    what = (rule.scope, rule.value, rule.unit, rule.per, rule.priority)
    same = (info.id for info in limits if what == (info.scope, info.value, info.unit, info.per, info.priority))
    return next(same, None)


def _plain(budget: Budget, limits: Sequence[LimitInfo]) -> dict[str, Any]:
    rule = budget.rule
    amounts = {"amount": rule.amount, "used": budget.used, "reserved": budget.reserved, "left": budget.left}
    return {
        "id": _id(budget, limits),
        "scope": rule.scope,
        "value": rule.value,
        "member": budget.member,
        "unit": rule.unit,
        "per": rule.per,
        "priority": rule.priority,
        **{name: show_amount(rule.unit, amount) for name, amount in amounts.items()},
        "presumed": show_amount(rule.unit, budget.presumed),
        "start_ns": budget.start_ns,
        "end_ns": budget.end_ns,
    }


def _row(budget: Budget, limits: Sequence[LimitInfo]) -> Sequence[str]:
    rule = budget.rule

    def amount(number: int) -> str:
        return show_money(number) if rule.unit == "dollars" else f"{number:,}"

    member = budget.member or ("" if rule.scope == "everything" else "(not named)")
    title = msgspec.structs.replace(rule, value=member).title
    figures = (amount(budget.used), amount(budget.reserved), amount(budget.left))
    return _id(budget, limits) or "-", title, rule.shown, *figures, day(budget.end_ns) if budget.end_ns else "-"


@budgets.command("workers")
@common
@_FORM
def workers(config: str | None, data: str | None, form: str) -> None:
    """List the workers that hold parts of limits, the longest silent first."""
    with open_registry(config, data) as registry:
        found = registry.list_holders()
    if form == "jsonl":
        show_lines(map(msgspec.structs.asdict, found))
        return
    rows = ((one.id, one.owner, day(one.opened_ns), day(one.renewed_ns), str(one.windows)) for one in found)
    show_table(("WORKER", "DATA DIRECTORY", "SINCE", "LAST SEEN", "LIMITS"), rows)


@budgets.command("write-off")
@common
@click.argument("worker")
@click.option("--free", is_flag=True, help="Give back what it had not reported as used, instead of counting it.")
@click.option("--force", is_flag=True, help="Even if it was alive a minute ago.")
def write_off(config: str | None, data: str | None, worker: str, free: bool, force: bool) -> None:
    """End all leases of a WORKER whose machine is gone for good; see `headgate budgets workers`.

    What it held counts as used. With --free only what it had reported does: whatever it did after its last report is
    then counted nowhere.
    """
    with open_registry(config, data) as registry:
        done = registry.write_off(worker, free=free, force=force)
    print(f"wrote off {done.holder}; presumed used: {done.presumed} (nano-dollars, tokens, requests together)")


class _Set(click.Command):
    """Tells a negative amount from an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            if negative := next((arg for arg in given if _NEGATIVE.fullmatch(arg)), None):
                raise click.BadParameter(f"{negative} is less than nothing", ctx, param_hint="AMOUNT") from None
            raise


@budgets.command("set", cls=_Set)
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

    scope, colon, value = whom.partition(":")
    if colon and not value:
        # An empty variable in a script must not become a limit on everybody.
        raise click.BadParameter(f"nobody stands behind the colon; for every {scope} write: {scope}", param_hint="WHOM")
    spec = LimitSpec(
        scope=scope, value=value, amount=amount, unit=unit, per=per or "", priority=priority or "", name=name
    )
    checked(spec, "AMOUNT", ("unit", "per", "priority", "name"))
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
