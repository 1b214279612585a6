"""Shows the effective alerts for ``config explain``: secrets by where they live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.config.alert_plan import ONLY, RECEIVERS_OWN
from headgate.config.checks import is_reference
from headgate.config.nodes import join
from headgate.config.units import show_seconds
from headgate.core.alert import AlertPlan, AlertRule, Receiver

_TIMES = frozenset({"window", "hold", "calm", "repeat", "history", "timeout"})


def explain_alerts(plan: AlertPlan) -> Iterator[tuple[str, Any]]:
    """Yields path and value of every setting that means something for its rule or receiver."""
    yield "alerts.every", show_seconds(plan.every)
    for receiver in plan.receivers:
        path = join("alerts.receivers", receiver.name)
        for name, value in _receiver(receiver):
            yield f"{path}.{name}", value
    for rule in plan.rules:
        path = join("alerts.rules", rule.name)
        for name, value in _rule(rule):
            yield f"{path}.{name}", value


def _receiver(receiver: Receiver) -> Iterator[tuple[str, Any]]:
    yield "type", receiver.kind
    for name in RECEIVERS_OWN[receiver.kind]:
        value = getattr(receiver, name)
        if isinstance(value, str) and is_reference(value):
            value = f"{value} (set)"
        yield name, _shown(name, value)


def _rule(rule: AlertRule) -> Iterator[tuple[str, Any]]:
    for name, value in msgspec.structs.asdict(rule).items():
        if name == "name" or rule.kind not in ONLY.get(name, {rule.kind}):
            continue
        if name == "quantile":
            yield name, f"p{round(value * 100)}"
        elif name == "levels":
            yield name, ", ".join(f"{level:.0%}" for level in value)
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", text) for key, text in value.items())
        else:
            yield name, _shown(name, value)


def _shown(name: str, value: Any) -> Any:
    if name in _TIMES:
        return show_seconds(value)
    return ", ".join(value) if isinstance(value, tuple) else value
