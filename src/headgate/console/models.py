"""The page of models: what answers for each, how it does, what it costs, and whether its breaker lets calls through."""

from __future__ import annotations

import time
from typing import Any

from headgate.console.overview import RANGES, quantile, range_of
from headgate.console.page import Desk, Page, View, Visit
from headgate.core.call import Deployment
from headgate.pipeline.auth import ANONYMOUS
from headgate.pipeline.health import Health
from headgate.stores.figures import Figures
from headgate.stores.query import Filters
from headgate.stores.stats import Group, StatsStore

_MOST = 200


def _show(visit: Visit) -> View:
    chosen = range_of(visit)
    filters = Filters(since_ns=time.time_ns() - chosen.length)
    stats = StatsStore(visit.desk.engine)
    by_model = {one.value: one for one in stats.top("model", filters, _MOST)}
    by_place = {one.value: one for one in stats.top("deployment", filters, _MOST)}
    by_arm = {one.value: one for one in stats.top("arm", filters, _MOST * 5)}
    core = visit.desk.core
    models: list[dict[str, Any]] = []
    named: set[str] = set()
    for name, model in core.settings.models.items():
        plan = _plan(visit.desk, name)
        places = [_place(visit.desk, step, by_arm.get(f"{name} > {step.name}")) for step in plan]
        named.update(step.name for step in plan)
        row = {"name": name, "description": model.description, "all": _figures(by_model.get(name)), "places": places}
        models.append(row)
    others = [
        _figures(one) | {"name": name}
        for name, one in by_place.items()
        if name and name not in named and one.figures.calls
    ]
    return View("models.html", {"range": chosen, "ranges": RANGES, "models": models, "others": others})


def _plan(desk: Desk, name: str) -> list[Deployment]:
    return list({one.name: one for one in desk.core.plan_of(name, ANONYMOUS) or ()}.values())


def _place(desk: Desk, deployment: Deployment, group: Group | None) -> dict[str, Any]:
    """One deployment of a model, as this worker sees it now, with its figures for that model."""
    health = deployment.health
    shown: dict[str, Any] = {"state": "", "busy": None, "waiting": None, "allowed": None, "why": ""}
    if isinstance(health, Health):
        refusal = health.breaker.refusal(desk.core.clock.monotonic())
        limiter = health.limiter
        shown = {
            "state": health.breaker.state,
            "why": refusal.message if refusal is not None else "",
            "busy": limiter.in_flight,
            "waiting": limiter.waiting,
            "allowed": int(limiter.allowed) if limiter.bounded else None,
        }
    price = deployment.price
    rates = None if price is None else (price.rates.input, price.rates.output)
    return {"name": deployment.name, "weight": deployment.weight, "price": rates, **shown, **_figures(group)}


def _figures(group: Group | None) -> dict[str, Any]:
    figures = group.figures if group is not None else Figures()
    return {
        "calls": figures.calls,
        "errors": figures.error_rate,
        "p50": quantile(figures, "latency", 0.5),
        "p95": quantile(figures, "latency", 0.95),
        "first": quantile(figures, "first_content", 0.5),
        "speed": figures.speed.quantile(0.5) if figures.speed.count else None,
        "cost": figures.cost,
        "per": figures.cost // figures.completed if figures.completed else None,
    }


PAGES = (Page(path="/models", does=_show, title="Models", group="Run"),)
