"""Makes readings of a rule: looks at its window, and says of each subject how it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from headgate.core.alert import SPIKES, AlertRule, Reading
from headgate.core.rule import LimitRule
from headgate.observe.alerts.budget import budget_readings
from headgate.stores.alert_readings import Amount, Counts, Score
from headgate.stores.budgets import Budget

_NS = 1_000_000_000
_KNOWN_STEPS = 3
"""Of a history: with fewer steps since the first call nobody can say what is usual."""
_REMEMBER_S = 300.0


class Readings(Protocol):
    """What evaluators ask of the store; see ``stores.alert_readings.CallReadings``."""

    def counts(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, Counts]: ...
    def quantiles(
        self,
        field: Literal["latency", "first_content"],
        quantile: float,
        by: str,
        where: Mapping[str, str],
        since_ns: int,
        until_ns: int,
    ) -> dict[str, tuple[int, float]]: ...
    def history(
        self, amount: Amount, by: str, where: Mapping[str, str], since_ns: int, until_ns: int, step_ns: int
    ) -> dict[str, dict[int, int]]: ...
    def spent(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, int]: ...
    def limits(self) -> list[LimitRule]: ...
    def budgets(self, now_ns: int) -> list[Budget] | None: ...
    def breakers(self, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, int]: ...
    def scores(self, by: str, where: Mapping[str, str], since_ns: int, until_ns: int) -> dict[str, Score]: ...


class Evaluator:
    """Evaluates rules; remembers for some minutes what is usual, which costs most to find out."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._usual: dict[str, tuple[AlertRule, int, dict[str, float]]] = {}

    def read(self, rule: AlertRule, now_ns: int) -> list[Reading]:
        """Returns a reading of each subject that the rule has something to say of."""
        if rule.kind == "budget":
            return budget_readings(rule, self._readings, now_ns)
        values = self._values(rule, now_ns)
        return [Reading(subject, value, rule.above, rule.recover) for subject, value in values.items()]

    def _values(self, rule: AlertRule, now_ns: int) -> dict[str, float | None]:
        since = now_ns - int(rule.window * _NS)
        if rule.kind in SPIKES:
            return self._spikes(rule, since, now_ns)
        if rule.kind == "feedback":
            return self._falls(rule, since, now_ns)
        if rule.kind == "breaker":
            found = self._readings.breakers(rule.where, since, now_ns)
            return {name: float(count) for name, count in found.items()}
        if rule.kind == "latency" or rule.kind == "first_content":
            times = self._readings.quantiles(rule.kind, rule.quantile, rule.by, rule.where, since, now_ns)
            return {name: time if count >= rule.min_calls else None for name, (count, time) in times.items()}
        counts = self._readings.counts(rule.by, rule.where, since, now_ns)
        share = _SHARES[rule.kind]
        return {name: share(rule, one) for name, one in counts.items()}

    def _spikes(self, rule: AlertRule, since_ns: int, now_ns: int) -> dict[str, float | None]:
        """How many times as much as usual: as in the busiest twentieth of the windows in its history, or on average."""
        amount = _AMOUNTS[rule.kind]
        counts = self._readings.counts(rule.by, rule.where, since_ns, now_ns)
        least = rule.at_least * (_NS if amount == "cost" else 1)
        busy = {name: getattr(one, amount) for name, one in counts.items() if getattr(one, amount) >= least}
        if not busy:
            return {}
        usual = self._find_usual(rule, amount, since_ns, now_ns)
        return {name: value / usual[name] for name, value in busy.items() if usual.get(name, 0.0) > 0}

    def _find_usual(self, rule: AlertRule, amount: Amount, since_ns: int, now_ns: int) -> dict[str, float]:
        known = self._usual.get(rule.name)
        keep = min(_REMEMBER_S, rule.window) * _NS
        if known is not None and known[0] == rule and 0 <= now_ns - known[1] < keep:
            return known[2]
        step = int(rule.window * _NS)
        steps = max(1, int(rule.history / rule.window))
        end = since_ns // step * step
        found = self._readings.history(amount, rule.by, rule.where, end - steps * step, end, step)
        usual = {name: usual_of(by_step, steps) for name, by_step in found.items()}
        self._usual[rule.name] = (rule, now_ns, usual)
        return usual

    def _falls(self, rule: AlertRule, since_ns: int, now_ns: int) -> dict[str, float | None]:
        """How far the mean score of the window lies below that of the time before."""
        now = self._readings.scores(rule.by, rule.where, since_ns, now_ns)
        before = self._readings.scores(rule.by, rule.where, since_ns - int(rule.history * _NS), since_ns)
        found: dict[str, float | None] = {}
        for name, score in now.items():
            past = before.get(name)
            if past is None or min(past.scores, score.scores) < rule.min_calls:
                found[name] = None
            else:
                found[name] = past.sum / past.scores - score.sum / score.scores
        return found


def usual_of(by_step: Mapping[int, int], steps: int) -> float:
    """Returns what a subject usually comes to in one step; 0 where too little is known.

    Args:
        by_step: its amounts by number of the step; what lacks is 0.
        steps: how many steps there are; those before its first call do not count.
    """
    known = steps - min(by_step, default=steps)
    if known < _KNOWN_STEPS:
        return 0.0
    amounts = sorted(by_step.values())
    idle = known - len(amounts)
    place = math.ceil(0.95 * known) - 1 - idle
    high = amounts[place] if place >= 0 else 0
    return max(high, sum(amounts) / known)


def _share(count: int, of: int, rule: AlertRule) -> float | None:
    return count / of if of >= max(1, rule.min_calls) else None


def _error_rate(rule: AlertRule, one: Counts) -> float | None:
    return _share(one.errors.get(rule.error, 0) if rule.error else one.failed, one.calls, rule)


_SHARES: dict[str, Callable[[AlertRule, Counts], float | None]] = {
    "error_rate": _error_rate,
    "length": lambda rule, one: _share(one.long, one.completed, rule),
    "empty": lambda rule, one: _share(one.empty, one.completed, rule),
    "fallback": lambda rule, one: _share(one.fallbacks, one.completed, rule),
}
_AMOUNTS: dict[str, Amount] = {"cost_spike": "cost", "calls_spike": "calls", "tokens_spike": "tokens"}
