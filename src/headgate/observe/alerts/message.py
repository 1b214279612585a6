"""Renders an event for people and programs: one sentence, and the JSON that receivers get."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from headgate.core.alert import PROJECTED, SPIKES, AlertEvent, AlertPlan, AlertRule

_WORDS = {
    "error_rate": "error rate",
    "latency": "latency",
    "first_content": "time to first content",
    "length": "share of answers cut for length",
    "empty": "share of empty answers",
    "fallback": "share of answers by a fallback",
    "breaker": "attempts turned away by an open breaker",
    "cost_spike": "cost",
    "calls_spike": "number of calls",
    "tokens_spike": "number of tokens",
    "budget": "budget",
    "feedback": "fall of the feedback score",
}
_STATES = {"fired": "firing", "reminder": "still firing", "recovered": "recovered", "test": "test"}
_SHARES = frozenset({"error_rate", "length", "empty", "fallback"})
_LONGEST = 200


class Message(msgspec.Struct, frozen=True):
    """What receivers get, as JSON. Times are RFC 3339 in UTC.

    ``id`` is the same whenever the same event is delivered again; ``incident`` is that of all events of one breach.
    ``value`` and ``threshold`` are in ``unit``: ``share`` (0 to 1), ``seconds``, ``count``, ``times`` (as usual).
    """

    id: str
    incident: str
    event: str
    rule: str
    kind: str
    severity: str
    subject: str
    subject_name: str
    by: str
    level: str
    value: float | None
    threshold: float
    unit: str
    since: str
    time: str
    summary: str
    description: str
    version: int = 1


def render(rule: AlertRule, event: AlertEvent, names: Mapping[str, str] | None = None) -> str:
    """Returns an event's message as JSON.

    Args:
        rule: its rule.
        event: the event.
        names: what subjects are called, where that is not what they are (keys by id).
    """
    name = _clean((names or {}).get(event.subject, event.subject))
    message = Message(
        id=event.id,
        incident=event.id.rpartition("_")[0],
        event=event.kind,
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        subject=event.subject[:_LONGEST],
        subject_name=name,
        by=rule.by or ("deployment" if rule.kind == "breaker" else ""),
        level=event.level,
        value=None if event.value is None else round(event.value, 6),
        threshold=event.above,
        unit=_unit(rule),
        since=_moment(event.since_ns),
        time=_moment(event.time_ns),
        summary=_summary(rule, event, name),
        description=rule.description,
    )
    return msgspec.json.encode(message).decode()


def trial_of(plan: AlertPlan, name: str, now_ns: int) -> tuple[AlertRule, AlertEvent]:
    """Returns a test event and the rule that it is of: a configured one by name, for "" one that tells everybody.

    Raises:
        KeyError: there is no rule of this name.
    """
    rule = plan.rule(name)
    if rule is None:
        if name:
            raise KeyError(name)
        everybody = tuple(receiver.name for receiver in plan.receivers)
        rule = AlertRule(name="test", kind="error_rate", above=1.0, recover=1.0, window=60.0, receivers=everybody)
    id = f"alert_{secrets.token_hex(10)}_test"
    return rule, AlertEvent(id, "test", rule.name, "", "", None, rule.above, now_ns, now_ns)


def read_message(text: str) -> Message:
    """Returns what ``render`` made."""
    return msgspec.json.decode(text, type=Message)


def show_value(rule: AlertRule, value: float | None) -> str:
    """Returns a value of a rule as people write it."""
    if value is None:
        return "unknown"
    unit = _unit(rule)
    if unit == "share":
        return f"{value:.1%}"
    if unit == "seconds":
        return f"{value:.3g} s"
    return f"{value:.3g} times as usual" if unit == "times" else f"{value:.3g}"


def _summary(rule: AlertRule, event: AlertEvent, name: str) -> str:
    by = rule.by or ("deployment" if rule.kind == "breaker" else "")
    of = f" of {by} {name}" if by else f" of {name}" if name else ""
    if event.kind == "test" and by:
        of = f" of each {by}"  # a test is about none of them
    said = f"[{_STATES[event.kind]}] {rule.name}: {describe(rule)}{of}"
    if event.kind == "test":
        return f"{said}: this is a test, nothing is wrong"
    if event.kind == "recovered":
        return f"{said} is back within bounds"
    if rule.kind == "budget":
        going = "on its way to" if event.level == PROJECTED else "at"
        whole = f" of ${rule.amount:g} per {rule.per}" if rule.amount else ""
        return f"{said} is {going} {show_value(rule, event.value)}{whole}"
    window = show_span(rule.window)
    return f"{said} is {show_value(rule, event.value)} over {window}; the bound is {show_value(rule, event.above)}"


def describe(rule: AlertRule) -> str:
    """Returns what a rule reads: ``p95 of time to first content``."""
    if rule.kind == "error_rate" and rule.error:
        return f"share of calls with the error {rule.error}"
    if rule.kind in ("latency", "first_content"):
        return f"p{rule.quantile * 100:g} of {_WORDS[rule.kind]}"
    return _WORDS[rule.kind]


def _unit(rule: AlertRule) -> str:
    if rule.kind in _SHARES or rule.kind == "budget":
        return "share"
    if rule.kind in ("latency", "first_content"):
        return "seconds"
    return "times" if rule.kind in SPIKES else "score" if rule.kind == "feedback" else "count"


def show_span(seconds: float) -> str:
    """Returns a rule's time as people write it: ``5 min``."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _clean(text: str) -> str:
    """A name on one line: callers choose some of them."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST])
