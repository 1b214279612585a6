"""Alerts as they are written in the configuration: rules and receivers, checked, with the defaults of each kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from headgate.config.checks import check_reference, is_reference
from headgate.config.nodes import join
from headgate.config.rule import Rule
from headgate.core.alert import SPIKES, AlertPlan, AlertRule, Kind, Receiver, Severity
from headgate.core.errors import ConfigError
from headgate.core.rule import LimitRule

if TYPE_CHECKING:
    from headgate.config.keyhole import Keyhole
    from headgate.config.ledger import Ledger

BY = ("key", "user", "team", "feature", "model", "deployment", "prompt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+")
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
RECEIVERS_OWN: dict[str, tuple[str, ...]] = {
    "webhook": ("url", "secret", "allow_private", "timeout"),
    "slack": ("url", "allow_private", "timeout"),
    "email": ("host", "port", "tls", "user", "password", "sender", "to", "timeout"),
    "log": (),
}
"""The settings of each kind of receiver."""
LOG = "log"
"""The receiver that is there where none is written."""


def check_alert_name(text: str) -> str:
    """The name of a rule or receiver."""
    if _NAME.fullmatch(text):
        return ""
    return "a name here is letters, digits, '.', '_' and '-' (at most 64), beginning with a letter or digit"


def check_url_or_reference(text: str) -> str:
    """A webhook's URL, or where it lives; a URL in which somebody put a password is not repeated."""
    if is_reference(text):
        return check_reference(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "not a URL: its host or port is malformed"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "not a URL: it holds spaces or characters outside ASCII"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "expected http:// or https:// and a host, or `env:NAME` or `file:/path` of such a URL"
    return "a URL holds no user or password here; write `env:NAME` of it" if "@" in parts.netloc else ""


def check_condition(text: str) -> str:
    """One ``name: value`` of ``where``."""
    name, _, value = text.partition(": ")
    if name not in BY:
        return f"calls are told apart by {', '.join(BY)}"
    return "" if value and value.isprintable() else "a value is printable and not empty"


def check_level(text: str) -> str:
    """A level of a budget."""
    return "" if _level(text) is not None else "a level is a share like 80% or 0.8, above 0, at most 1000%"


def check_email(text: str) -> str:
    """An e-mail address."""
    return "" if _ADDRESS.fullmatch(text) and text.isprintable() else "not an e-mail address"


class ReceiverConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told."""

    type: Annotated[
        Literal["webhook", "slack", "email", "log"] | None,
        Rule("JSON by POST, Slack's form of it, e-mail, or the recorder's log (`recorder.log` in the data directory)."),
    ] = None
    url: Annotated[
        str,
        Rule("Of a webhook: its URL, or `env:NAME` / `file:/path` of it.", check=check_url_or_reference, secret=True),
    ] = ""
    secret: Annotated[
        str,
        Rule("`env:NAME` or `file:/path` of what a webhook is signed with.", check=check_reference, secret=True),
    ] = ""
    allow_private: Annotated[bool, Rule("Whether a webhook's host may have an address that is not public.")] = False
    host: Annotated[str, Rule("Of e-mail: the mail server.")] = ""
    port: Annotated[
        int | None, Rule("Its port. Left out: 587, 465 (`implicit`) or 25 (`none`).", low=1, high=65535)
    ] = None
    tls: Annotated[
        Literal["starttls", "implicit", "none"], Rule("How the connection to the mail server is kept secret.")
    ] = "starttls"
    user: Annotated[str, Rule("Who logs in at the mail server. Left out: nobody.")] = ""
    password: Annotated[
        str, Rule("`env:NAME` or `file:/path` of that password.", check=check_reference, secret=True)
    ] = ""
    sender: Annotated[str, Rule("The address that mails come from.", check=check_email)] = ""
    to: Annotated[list[str], Rule("The addresses that mails go to.", check=check_email)] = []
    timeout: Annotated[float, Rule("For one delivery.", unit="seconds", low=0.1, high=50.0)] = 10.0


class AlertRuleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What must not be; the page on alerts tells the kinds and their defaults."""

    kind: Annotated[Kind | None, Rule("What is watched.")] = None
    above: Annotated[
        float | None,
        Rule("The value from which it is a breach: a share (0 to 1), seconds, a count, times as usual.", low=0.0),
    ] = None
    recover: Annotated[
        float | None, Rule("The value below which it is none any more. Left out: nine tenths of `above`.", low=0.0)
    ] = None
    window: Annotated[
        float | None,
        Rule("How far back is looked. Left out: 5m, spikes 1h, feedback 1d.", unit="seconds", low=1.0, high=2_678_400),
    ] = None
    hold: Annotated[float, Rule("How long a breach lasts before it fires.", unit="seconds", low=0.0, high=86_400.0)] = (
        0.0
    )
    calm: Annotated[
        float | None,
        Rule(
            "How long it must be gone before it has recovered. Left out: `window`, at most 1m.",
            unit="seconds",
            low=0.0,
            high=86_400.0,
        ),
    ] = None
    repeat: Annotated[
        float,
        Rule("After how long is said again what still fires; 0 is never.", unit="seconds", low=0.0, high=2_678_400.0),
    ] = 0.0
    by: Annotated[
        Literal["key", "user", "team", "feature", "model", "deployment", "prompt"] | None,
        Rule("Each of these for itself. Left out: all calls together."),
    ] = None
    where: Annotated[
        dict[str, str], Rule("Only calls with these, e.g. `{model: fast}`; a key by its id.", check=check_condition)
    ] = {}
    min_calls: Annotated[
        int, Rule("With fewer calls (scores) in the window nothing is judged.", low=1, high=1_000_000_000)
    ] = 20
    error: Annotated[str, Rule("Of `error_rate`: only this error code. Left out: every failed call.")] = ""
    quantile: Annotated[
        Literal["p50", "p90", "p95", "p99"], Rule("Of `latency` and `first_content`: which of them.")
    ] = "p95"
    history: Annotated[
        float,
        Rule("Of spikes and `feedback`: what is compared with.", unit="seconds", low=3.0, high=31 * 86_400.0),
    ] = 7 * 86_400.0
    at_least: Annotated[
        float | None,
        Rule("Of spikes: below so much nothing is unusual. Left out: $1, 100 calls, 100000 tokens.", low=0.0),
    ] = None
    amount: Annotated[
        float,
        Rule(
            "Of `budget`: dollars per calendar window. Left out: every limit in dollars.", low=0.0, high=1_000_000_000.0
        ),
    ] = 0.0
    per: Annotated[Literal["hour", "day", "month"], Rule("Of `budget`: its window, in UTC.")] = "month"
    levels: Annotated[
        list[str], Rule("Of `budget`: the shares that are told. Left out: 50%, 80% and 100%.", check=check_level)
    ] = []
    projected: Annotated[bool, Rule("Of `budget`: also tell that it will be overrun, if it goes on so.")] = True
    severity: Annotated[Severity, Rule("How bad it is, for those who are told.")] = "warning"
    receivers: Annotated[list[str], Rule("Who is told. Left out: every receiver.")] = []
    description: Annotated[str, Rule("What to do about it; goes into the message.")] = ""


class AlertsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts: what is watched, and who is told."""

    every: Annotated[float, Rule("From one look to the next.", unit="seconds", low=0.1, high=600.0)] = 5.0
    receivers: Annotated[dict[str, ReceiverConfig], Rule("Who is told, by name. Left out: the log.")] = {}
    rules: Annotated[dict[str, AlertRuleConfig], Rule("What must not be, by name.")] = {}


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
        levels=tuple(sorted(_level(text) or 1.0 for text in one.levels or _LEVELS)) if kind == "budget" else (),
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


_NOTHING = AlertRuleConfig()
_NOBODY = ReceiverConfig()
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


def _calm(kind: Kind, window: float) -> float:
    """So that what comes and goes, or is too little to judge for a moment, is not told again and again."""
    return 0.0 if kind == "budget" else min(window, 60.0)


def _level(text: str) -> float | None:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if 0 < value <= 10 else None
