"""The checklist's items about money: prices known, each user's rate bounded, somebody told when it costs too much."""

from __future__ import annotations

from headgate.check.facts import Facts
from headgate.check.item import Item, Line, count, share, some

_ABOUT_COST = ("budget", "cost_spike")


def prices(facts: Facts) -> Item:
    """What calls cost is known."""
    line = Line("prices", "Every deployment has a price")
    if facts.unpriced:
        return line.failed(
            f"no price for {some(facts.unpriced)}",
            'providers: {NAME: {prices: {"MODEL": {input: 0.4, output: 1.6}}}}, in dollars per million tokens',
            unpriced=len(facts.unpriced),
        )
    calls = facts.calls
    if calls.unpriced:
        return line.failed(
            f"{share(calls.unpriced, calls.total)} of {count(calls.total, 'call')} had no price",
            "headgate spend tells which deployments; configure their prices",
            calls=calls.unpriced,
        )
    return line.passed(f"prices of every route known; none of {count(calls.total, 'call')} went without one")


def user_rates(facts: Facts) -> Item:
    """One user can not use up what is everybody's."""
    line = Line("user-rates", "Per-user rates are enforced")
    users = f"{count(facts.calls.users, 'user')} in {facts.days:g} days, {count(facts.calls.limited, 'call')} refused"
    each = [one for one in facts.limits if one.scope in ("user", "key") and not one.value]
    if not each:
        return line.failed(
            f"no limit holds for every user or key; {users}",
            "headgate budgets set user 60 --unit requests --per minute, or under limits in the configuration",
            refused=facts.calls.limited,
        )
    told = some([f"{one.title}: {one.shown}" for one in each])
    return line.passed(f"{told}; {users}", limits=len(each), refused=facts.calls.limited)


def budget(facts: Facts) -> Item:
    """Nothing can spend without end."""
    line = Line("budget", "Spend has an upper bound")
    bounds = [one for one in facts.limits if one.unit == "dollars"]
    whole = [one for one in bounds if one.scope == "everything" or not one.value]
    if not whole:
        some_of_it = f"; only {some([one.title for one in bounds])}" if bounds else ""
        return line.failed(
            f"no limit in dollars holds for everything, or for every one of its kind{some_of_it}",
            "headgate budgets set everything 1000 --per month",
        )
    return line.passed(some([f"{one.title}: {one.shown}" for one in whole]), limits=len(whole))


def cost_alerts(facts: Facts) -> Item:
    """Somebody hears of it when spend runs away."""
    line = Line("cost-alerts", "Cost alerts are set")
    plan = facts.settings.alerts
    rules = [] if plan is None else [rule for rule in plan.rules if rule.kind in _ABOUT_COST]
    if plan is None or not rules:
        others = f"; {count(len(plan.rules), 'rule')} on other things" if plan is not None and plan.rules else ""
        return line.failed(
            f"no rule watches what calls cost{others}",
            "alerts: {rules: {budget: {kind: budget, amount: 100, per: month}, cost: {kind: cost_spike}}}",
        )
    quiet = {one.name for one in plan.receivers if one.kind == "log"}
    heard = [rule.name for rule in rules if set(rule.receivers) - quiet]
    figures = {"rules": len(rules), "delivered": facts.messages.delivered, "given_up": facts.messages.given_up}
    if not heard:
        return line.failed(
            f"{some([rule.name for rule in rules])} only write to the log, which nobody reads at night",
            "alerts: {receivers: {ops: {type: slack, url: env:SLACK_URL}}}",
            **figures,
        )
    if facts.messages.given_up:
        return line.failed(
            f"{count(facts.messages.given_up, 'message')} could not be delivered in {facts.days:g} days",
            "headgate alerts history says which, and why; headgate alerts test RULE tries its receivers",
            **figures,
        )
    return line.passed(f"{some(heard)}; {count(facts.messages.delivered, 'message')} in {facts.days:g} days", **figures)


ITEMS = (prices, user_rates, budget, cost_alerts)
