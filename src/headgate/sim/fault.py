"""Faults: the catalogue of ways to fail, and the conditions under which one happens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from headgate.core.errors import ConfigError
from headgate.sim.strict import check_keys, nearest

Hint = Literal["header", "ms", "date", "body", "reset", "none"]


class Kind(msgspec.Struct, frozen=True):
    """An entry of the catalogue: what it does, and which settings it takes."""

    about: str
    params: tuple[str, ...] = ()


_AFTER = ("after",)
CATALOGUE: Mapping[str, Kind] = {
    "status": Kind("an error status; `fault: 503` is short for it", ("status", "retry_after", "hint", "message")),
    "context-length": Kind("400: the prompt is too long for the model", ("message",)),
    "quota": Kind("the account is out of money: 429, or Anthropic's 400, that no waiting helps against", ("message",)),
    "refuse": Kind("the port is closed for `for_s` seconds: connections are refused", ("for_s",)),
    "tls-failure": Kind("TLS handshakes fail with an alert for `for_s` seconds", ("for_s",)),
    "reset-before-headers": Kind("the request is read, then the connection is reset (TCP RST)"),
    "reset-in-headers": Kind("reset after half of the response head"),
    "reset-after-headers": Kind("reset after the response head"),
    "reset-mid-stream": Kind("reset after `after` content events (half of a unary body)", _AFTER),
    "close-before-headers": Kind("closed (TCP FIN) without an answer"),
    "close-mid-stream": Kind("closed (TCP FIN) in mid-body, its framing not ended", _AFTER),
    "hang-before-headers": Kind("no answer, the connection stays open"),
    "hang-before-content": Kind("head and preamble, then silence; `pings` sends one every so many seconds", ("pings",)),
    "hang-mid-stream": Kind("silence after `after` content events (half of a unary body)", ("after", "pings")),
    "slow-drip": Kind("the body comes in crumbs, `rate` bytes per second", ("rate",)),
    "cut": Kind("HTTP ends cleanly after `after` content events; no finish, no marker", _AFTER),
    "no-marker": Kind("everything but the closing marker ([DONE], message_stop)"),
    "malformed-json": Kind("one event's JSON is torn (a unary body stops half-way)", _AFTER),
    "malformed-sse": Kind("one event breaks SSE's framing (a unary body is no JSON)", _AFTER),
    "malformed-chunk": Kind("one HTTP chunk has a size that is no number", _AFTER),
    "html": Kind("200 with an HTML page: somebody's proxy answers"),
    "error-event": Kind("an error event inside the 200 stream (an error body with status 200)", ("after", "message")),
    "empty": Kind("a whole answer without any content"),
    "content-filter": Kind("half an answer, then a finish by content filter (a refusal)"),
    "duplicate": Kind("every content event comes twice (a unary body twice)"),
    "splice": Kind("another answer's events are mixed in (half a body of each)"),
}
"""Every fault by name."""


class When(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions; all that are set must hold.

    Attributes:
        probability: drawn per call.
        skip, first, every: of the calls that the other conditions let through: not the first ``skip``; then only
            ``first`` of them; only every ``every``-th of them.
        after_s, before_s: seconds since the start (or ``/sim/reset``).
        period_s, down_s: flapping: the first ``down_s`` of every ``period_s`` seconds.
        header: request headers and the values that they must have (``"*"`` any).
        model: shell pattern for the model's name.
        match: searched for in the last user message.
        wire: ``openai`` or ``anthropic``; ``stream``: only streamed, or only unary calls.
    """

    probability: float = 1.0
    skip: int = 0
    first: int | None = None
    every: int = 1
    after_s: float = 0.0
    before_s: float | None = None
    period_s: float | None = None
    down_s: float = 0.0
    header: dict[str, str] = {}
    model: str | None = None
    match: str | None = None
    wire: Literal["openai", "anthropic"] | None = None
    stream: bool | None = None

    def holds_at(self, elapsed: float) -> bool:
        """Whether the conditions on time hold, ``elapsed`` seconds after the start."""
        if elapsed < self.after_s or (self.before_s is not None and elapsed >= self.before_s):
            return False
        return self.period_s is None or (elapsed - self.after_s) % self.period_s < self.down_s

    def fits(self, wire: str, model: str, text: str, stream: bool, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the conditions on the request hold."""
        if self.wire is not None and self.wire != wire:
            return False
        if self.stream is not None and self.stream is not stream:
            return False
        if self.model is not None and not fnmatchcase(model, self.model):
            return False
        for name, value in self.header.items():
            had = headers.get(name.lower().encode("latin-1"))
            if had is None or value not in ("*", had.decode("latin-1")):
                return False
        return self.match is None or re.search(self.match, text) is not None

    def is_due(self, count: int) -> bool:
        """Whether the ``count``-th call (from 0) that fits is one that the counting conditions choose."""
        position = count - self.skip
        if position < 0 or position % self.every:
            return False
        return self.first is None or position // self.every < self.first

    @property
    def by_time_only(self) -> bool:
        """True when nothing but time decides: a whole listener can act on it."""
        blank = When(after_s=self.after_s, before_s=self.before_s, period_s=self.period_s, down_s=self.down_s)
        return self == blank


ALWAYS = When()


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One way to fail, its settings and its conditions.

    Attributes:
        kind: a name in ``CATALOGUE``.
        after: content events before it happens; None: half of them.
        status: the HTTP status of ``status``.
        retry_after: seconds that the error asks to wait, told the way ``hint`` says: a ``retry-after`` header in
            seconds (``header``) or as a ``date``, ``retry-after-ms`` (``ms``), the message (``body``), the
            provider's own ``reset`` headers, or not at all (``none``).
        message: the error's text, instead of the usual one.
        for_s: seconds that ``refuse`` and ``tls-failure`` last.
        pings: seconds between pings during a hang; 0 for none.
        rate: bytes per second of ``slow-drip``.
    """

    kind: str
    when: When = ALWAYS
    after: int | None = None
    status: int = 500
    retry_after: float | None = None
    hint: Hint = "header"
    message: str | None = None
    for_s: float = 1.0
    pings: float = 0.0
    rate: float = 100.0


def parse_fault(value: Any, path: str) -> Fault:
    """Reads a fault from YAML: its name (or a status), or a mapping with ``fault``, its settings and ``when``.

    Raises:
        ConfigError: unknown fault or setting (names the nearest), a wrong type or range.
    """
    where = f"{path}.fault" if isinstance(value, dict) else path
    if not isinstance(value, dict):
        value = {"fault": value}
    if "fault" not in value:
        raise ConfigError(f"{path}: needs the key 'fault'{nearest('', CATALOGUE)}")
    name = str(value["fault"]).strip()
    settings: dict[str, Any] = {"kind": name}
    if name.isdigit() and 400 <= int(name) <= 599:
        settings = {"kind": "status", "status": int(name)}
    elif name not in CATALOGUE:
        raise ConfigError(f"{where}: unknown fault '{name}'{nearest(name, CATALOGUE)}")
    check_keys(value, ("fault", "when", *CATALOGUE[settings["kind"]].params), path)
    settings |= {key: given for key, given in value.items() if key not in ("fault", "when")}
    settings["when"] = parse_when(value["when"], f"{path}.when") if "when" in value else ALWAYS
    try:
        fault = msgspec.convert(settings, Fault)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise ConfigError(f"{path}{where.rstrip('`')}: {message[:1].lower()}{message[1:]}") from None
    return _checked(fault, path)


def parse_when(value: Any, path: str) -> When:
    """Reads conditions from YAML, strictly.

    Raises:
        ConfigError: unknown key, wrong type or range, a regular expression that is none.
    """
    check_keys(value, (field.name for field in msgspec.structs.fields(When)), path)
    try:
        when = msgspec.convert(value, When)
        re.compile(when.match or "")
    except (msgspec.ValidationError, re.error) as error:
        message, _, where = str(error).partition(" - at `$")
        raise ConfigError(f"{path}{where.rstrip('`')}: {message[:1].lower()}{message[1:]}") from None
    if not 0 <= when.probability <= 1:
        raise ConfigError(f"{path}.probability: must be between 0 and 1")
    if when.every < 1 or when.skip < 0 or (when.first is not None and when.first < 0):
        raise ConfigError(f"{path}: every must be at least 1, skip and first not negative")
    if when.period_s is not None and not 0 <= when.down_s <= when.period_s:
        raise ConfigError(f"{path}.down_s: must be between 0 and period_s")
    if when.period_s is not None and when.period_s <= 0:
        raise ConfigError(f"{path}.period_s: must be positive")
    if when.period_s is None and when.down_s:
        raise ConfigError(f"{path}.down_s: needs period_s beside it")
    return when


def parse_fault_header(text: str) -> Fault:
    """Reads the ``x-sim-fault`` header: ``hang-mid-stream``, or ``429; retry_after=1.5; hint=body``.

    Raises:
        ConfigError: as ``parse_fault``.
    """
    name, *rest = (part.strip() for part in text.split(";"))
    settings: dict[str, Any] = {"fault": name}
    for part in filter(None, rest):
        key, _, raw = part.partition("=")
        try:
            settings[key.strip()] = msgspec.json.decode(raw.strip())
        except msgspec.DecodeError:
            settings[key.strip()] = raw.strip()
    if "when" in settings:
        raise ConfigError("x-sim-fault: takes no conditions; it is for this one call")
    return parse_fault(settings, "x-sim-fault")


def _checked(fault: Fault, path: str) -> Fault:
    if fault.after is not None and fault.after < 0:
        raise ConfigError(f"{path}.after: must not be negative")
    if not 400 <= fault.status <= 599:
        raise ConfigError(f"{path}.status: must be between 400 and 599")
    if fault.rate <= 0 or fault.for_s < 0 or fault.pings < 0 or (fault.retry_after or 0) < 0:
        raise ConfigError(f"{path}: rate must be positive; for_s, pings and retry_after not negative")
    return fault
