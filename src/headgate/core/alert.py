"""An alert as a state machine: pending, firing, recovered; what is read goes in, who must be told comes out.

Nothing here does I/O or looks at a clock: the moment is given with each reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from headgate.core.rule import LimitRule

Kind = Literal[
    "error_rate",
    "latency",
    "first_content",
    "length",
    "empty",
    "fallback",
    "breaker",
    "cost_spike",
    "calls_spike",
    "tokens_spike",
    "budget",
    "feedback",
]
Severity = Literal["info", "warning", "critical"]
EventKind = Literal["fired", "reminder", "recovered", "test"]

SPIKES = frozenset({"cost_spike", "calls_spike", "tokens_spike"})
PROJECTED = "projected"
"""The level of a budget that is on its way to be overrun."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """What must not be, for how long, and who is told. Times are seconds.

    Attributes:
        name: unique.
        kind: what is read.
        above: the value from which it is a breach: a share (0 to 1), seconds, a count, or how many times as usual.
        recover: the value below which it is none any more.
        window: how far back is looked.
        hold: how long a breach lasts before it fires.
        calm: how long it must be gone before it has recovered.
        repeat: after how long somebody is reminded of what still fires; 0 is never.
        by: each key, user, team, feature, model, deployment or prompt for itself; "" for all calls together.
        where: only calls with these, by the same names.
        min_calls: with fewer calls (scores) in the window nothing is judged.
        error: of ``error_rate``, only this code; "" for any failure.
        quantile: of ``latency`` and ``first_content``.
        history: of spikes and ``feedback``, what is compared with.
        at_least: of spikes, the amount (dollars, calls, tokens) below which nothing is unusual.
        amount: of ``budget``, dollars in a window ``per`` calendar hour, day or month (UTC); 0 watches the limits.
        levels: of ``budget``, the shares that are told; ``projected`` also the overrun to come.
        receivers: the names of those who are told.
    """

    name: str
    kind: Kind
    above: float
    recover: float
    window: float
    hold: float = 0.0
    calm: float = 0.0
    repeat: float = 0.0
    by: str = ""
    where: dict[str, str] = {}
    min_calls: int = 1
    error: str = ""
    quantile: float = 0.95
    history: float = 0.0
    at_least: float = 0.0
    amount: float = 0.0
    per: str = ""
    levels: tuple[float, ...] = ()
    projected: bool = False
    severity: Severity = "warning"
    receivers: tuple[str, ...] = ()
    description: str = ""


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told. ``url``, ``secret`` and ``password`` may be ``env:NAME`` or ``file:/path``, never a secret's value.

    Attributes:
        name: unique.
        kind: ``webhook`` (JSON, signed with ``secret``), ``slack``, ``email`` or ``log``.
        url: of the first two.
        secret: what a webhook is signed with, "" for no signature.
        allow_private: whether its host may have an address that is not public.
        host, port, tls, user, password: of the mail server; ``tls`` is ``starttls``, ``implicit`` or ``none``.
        sender, to: e-mail addresses.
        timeout: seconds for one delivery.
    """

    name: str
    kind: Literal["webhook", "slack", "email", "log"]
    url: str = ""
    secret: str = ""
    allow_private: bool = False
    host: str = ""
    port: int = 0
    tls: str = "starttls"
    user: str = ""
    password: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    timeout: float = 10.0


class AlertPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All rules and receivers; ``every`` is seconds from one look to the next.

    ``limits`` are those of the configuration, for budgets without an amount of their own; ``leased`` says whether the
    store knows what is used of limits, as it does unless each worker counts for itself.
    """

    rules: tuple[AlertRule, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    every: float = 5.0
    limits: tuple[LimitRule, ...] = ()
    leased: bool = True

    def rule(self, name: str) -> AlertRule | None:
        """Returns the rule of this name, None where there is none."""
        return next((rule for rule in self.rules if rule.name == name), None)


class Reading(msgspec.Struct, frozen=True):
    """What one look found of one subject ("" for all calls) at one level ("" but for budgets).

    ``value`` is None where too little is known to judge; from ``above`` on it is a breach, below ``recover`` none. What
    began before ``begin_ns`` (ns since 1970) was about another window, and is over.
    """

    subject: str
    value: float | None
    above: float
    recover: float
    level: str = ""
    begin_ns: int = 0


class AlertState(msgspec.Struct, frozen=True):
    """A breach under way; there is none where nothing is wrong. Times in ns since 1970.

    Attributes:
        rule, subject, level: what it is about.
        phase: ``pending`` until it has lasted for as long as the rule wants, then ``firing``.
        since_ns: when it began.
        value, above: as last read.
        fired_ns: when it fired, 0 before.
        calm_ns: since when it is gone again, 0 while it is not.
        told_ns: when somebody was last told, 0 for nobody.
        told: how many times somebody was told.
    """

    rule: str
    subject: str
    level: str
    phase: Literal["pending", "firing"]
    since_ns: int
    value: float | None
    above: float
    fired_ns: int = 0
    calm_ns: int = 0
    told_ns: int = 0
    told: int = 0

    @property
    def incident(self) -> str:
        """What this breach, and no other, is called."""
        text = "\0".join((self.rule, self.subject, self.level, str(self.since_ns)))
        return "alert_" + hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


class AlertEvent(msgspec.Struct, frozen=True):
    """Something to tell. The same event always has the same id."""

    id: str
    kind: EventKind
    rule: str
    subject: str
    level: str
    value: float | None
    above: float
    since_ns: int
    time_ns: int


class Silence(msgspec.Struct, frozen=True):
    """A time in which a rule's alerts are told to nobody; "" for any rule, or any subject of it."""

    id: str
    rule: str
    subject: str
    until_ns: int
    created_ns: int
    actor: str
    reason: str

    def covers(self, rule: str, subject: str, now_ns: int) -> bool:
        """Whether it holds for this alert, now."""
        return now_ns < self.until_ns and self.rule in ("", rule) and self.subject in ("", subject)


