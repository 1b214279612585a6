"""The page of limits: budgets and rates, what of each is used, and how to set and remove them."""

from __future__ import annotations

import time

from headgate.console.budgets import read_budgets
from headgate.console.page import Page, Redirect, Result, View, Visit
from headgate.core.errors import BadRequest
from headgate.core.rule import PERIODS, PRIORITIES, SCOPES, UNITS
from headgate.stores.allowance import LimitSpec
from headgate.stores.registry import Registry

_FIELDS = ("amount", "unit", "per", "priority", "name", "scope", "value")


def _show(visit: Visit) -> View:
    return _shown(visit, {name: visit.query.get(name) for name in _FIELDS}, "")


def _shown(visit: Visit, given: dict[str, str], problem: str) -> View:
    data = {
        "budgets": read_budgets(visit.desk.engine, visit.desk.core, time.time_ns()),
        "given": given,
        "problem": problem,
        "units": UNITS,
        "periods": PERIODS,
        "scopes": SCOPES,
        "priorities": PRIORITIES,
    }
    return View("limits.html", data, 400 if problem else 200)


def _registry(visit: Visit) -> Registry:
    return Registry(visit.desk.engine, visit.visitor.actor)


def _set(visit: Visit) -> Result:
    fields = {name: visit.form.get(name) for name in _FIELDS}
    if fields["unit"] == "concurrency":
        fields["per"] = ""
    if fields["scope"] == "everything":
        fields["value"] = ""
    try:
        _registry(visit).set_limit(LimitSpec(**fields))
    except BadRequest as error:
        return _shown(visit, fields, error.message)
    return Redirect("/limits")


def _remove(visit: Visit) -> Redirect:
    _registry(visit).remove_limit(visit.path["id"])
    return Redirect("/limits")


PAGES = (
    Page(path="/limits", does=_show, role="admin", title="Limits", group="Manage"),
    Page(path="/limits", does=_set, role="admin", title="Limits", method="POST"),
    Page(path="/limits/{id}/remove", does=_remove, role="admin", title="Limits", method="POST"),
)
