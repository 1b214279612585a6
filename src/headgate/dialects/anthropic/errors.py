"""Errors on the Anthropic wire: classified when they come from upstream, rendered when they go to a client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from headgate.core.errors import (
    BadRequest,
    Fault,
    Forbidden,
    HeadgateError,
    LimitExceeded,
    Timeout,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UpstreamError,
)
from headgate.dialects.anthropic.wire import WireError
from headgate.dialects.delay import delay_in_text

# type on the wire -> (our code, the HTTP status it stands for)
_TYPES: dict[str, tuple[str, int]] = {
    "invalid_request_error": ("invalid_request", 400),
    "authentication_error": ("auth", 401),
    "billing_error": ("quota", 402),
    "permission_error": ("auth", 403),
    "not_found_error": ("not_found", 404),
    "request_too_large": ("too_large", 413),
    "rate_limit_error": ("rate_limited", 429),
    "api_error": ("server_error", 500),
    "timeout_error": ("server_error", 504),
    "overloaded_error": ("overloaded", 529),
}

_STATUSES: dict[int, str] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "server_error",
    413: "too_large",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}

# our code -> type on the wire; upstream's refusal of our own key is no fault of the client's key
_WIRE_OF_CODE: dict[str, str] = {
    "rate_limited": "rate_limit_error",
    "overloaded": "overloaded_error",
    "server_error": "api_error",
    "auth": "api_error",
    "invalid_request": "invalid_request_error",
    "not_found": "not_found_error",
    "unknown_path": "not_found_error",
    "too_large": "request_too_large",
    "context_length": "invalid_request_error",
    "content_filter": "invalid_request_error",
    "quota": "billing_error",
    "budget_exceeded": "billing_error",
    "unpriced_model": "billing_error",
    "body_too_large": "request_too_large",
    "request_too_large": "request_too_large",
}

_WIRE_OF_CLASS: tuple[tuple[type[HeadgateError], str], ...] = (
    (BadRequest, "invalid_request_error"),
    (Unauthenticated, "authentication_error"),
    (Forbidden, "permission_error"),
    (UnknownModel, "not_found_error"),
    (LimitExceeded, "rate_limit_error"),
    (Unavailable, "overloaded_error"),
    (Timeout, "timeout_error"),
)

_CALLER = frozenset({"invalid_request", "context_length", "too_large", "content_filter"})
_KEYS = re.compile(r"\b(?:sk|hg|pk|rk)-[\w.*-]{6,}|\b[Bb]earer\s+[\w.~+/=-]{8,}")
_TAGS = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_decode = msgspec.json.Decoder().decode


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
    """Classifies an error answer.

    Args:
        status: its HTTP status.
        headers: its headers, lower-case names. A reset time is measured against their ``date``.
        body: any bytes; JSON of Anthropic's or another shape, HTML, nothing.
    """
    kind, message, shaped = _words(body)
    message = message or f"The upstream answered {status} without saying why."
    code = _code(status, kind, message)
    wait = _retry_after(status, headers)
    if wait is None:
        wait = delay_in_text(message)
    return _build(code, status, kind, message, body if shaped else b"", wait)


def error_of_type(error: WireError, body: bytes) -> UpstreamError:
    """Returns the error that stands inside a 200, as a stream event or in place of an answer.

    Args:
        error: its type and message.
        body: its JSON, for a client of the same dialect.
    """
    status = _TYPES.get(error.type, ("", 500))[1]
    message = error.message or "The upstream reported an error without a message."
    return _build(_code(status, error.type, message), status, error.type, message, body, delay_in_text(message))


def _build(code: str, status: int, kind: str, message: str, body: bytes, retry_after: float | None) -> UpstreamError:
    clean = _KEYS.sub("[key]", message)
    if code == "auth":
        clean = f"The upstream refused this gateway's credentials ({kind[:60] or status})."
    if clean != message:
        body = b""
    fault: Fault = "caller" if code in _CALLER else "upstream"
    return UpstreamError(
        clean, status=status, body=body, kind=kind[:100], code=code, fault=fault, retry_after=retry_after
    )


def _words(body: bytes) -> tuple[str, str, bool]:
    """Returns type, message, and whether the body has Anthropic's shape."""
    try:
        data = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", _plain(body), False
    if not isinstance(data, dict):
        return "", "", False
    error = data.get("error")
    if isinstance(error, dict):
        kind, message = error.get("type") or error.get("code"), error.get("message")
        shaped = data.get("type") == "error" and isinstance(message, str)
        return _text(kind), _text(message), shaped
    return _text(data.get("type")), _text(error or data.get("message") or data.get("detail")), False


