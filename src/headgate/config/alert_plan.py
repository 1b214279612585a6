"""The alerts' plan: written rules and receivers with the defaults of their kind, and what can not be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.config.alerts import AlertRuleConfig, AlertsConfig, ReceiverConfig, read_level
from headgate.config.checks import is_reference
from headgate.config.nodes import join
from headgate.core.alert import SPIKES, AlertPlan, AlertRule, Kind, Receiver
from headgate.core.errors import ConfigError
from headgate.core.rule import LimitRule

if TYPE_CHECKING:
    from headgate.config.keyhole import Keyhole
    from headgate.config.ledger import Ledger

_SHARES = frozenset({"error_rate", "length", "empty", "fallback"})
_ABOVE = {
    "error_rate": 0.05,
    "length": 0.2,
    "empty": 0.05,
    "fallback": 0.2,
    "breaker": 1.0,
    "budget": 1.0,
    "latency": 30.0,
    "first_content": 10.0,
    "cost_spike": 3.0,
    "calls_spike": 3.0,
    "tokens_spike": 3.0,
    "feedback": 0.2,
}
_WINDOW = {"cost_spike": 3600.0, "calls_spike": 3600.0, "tokens_spike": 3600.0, "feedback": 86_400.0}
_AT_LEAST = {"cost_spike": 1.0, "calls_spike": 100.0, "tokens_spike": 100_000.0}
_LEVELS = ("50%", "80%", "100%")
_HYSTERESIS = 0.9
_NOTHING = AlertRuleConfig()
_NOBODY = ReceiverConfig()
RECEIVERS_OWN: dict[str, tuple[str, ...]] = {
    "webhook": ("url", "secret", "allow_private", "timeout"),
    "slack": ("url", "allow_private", "timeout"),
    "email": ("host", "port", "tls", "user", "password", "sender", "to", "timeout"),
    "log": (),
}
"""The settings of each kind of receiver."""
LOG = "log"
"""The receiver that is there where none is written."""
ONLY: dict[str, frozenset[str]] = {
    "error": frozenset({"error_rate"}),
    "quantile": frozenset({"latency", "first_content"}),
    "history": SPIKES | {"feedback"},
    "at_least": SPIKES,
    "amount": frozenset({"budget"}),
    "per": frozenset({"budget"}),
    "levels": frozenset({"budget"}),
    "projected": frozenset({"budget"}),
}
"""Settings that belong to some kinds of rules alone."""


def read_alerts(
    written: AlertsConfig,
    ledger: Ledger,
    keyhole: Keyhole,
    limits: tuple[LimitRule, ...] = (),
    *,
    leased: bool = True,
) -> AlertPlan | None:
    """Returns the plan that was written, None where no rule is; what is wrong is told.

    Args:
        written: the section ``alerts``.
        ledger: hears what is wrong.
        keyhole: looks for secrets.
        limits: those of the configuration.
        leased: whether the store knows what is used of limits.
    """
    receivers = [_receiver(name, one, ledger, keyhole) for name, one in written.receivers.items()]
    receivers = receivers or [Receiver(name=LOG, kind="log")]
    known = [one.name for one in receivers]
    rules = [_rule(name, one, known, ledger) for name, one in written.rules.items()]
    if not rules:
        return None
    return AlertPlan(
        rules=tuple(rule for rule in rules if rule is not None),
        receivers=tuple(receivers),
        every=written.every,
        limits=limits,
        leased=leased,
    )


def _receiver(name: str, one: ReceiverConfig, ledger: Ledger, keyhole: Keyhole) -> Receiver:
    path = join("alerts.receivers", name)
    for field, message in _wrong_receiver(one):
        ledger.tell_more(f"{path}.{field}" if f"{path}.{field}" in ledger.lines else path, message)
    places = {}
    for field in ("url", "secret", "password"):
        places[field] = text = getattr(one, field)
        if is_reference(text) and not ledger.known_bad(f"{path}.{field}"):
            try:
                places[field] = keyhole.find(text).reference
            except ConfigError as error:
                ledger.tell(f"{path}.{field}", error.message)
    return Receiver(
        name=name,
        kind=one.type or "log",
        allow_private=one.allow_private,
        host=one.host,
        port=one.port or {"starttls": 587, "implicit": 465}.get(one.tls, 25),
        tls=one.tls,
        user=one.user,
        sender=one.sender,
        to=tuple(one.to),
        timeout=one.timeout,
        **places,
    )


def _wrong_receiver(one: ReceiverConfig) -> list[tuple[str, str]]:
    """What can be wrong with one: the setting to blame, and why."""
    if one.type is None:
        return [("type", "wants a `type`: webhook, slack, email or log")]
    wrong = []
    if one.type in ("webhook", "slack") and not one.url:
        wrong.append(("url", f"a {one.type} wants its `url`"))
    if one.type == "email":
        if not one.host or not one.sender or not one.to:
            wrong.append(("host", "e-mail wants `host`, `sender` and `to`"))
        if one.password and one.tls == "none":
            wrong.append(("password", "a password goes over TLS only: use `tls: starttls` or `implicit`"))
        if one.password and not one.user:
            wrong.append(("user", "a password without a `user`"))
    others = {name for names in RECEIVERS_OWN.values() for name in names} - {*RECEIVERS_OWN[one.type]}
    wrong += [
        (name, f"a {one.type} has no `{name}`")
        for name in sorted(others)
        if getattr(one, name) != getattr(_NOBODY, name)
    ]
    return wrong


def _rule(name: str, one: AlertRuleConfig, receivers: list[str], ledger: Ledger) -> AlertRule | None:
    path = join("alerts.rules", name)
    wrong = _wrong_rule(one, receivers)
    for field, message in wrong:
        ledger.tell_more(f"{path}.{field}" if f"{path}.{field}" in ledger.lines else path, message)
    kind = one.kind
    if kind is None or wrong:
        return None
    above = _ABOVE[kind] if one.above is None else one.above
    window = one.window or _WINDOW.get(kind, 300.0)
    return AlertRule(
        name=name,
        kind=kind,
        above=above,
        recover=round(above * _HYSTERESIS, 9) if one.recover is None else one.recover,
        window=window,
        hold=one.hold,
        calm=_calm(kind, window) if one.calm is None else one.calm,
        repeat=one.repeat,
        by=one.by or "",
        where=one.where,
        min_calls=one.min_calls,
        error=one.error,
        quantile=int(one.quantile[1:]) / 100,
        history=one.history,
        at_least=_AT_LEAST.get(kind, 0.0) if one.at_least is None else one.at_least,
        amount=one.amount,
        per=one.per if kind == "budget" else "",
        levels=tuple(sorted(read_level(text) or 1.0 for text in one.levels or _LEVELS)) if kind == "budget" else (),
        projected=one.projected and kind == "budget",
        severity=one.severity,
        receivers=tuple(one.receivers or receivers),
        description=one.description,
    )


def _wrong_rule(one: AlertRuleConfig, receivers: list[str]) -> list[tuple[str, str]]:
    """What can be wrong with one: the setting to blame, and why."""
    kind = one.kind
    if kind is None:
        return [("kind", f"wants a `kind`: one of {', '.join(sorted(_ABOVE))}")]
    wrong = []
    above = _ABOVE[kind] if one.above is None else one.above
    if above <= 0:
        wrong.append(("above", "a bound is above 0: at 0 it would always fire"))
    if kind in _SHARES and above > 1:
        wrong.append(("above", "a share is at most 1"))
    if one.recover is not None and one.recover > above:
        wrong.append(("recover", f"is over `above` ({above:g}): it would recover and fire at once"))
    if kind == "budget" and not one.amount and (one.by or one.where):
        wrong.append(("amount", "without an `amount` it watches the limits, which say themselves whom they are for"))
    if kind == "breaker" and one.by not in (None, "deployment"):
        wrong.append(("by", "a breaker is always a deployment's: leave `by` out"))
    if kind in SPIKES and one.history < 3 * (one.window or _WINDOW[kind]):
        wrong.append(("history", "is at least three windows: else nobody knows what is usual"))
    for field, kinds in ONLY.items():
        if getattr(one, field) != getattr(_NOTHING, field) and kind not in kinds:
            wrong.append((field, f"belongs to {', '.join(sorted(kinds))}, not to {kind}"))
    unknown = [name for name in one.receivers if name not in receivers]
    if unknown:
        wrong.append(("receivers", f"there is no receiver {unknown[0][:80]!r}; there are: {', '.join(receivers)}"))
    return wrong


def _calm(kind: Kind, window: float) -> float:
    """So that what comes and goes, or is too little to judge for a moment, is not told again and again."""
    return 0.0 if kind == "budget" else min(window, 60.0)