class Step(msgspec.Struct, frozen=True):
    """What a reading led to: the new state (None: nothing is wrong), and what is to be told, if anything."""

    state: AlertState | None
    event: AlertEvent | None = None


def advance(rule: AlertRule, reading: Reading, state: AlertState | None, now_ns: int, *, muted: bool = False) -> Step:
    """Goes on from one state to the next.

    A breach is told once when it fires (a muted one as soon as it is not muted any more), again at each ``repeat``, and
    once when it has recovered, if it was told before. What is not known counts as no breach.

    Args:
        rule: the rule.
        reading: what was read now.
        state: what was before, None where nothing was wrong.
        now_ns: the moment, in ns since 1970; where the clock was set back, time begins to count anew.
        muted: whether a silence holds.
    """
    breached = reading.value is not None and reading.value >= reading.above
    if state is None:
        if not breached:
            return Step(None)
        state = AlertState(rule.name, reading.subject, reading.level, "pending", now_ns, reading.value, reading.above)
    state = _seen(state, reading, now_ns)
    if state.since_ns < reading.begin_ns:
        return Step(None, _event(state, "recovered", "recovered", now_ns) if state.told else None)
    if state.phase == "pending":
        if not breached:
            return Step(None)
        if now_ns - state.since_ns < rule.hold * 1e9:
            return Step(state)
        state = msgspec.structs.replace(state, phase="firing", fired_ns=now_ns)
    if reading.value is None or reading.value < reading.recover:
        state = msgspec.structs.replace(state, calm_ns=state.calm_ns or now_ns)
        if now_ns - state.calm_ns >= rule.calm * 1e9:
            return Step(None, _event(state, "recovered", "recovered", now_ns) if state.told else None)
    elif state.calm_ns:
        state = msgspec.structs.replace(state, calm_ns=0)
    return Step(state) if muted or state.calm_ns else _tell(rule, state, now_ns)


def advance_all(
    rule: AlertRule,
    readings: Iterable[Reading],
    states: Sequence[AlertState],
    silences: Sequence[Silence],
    now_ns: int,
) -> tuple[list[AlertState], list[AlertEvent]]:
    """Goes on with all that one rule watches; a subject that was not read any more has recovered.

    Returns:
        The states that are left, and what is to be told.
    """
    before = {(state.subject, state.level): state for state in states}
    now = {(reading.subject, reading.level): reading for reading in readings}
    for place, state in before.items():
        now.setdefault(place, Reading(state.subject, None, state.above, state.above, state.level))
    kept, events = [], []
    for place, reading in now.items():
        muted = any(silence.covers(rule.name, reading.subject, now_ns) for silence in silences)
        step = advance(rule, reading, before.get(place), now_ns, muted=muted)
        if step.state is not None:
            kept.append(step.state)
        if step.event is not None:
            events.append(step.event)
    return kept, events


def _seen(state: AlertState, reading: Reading, now_ns: int) -> AlertState:
    """The state with what was read, and no moment that is still to come."""
    return msgspec.structs.replace(
        state,
        value=reading.value,
        above=reading.above,
        since_ns=state.since_ns if state.told else min(state.since_ns, now_ns),
        calm_ns=min(state.calm_ns, now_ns),
        told_ns=min(state.told_ns, now_ns),
    )


def _tell(rule: AlertRule, state: AlertState, now_ns: int) -> Step:
    due = not state.told or (rule.repeat > 0 and now_ns - state.told_ns >= rule.repeat * 1e9)
    if not due:
        return Step(state)
    event = _event(state, "reminder" if state.told else "fired", str(state.told), now_ns)
    return Step(msgspec.structs.replace(state, told=state.told + 1, told_ns=now_ns), event)


def _event(state: AlertState, kind: EventKind, number: str, now_ns: int) -> AlertEvent:
    return AlertEvent(
        f"{state.incident}_{number}",
        kind,
        state.rule,
        state.subject,
        state.level,
        state.value,
        state.above,
        state.since_ns,
        now_ns,
    )