def _text(value: Any) -> str:
    if value is None:
        return ""
    return (value if isinstance(value, str) else msgspec.json.encode(value).decode())[:2000]


def _plain(body: bytes) -> str:
    """A few words of a body that is not JSON: an HTML page's title, or the text without its tags."""
    text = body[:20_000].decode("utf-8", "replace")
    title = _TITLE.search(text)
    words = " ".join((title.group(1) if title else _TAGS.sub(" ", text)).split())
    return f"The upstream answered with a page: {words[:200]}" if words else ""


def _code(status: int, kind: str, message: str) -> str:
    # "api_error" is the word for everything: a status that has a meaning of its own says more.
    if kind in _TYPES and not (kind == "api_error" and status in _STATUSES):
        code = _TYPES[kind][0]
    else:
        code = _STATUSES.get(status, "server_error" if status >= 500 else "invalid_request")
    if code == "invalid_request":
        low = message.lower()
        if "prompt is too long" in low or "exceed context limit" in low or "context window" in low:
            return "context_length"
        if "credit balance is too low" in low or "usage limits" in low:
            return "quota"
        if "content filtering policy" in low:
            return "content_filter"
    return code


def _retry_after(status: int, headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds to wait: ``retry-after`` in either form, else when the limits that are used up come back."""
    if (value := headers.get(b"retry-after-ms")) is not None and (wait := _number(value)) is not None:
        return wait / 1000
    now = _date(headers.get(b"date"))
    if (value := headers.get(b"retry-after")) is not None:
        if (wait := _number(value)) is not None:
            return wait
        if (at := _date(value)) is not None and now is not None:
            return max(0.0, (at - now).total_seconds())
    if status != 429 or now is None:
        return None
    waits = []
    for name, value in headers.items():
        if name.startswith(b"anthropic-ratelimit-") and name.endswith(b"-reset"):
            used_up = headers.get(name[:-5] + b"remaining", b"").strip() == b"0"
            if used_up and (at := _stamp(value)) is not None:
                waits.append(max(0.0, (at - now).total_seconds()))
    return max(waits, default=None)


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _date(value: bytes | None) -> datetime | None:
    if value is None:
        return None
    try:
        when = parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _stamp(value: bytes) -> datetime | None:
    try:
        when = datetime.fromisoformat(value.decode("latin-1").strip())
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def error_body(error: HeadgateError, status: int, call_id: str) -> bytes:
    """Renders an error as a unary body; an upstream's own body goes through byte for byte."""
    if isinstance(error, UpstreamError) and error.body:
        return error.body
    message = f"{error.message} {error.hint}" if error.hint else error.message
    if error.param and error.param not in message:
        message = f"{error.param}: {message}"
    wire = {
        "type": "error",
        "error": {"type": _wire_type(error, status), "message": message},
        "request_id": call_id or None,
    }
    return msgspec.json.encode(wire)


def error_frame(error: HeadgateError, call_id: str) -> bytes:
    """Renders an error as an in-band ``error`` event."""
    body = error_body(error, 0, call_id)
    return b"event: error\n" + b"".join(b"data: %b\n" % line for line in body.splitlines()) + b"\n"


def _wire_type(error: HeadgateError, status: int) -> str:
    if (wire := _WIRE_OF_CODE.get(error.code)) is not None:
        return wire
    for cls, wire in _WIRE_OF_CLASS:
        if isinstance(error, cls):
            return wire
    for wire, (_, stands_for) in _TYPES.items():
        if stands_for == status:
            return wire
    return "api_error"
