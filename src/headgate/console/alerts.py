"""The page of alerts: what is wrong now, which rules look, what is silent, what was told and whether it arrived."""

from __future__ import annotations

import time

from headgate.console.page import Page, View, Visit
from headgate.core.alert import AlertPlan, AlertRule, AlertState
from headgate.observe.alerts.message import describe, read_message, show_span, show_value
from headgate.stores.alerts import AlertStore
from headgate.stores.outbox import Outbox

_ROWS = 50
_FIRING = 3


def _show(visit: Visit) -> View:
    store, plan = AlertStore(visit.desk.engine), visit.desk.core.settings.alerts
    before = visit.query.number("before", 0, 1) or None
    past = Outbox(visit.desk.engine).history(_ROWS, before_ns=before)
    data = {
        "rules": []
        if plan is None
        else [(rule, describe(rule), bound(rule), show_span(rule.window)) for rule in plan.rules],
        "states": [(state, *read(plan, state)) for state in firing_first(store.states())],
        "silences": store.silences(time.time_ns()),
        "past": [(one.event, read_message(one.message).summary, one.told) for one in past],
        "paged": before is not None,
        "next": past[-1].event.time_ns if len(past) == _ROWS else None,
    }
    return View("alerts.html", data)


def firing_first(states: list[AlertState]) -> list[AlertState]:
    """Returns what is wrong, the newest of what fires first."""
    return sorted(states, key=lambda state: (state.phase != "firing", -state.since_ns))


def firing(visit: Visit) -> list[tuple[AlertState, str, str]]:
    """Returns what fires now, the newest first, with what was read and from where it is wrong."""
    plan = visit.desk.core.settings.alerts
    states = [state for state in AlertStore(visit.desk.engine).states() if state.phase == "firing"]
    return [(state, *read(plan, state)) for state in firing_first(states)[:_FIRING]]


def read(plan: AlertPlan | None, state: AlertState) -> tuple[str, str]:
    """Returns what was last read and from where it is wrong, with their units."""
    rule = None if plan is None else plan.rule(state.rule)
    if rule is None:  # it was taken out of the configuration, and is forgotten at the next look
        return "" if state.value is None else f"{state.value:.4g}", f"{state.above:.4g}"
    return shown(rule, state.value), shown(rule, state.above)


def shown(rule: AlertRule, value: float | None) -> str:
    """Returns a value with its unit, as the console writes shares elsewhere."""
    return show_value(rule, value).replace(".0%", "%").replace("%", " %")


def bound(rule: AlertRule) -> str:
    """Returns from where on a rule is broken, with its unit."""
    if rule.kind != "budget":
        return shown(rule, rule.above)
    levels = ", ".join(shown(rule, level) for level in rule.levels or (rule.above,))
    of = f" of ${rule.amount:,.10g} per {rule.per}" if rule.amount else " of each limit"
    return f"{levels}{of}{', or on its way there' if rule.projected else ''}"


PAGES = (Page(path="/alerts", does=_show, role="viewer", title="Alerts", group="Watch"),)
