"""What each fault of an upstream leads to: the promises that the matrix checks and docs/faults.md shows."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

How = Literal["answered", "refused", "broken"]
Says = Literal["whole", "doubled", "half", "nothing", "mixed"]
WIRES = ("openai_chat", "anthropic")
ASKED_SECONDS = 7
"""What a rate limit with a hint asks to wait."""


class Fate(NamedTuple):
    """What becomes of a call whose first deployment has a fault.

    Attributes:
        how: ``answered``: the answer goes to the caller as it came. ``refused``: nothing had gone out yet, so the
            caller gets a status, or another deployment's answer. ``broken``: content had gone out, an error event
            follows it.
        code: the error's code in the answer and the Record.
        status: what a caller is told who has nothing to fall back on.
        says: what the answer's text is of the one that was meant.
        finish: the neutral finish reason that came, "" for none.
        fault: whose fault the error is.
        sent: whether the whole request had reached the upstream.
        seen: the upstream's HTTP status in the attempt's record, 0 for none.
        next: whether another deployment is tried.
        retry_after: the values that the header may have; empty for no such header.
    """

    how: How
    code: str = ""
    status: int = 200
    says: Says = "whole"
    finish: str = "stop"
    fault: str = "upstream"
    sent: bool = True
    seen: int = 200
    next: bool = True
    retry_after: tuple[int, ...] = ()


def answered(says: Says = "whole", finish: str = "stop") -> Fate:
    """The answer goes to the caller."""
    return Fate("answered", says=says, finish=finish)


def refused(code: str, status: int, **more: Any) -> Fate:
    """Nothing had gone out: a status, or the next deployment."""
    return Fate("refused", code, status, finish="", **more)


def broken(code: str, says: Says = "half", finish: str = "") -> Fate:
    """Content had gone out: an error event ends the stream."""
    return Fate("broken", code, says=says, finish=finish)


class Fault(NamedTuple):
    """One row.

    Attributes:
        name: its name here; also how the simulator tells whose call it is.
        about: what the upstream does.
        script: the fault that the simulator plays.
        unary, streamed: what becomes of such a call; None: the fault is none there, or the same as in another row.
        anthropic: the same two where Anthropic's wire makes a difference.
        upstream: which one is asked: ``sick`` plays the script; the others fail for everybody.
        timeouts: those of a unary and of a streamed call, in seconds, where the fault is to run into one.
        note: a sentence for the table's foot.
    """

    name: str
    about: str
    script: dict[str, Any]
    unary: Fate | None
    streamed: Fate | None
    anthropic: tuple[Fate | None, Fate | None] | None = None
    upstream: Literal["sick", "closed", "alert", "untrusted"] = "sick"
    timeouts: tuple[dict[str, float], dict[str, float]] = ({}, {})
    note: str = ""

    def fate(self, wire: str, stream: bool) -> Fate | None:
        """Returns what becomes of a call to an upstream of this wire."""
        fates = (self.unary, self.streamed) if wire == "openai_chat" or self.anthropic is None else self.anthropic
        return fates[stream]


def _both(name: str, about: str, script: dict[str, Any], fate: Fate, **more: Any) -> Fault:
    """A fault that comes before any content: the same whole and streamed."""
    return Fault(name, about, script, fate, fate, **more)


def _limited(name: str, hint: str, about: str, *waits: int) -> Fault:
    script: dict[str, Any] = {"fault": 429, "retry_after": ASKED_SECONDS, "hint": hint}
    return _both(name, f"429, {about}", script, refused("rate_limited", 429, seen=429, retry_after=waits))


_SHORT = {"total": 0.4}
_BROKEN_BODY = refused("body_cut", 502)
_NOT_SENT = {"sent": False, "seen": 0}
_BAD_BODY = refused("malformed_answer", 502)
_LATE = refused("total_timeout", 504)
_NEVER = refused("total_timeout", 504, seen=0)

STATUSES = (
    _both(
        "400",
        "400: the request is invalid",
        {"fault": 400},
        refused("invalid_request", 400, fault="caller", seen=400, next=False),
    ),
    _both("401", "401: our key is refused", {"fault": 401}, refused("auth", 502, seen=401)),
    _both(
        "context-length",
        "400: the prompt is too long for the model",
        {"fault": "context-length"},
        refused("context_length", 400, fault="caller", seen=400),
    ),
    _both(
        "quota",
        "our account is out of money (OpenAI: 429, Anthropic: 400)",
        {"fault": "quota"},
        refused("quota", 429, seen=429),
        anthropic=(refused("quota", 429, seen=400),) * 2,
    ),
    _limited("429-none", "none", "no hint when to come back"),
    _limited("429-seconds", "header", "`retry-after` in seconds", ASKED_SECONDS),
    _limited("429-date", "date", "`retry-after` as a date", ASKED_SECONDS, ASKED_SECONDS + 1),
    _limited("429-ms", "ms", "`retry-after-ms`", ASKED_SECONDS),
    _limited("429-body", "body", "the delay in the message", ASKED_SECONDS),
    _limited("429-reset", "reset", "the provider's reset headers", ASKED_SECONDS, ASKED_SECONDS + 1),
    _both("500", "500", {"fault": 500}, refused("server_error", 500, seen=500)),
    _both("503", "503", {"fault": 503}, refused("overloaded", 503, seen=503)),
    _both(
        "503-seconds",
        "503, `retry-after` in seconds",
        {"fault": 503, "retry_after": ASKED_SECONDS},
        refused("overloaded", 503, seen=503, retry_after=(ASKED_SECONDS,)),
        note="It pauses the deployment, too, for as long as it asks.",
    ),
    _both("529", "529", {"fault": 529}, refused("overloaded", 529, seen=529)),
)

CONNECTIONS = (
    _both(
        "refused",
        "connection refused",
        {"fault": "refuse"},
        refused("connect_failed", 502, **_NOT_SENT),
        upstream="closed",
    ),
    _both(
        "tls-alert",
        "TLS handshake fails",
        {"fault": "tls-failure"},
        refused("tls_failed", 502, **_NOT_SENT),
        upstream="alert",
    ),
    _both(
        "tls-untrusted",
        "TLS certificate nobody vouches for",
        {},
        refused("tls_failed", 502, **_NOT_SENT),
        upstream="untrusted",
    ),
    _both(
        "reset-before-headers",
        "reset before the response head",
        {"fault": "reset-before-headers"},
        refused("upstream_reset", 502, seen=0),
    ),
    _both(
        "close-before-headers",
        "closed before the response head",
        {"fault": "close-before-headers"},
        refused("upstream_closed", 502, seen=0),
    ),
    _both(
        "reset-in-headers",
        "reset in the middle of the head",
        {"fault": "reset-in-headers"},
        refused("upstream_reset", 502, seen=0),
    ),
    _both("reset-after-headers", "reset after the head", {"fault": "reset-after-headers"}, _BROKEN_BODY),
    Fault(
        "reset-before-content",
        "reset before the first content",
        {"fault": "reset-mid-stream", "after": 0},
        None,
        _BROKEN_BODY,
    ),
    Fault("reset-mid-stream", "reset in mid-body", {"fault": "reset-mid-stream"}, _BROKEN_BODY, broken("body_cut")),
    Fault("close-mid-stream", "closed in mid-body", {"fault": "close-mid-stream"}, _BROKEN_BODY, broken("body_cut")),
)

SILENCES = (
    Fault(
        "hang-before-headers",
        "silence before the head",
        {"fault": "hang-before-headers"},
        _NEVER,
        refused("headers_timeout", 504, seen=0),
        timeouts=(_SHORT, {"headers": 0.1}),
    ),
    Fault(
        "hang-before-content",
        "silence before the first content",
        {"fault": "hang-before-content"},
        _LATE,
        refused("first_content_timeout", 504),
        timeouts=(_SHORT, {"first_content": 0.4}),
    ),
    Fault(
        "pings-before-content",
        "pings, and never any content",
        {"fault": "hang-before-content", "pings": 0.03},
        None,
        refused("first_content_timeout", 504),
        timeouts=({}, {"first_content": 0.4}),
    ),
    Fault(
        "hang-mid-stream",
        "silence in mid-body",
        {"fault": "hang-mid-stream"},
        _LATE,
        broken("idle_timeout"),
        timeouts=(_SHORT, {"idle": 0.25}),
    ),
    Fault(
        "pings-mid-stream",
        "pings in mid-body, and no more content",
        {"fault": "hang-mid-stream", "pings": 0.03},
        None,
        broken("total_timeout"),
        timeouts=({}, {"idle": 1.0, "total": 1.0}),
        note="A ping is a sign of life: it starts the idle gap anew, and only the total bound ends such a stream.",
    ),
    Fault(
        "slow-drip",
        "the body comes in crumbs, fast enough",
        {"fault": "slow-drip", "rate": 20_000},
        answered(),
        answered(),
    ),
    Fault(
        "slow-drip-too-slow",
        "the body comes in crumbs, too slowly",
        {"fault": "slow-drip", "rate": 1_000},
        _LATE,
        broken("total_timeout"),
        timeouts=(_SHORT, {"total": 1.0}),
    ),
)

ANSWERS = (
    Fault(
        "cut",
        "the body ends cleanly, too early",
        {"fault": "cut"},
        _BROKEN_BODY,
        broken("stream_cut"),
    ),
    Fault(
        "cut-before-content",
        "the same, before the first content",
        {"fault": "cut", "after": 0},
        None,
        refused("stream_cut", 502),
    ),
    Fault(
        "no-marker",
        "everything but the closing marker",
        {"fault": "no-marker"},
        _BAD_BODY,
        broken("stream_cut", "whole", "stop"),
        note="The finish reason had gone out when the marker failed to come; the error event follows it.",
    ),
    Fault(
        "malformed-json", "one event's JSON is torn", {"fault": "malformed-json"}, _BAD_BODY, broken("malformed_event")
    ),
    Fault(
        "malformed-before-content",
        "the same, before the first content",
        {"fault": "malformed-json", "after": 0},
        None,
        refused("malformed_event", 502),
    ),
    Fault(
        "malformed-sse",
        "one event's framing is broken",
        {"fault": "malformed-sse"},
        _BAD_BODY,
        broken("malformed_event"),
    ),
    Fault(
        "malformed-chunk",
        "an HTTP chunk's size is no number",
        {"fault": "malformed-chunk"},
        refused("malformed_response", 502),
        broken("malformed_response"),
    ),
    _both("html", "200 with a web page", {"fault": "html"}, refused("wrong_content_type", 502)),
    Fault(
        "error-event",
        "an error inside the 200",
        {"fault": "error-event"},
        refused("server_error", 500),
        broken("server_error"),
        (refused("overloaded", 529), broken("overloaded")),
    ),
    Fault(
        "error-before-content",
        "the same, before the first content",
        {"fault": "error-event", "after": 0},
        None,
        refused("server_error", 500),
        (None, refused("overloaded", 529)),
    ),
    Fault("empty", "a whole answer without content", {"fault": "empty"}, answered("nothing"), answered("nothing")),
    Fault(
        "content-filter",
        "half an answer, finished by a filter",
        {"fault": "content-filter"},
        answered("half", "content_filter"),
        answered("half", "content_filter"),
        (answered("half", "refusal"), answered("half", "refusal")),
    ),
    Fault(
        "duplicate",
        "every content event twice (the whole body twice)",
        {"fault": "duplicate"},
        _BAD_BODY,
        answered("doubled"),
        note="Nothing on the wire tells a repeated event from a model that repeats itself.",
    ),
    Fault(
        "splice",
        "another answer's events mixed in (half a body of each)",
        {"fault": "splice"},
        _BAD_BODY,
        broken("malformed_event"),
        (_BAD_BODY, answered("mixed")),
        note="OpenAI's events carry their answer's id, which must not change; Anthropic's carry none, "
        "but a second `message_start` is an error.",
    ),
)

GROUPS: dict[str, tuple[Fault, ...]] = {
    "It answers with a status": STATUSES,
    "The connection fails": CONNECTIONS,
    "It is silent, or slow": SILENCES,
    "It says the wrong thing": ANSWERS,
}
"""The rows under their headings, in the order of the page."""

FAULTS: tuple[Fault, ...] = tuple(fault for group in GROUPS.values() for fault in group)
