"""The watch: looks at all rules of a plan once, and puts what is to be told into the outbox."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from headgate.core.alert import AlertEvent, AlertPlan, Reading
from headgate.observe.alerts.evaluate import Evaluator
from headgate.observe.alerts.message import render
from headgate.stores.alert_readings import CallReadings
from headgate.stores.alerts import AlertStore

_NS = 1_000_000_000
_LEASE_S = 30.0
_KEEP_NS = 90 * 24 * 3600 * _NS


class AlertWatch:
    """Evaluates a plan's rules over a database, those whose lease is free or its own.

    Args:
        engine: the database.
        owner: the id of the data directory that it evaluates for.
        plan: the rules.
    """

    def __init__(self, engine: Engine, owner: str, plan: AlertPlan) -> None:
        self._store = AlertStore(engine, owner)
        self._plan = plan
        self._readings = CallReadings(engine, plan.limits, leased=plan.leased)
        self._evaluator = Evaluator(self._readings)
        self._cleaned = 0

    def look(self, now_ns: int) -> list[AlertEvent]:
        """Evaluates every rule. Returns what is to be told.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away; nothing is lost, the next look goes on.
        """
        ttl = int((_LEASE_S + 3 * self._plan.every) * _NS)
        self._readings.mark(now_ns)
        held = self._store.hold([rule.name for rule in self._plan.rules], now_ns, ttl)
        events: list[AlertEvent] = []
        for rule in self._plan.rules:
            if rule.name not in held:
                continue
            readings = self._evaluator.read(rule, now_ns)
            names: Mapping[str, str] = {}
            if rule.by == "key" or rule.kind == "budget":
                names = self._names(readings)

            events += self._store.apply(rule, readings, now_ns, functools.partial(render, rule, names=names))
        if now_ns - self._cleaned > 3600 * _NS:
            self._cleaned = now_ns
            self._store.forget_rules([rule.name for rule in self._plan.rules], now_ns)
            self._store.forget_old(now_ns - _KEEP_NS)
        return events

    def _names(self, readings: Sequence[Reading]) -> dict[str, str]:
        """How subjects are shown that hold the id of a key; nothing is looked up while nothing is near its bound."""
        if not any(one.value is not None and one.value >= one.recover for one in readings):
            return {}
        names = self._readings.key_names()
        shown = {}
        for reading in readings:
            words = [names.get(word.rstrip(","), word) for word in reading.subject.split(" ")]
            shown[reading.subject] = " ".join(words)
        return shown
