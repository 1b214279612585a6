"""The checklist's items about money: prices known, each user's rate bounded, somebody told when it costs too much."""

from __future__ import annotations

from typing import Any

from headgate.check.facts import Facts
from headgate.check.item import Item, Line, count, share, some


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
    alerts: Any = getattr(facts.settings, "alerts", None)
    if alerts is None:
        return line.not_applicable("this release sends no alerts")
    return line.not_applicable("alerts are configured in another way than this check knows")


ITEMS = (prices, user_rates, budget, cost_alerts)
