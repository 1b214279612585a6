"""``headgate alerts``: what is wrong now, what was told to whom; silences; and a try of the receivers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.options import Words, common, open_data
from headgate.cli.registry import actor, day, open_registry, show_lines, show_table
from headgate.core.errors import BadRequest, ConfigError

if TYPE_CHECKING:
    from headgate.core.alert import AlertPlan, AlertState

_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table]."
)


@click.group(cls=Words)
def alerts() -> None:
    """Show, silence and try out alerts."""


@alerts.command("list")
@common
@_FORM
def list_alerts(config: str | None, data: str | None, form: str) -> None:
    """List the rules, what is wrong now, and what is silenced."""
    from headgate.cli.registry import open_store
    from headgate.stores.alerts import AlertStore

    plan = _plan(config, data)
    with open_store(config, data) as engine:
        store = AlertStore(engine)
        states, silences = store.states(), store.silences(time.time_ns())
    if form == "jsonl":
        show_lines({"state": msgspec.to_builtins(state)} for state in states)
        show_lines({"silence": msgspec.to_builtins(silence)} for silence in silences)
        return
    wrong = {state.rule for state in states}
    calm = [rule.name for rule in plan.rules if rule.name not in wrong] if plan is not None else []
    rows = [_row(plan, state) for state in states] + [(name, "", "ok", "", "", "") for name in calm]
    show_table(("RULE", "SUBJECT", "STATE", "SINCE", "VALUE", "BOUND"), rows)
    for one in silences:
        what = " ".join(filter(None, (one.rule or "everything", one.subject)))
        print(f"silenced until {day(one.until_ns)}: {what} ({one.id}, by {one.actor}) {one.reason}".rstrip())


@alerts.command()
@common
@_FORM
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="How many [20].")
@click.option("--rule", help="Only this rule's.")
def history(config: str | None, data: str | None, form: str, limit: int, rule: str | None) -> None:
    """List what was told, newest first, and whether it arrived."""
    from headgate.cli.registry import open_store
    from headgate.observe.alerts.message import read_message
    from headgate.stores.outbox import Outbox

    with open_store(config, data) as engine:
        past = Outbox(engine).history(limit, rule=rule)
    if form == "jsonl":
        show_lines(
            {**msgspec.to_builtins(read_message(one.message)), "told": msgspec.to_builtins(one.told)} for one in past
        )
        return
    rows = []
    for one in past:
        told = ", ".join(f"{to.receiver} {to.state}{f' ({to.error})' if to.error else ''}" for to in one.told)
        rows.append((day(one.event.time_ns), read_message(one.message).summary, told))
    show_table(("TIME", "WHAT", "TOLD"), rows)


@alerts.command()
@common
@click.argument("rule", default="")
@click.option("--everything", is_flag=True, help="All rules.")
@click.option("--subject", default="", help="Only this model, key id, user, … of the rule.")
@click.option("--until", default="1h", metavar="TIME", help="For how long (2h, 3d), or until when (2027-01-31) [1h].")
@click.option("--reason", default="", help="Why; for the others, and the audit log.")
def silence(
    config: str | None, data: str | None, rule: str, everything: bool, subject: str, until: str, reason: str
) -> None:
    """Tell nobody of this RULE's alerts for a while. What still is wrong afterwards is told then."""
    if bool(rule) == everything:
        raise click.UsageError("name one rule, or say --everything")
    plan = _plan(config, data)
    with open_registry(config, data) as registry:
        made = registry.silence(plan, rule, subject, until, reason)
    print(f"silenced {rule or 'everything'} until {day(made.until_ns)}: {made.id}")


@alerts.command()
@common
@click.argument("rule_or_id")
def unsilence(config: str | None, data: str | None, rule_or_id: str) -> None:
    """End a silence by its id, or all of a rule by RULE's name."""
    with open_registry(config, data) as registry:
        ended = registry.unsilence(rule_or_id)
    print(f"ended {', '.join(one.id for one in ended)}")


@alerts.command()
@common
@click.argument("rule", default="")
@click.option("--receiver", "only", multiple=True, help="Only this receiver; repeatable.")
def test(config: str | None, data: str | None, rule: str, only: tuple[str, ...]) -> int:
    """Send a test to the receivers of RULE, or to all, once; exit code 1 if any does not take it."""
    from headgate.cli.registry import open_store
    from headgate.observe.alerts.courier import deliver
    from headgate.observe.alerts.message import render, trial_of
    from headgate.stores.alert_silences import unknown_rule
    from headgate.stores.outbox import Outbox

    plan = _plan(config, data)
    if plan is None:
        raise ConfigError("no alerts are configured: write `alerts` with at least one rule")
    try:
        tried, event = trial_of(plan, rule, time.time_ns())
    except KeyError:
        raise unknown_rule(plan, rule) from None
    unknown = [name for name in only if name not in tried.receivers]
    if unknown:
        raise BadRequest(f"{unknown[0]!r} is none of its receivers: {', '.join(tried.receivers)}", param="receiver")
    told = {receiver.name: receiver for receiver in plan.receivers if receiver.name in (only or tried.receivers)}
    failed = 0
    with open_store(config, data, create=True) as engine:
        outbox = Outbox(engine)
        for delivery in outbox.announce(event, render(tried, event), list(told), time.time_ns()):
            wrong = deliver(outbox, told[delivery.receiver], delivery, time.time_ns, once=True)
            print(f"{delivery.receiver}: {wrong or 'delivered'}")
            failed += bool(wrong)
    print(f"test {event.id} by {actor()}")
    return 1 if failed else 0


def _plan(config: str | None, data: str | None) -> AlertPlan | None:
    """The alerts of the configuration; where that has none, those of the gateway that last ran on the data."""
    from headgate.config.load import find_alerts
    from headgate.stores.alert_plan import ALERTS

    plan = find_alerts(config)
    if plan is not None:
        return plan
    try:
        return ALERTS.load(open_data(config, data).path)
    except ConfigError:
        return None


def _row(plan: AlertPlan | None, state: AlertState) -> tuple[str, ...]:
    from headgate.observe.alerts.message import show_value

    rule = plan.rule(state.rule) if plan is not None else None

    def shown(value: Any) -> str:
        return show_value(rule, value) if rule is not None else f"{value}"

    subject = " ".join(filter(None, (state.subject, state.level)))
    return state.rule, subject, state.phase, day(state.since_ns), shown(state.value), shown(state.above)
