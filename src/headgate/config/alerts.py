"""Alerts as they are written in the configuration: what may be said of a rule and of a receiver, field by field."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from headgate.config.checks import check_reference, is_reference
from headgate.config.rule import Rule
from headgate.core.alert import Kind, Severity
from headgate.core.codes import CALL_CODES

BY = ("key", "user", "team", "feature", "model", "deployment", "prompt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+")


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


def read_level(text: str) -> float | None:
    """Returns the share that a level of a budget says, None where it is none."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if 0 < value <= 10 else None


def check_level(text: str) -> str:
    """A level of a budget."""
    return "" if read_level(text) is not None else "a level is a share like 80% or 0.8, above 0, at most 1000%"


def check_email(text: str) -> str:
    """An e-mail address."""
    return "" if _ADDRESS.fullmatch(text) and text.isprintable() else "not an e-mail address"


def check_code(text: str) -> str:
    """The code of an error that a call can end with: of another an alert would never fire."""
    if not text or text in CALL_CODES:
        return ""
    near = difflib.get_close_matches(text, CALL_CODES, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else "; the page on errors lists them all"
    return f'unknown error code "{text[:80]}"{hint}'


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
    error: Annotated[
        str, Rule("Of `error_rate`: only this error code. Left out: every failed call.", check=check_code)
    ] = ""
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
