"""The page of alerts: what is wrong now, which rules look, what is silent, what was told and whether it arrived."""

from __future__ import annotations

import time

from headgate.console.page import Page, View, Visit
from headgate.observe.alerts.message import read_message
from headgate.stores.alerts import AlertStore

_ROWS = 50


def _show(visit: Visit) -> View:
    store, plan = AlertStore(visit.desk.engine), visit.desk.core.settings.alerts
    before = visit.query.number("before", 0, 1) or None
    past = store.history(_ROWS, before_ns=before)
    data = {
        "rules": () if plan is None else plan.rules,
        "states": sorted(store.states(), key=lambda state: (state.phase != "firing", -state.since_ns)),
        "silences": store.silences(time.time_ns()),
        "past": [(one.event, read_message(one.message).summary, one.told) for one in past],
        "paged": before is not None,
        "next": past[-1].event.time_ns if len(past) == _ROWS else None,
    }
    return View("alerts.html", data)


PAGES = (Page(path="/alerts", does=_show, role="viewer", title="Alerts", group="Watch"),)
