"""Error answers of OpenAI-shaped upstreams: what they mean, in our words, and when to come back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.core.errors import Fault, UpstreamError
from headgate.dialects.openai_chat.retry import retry_delay

MAX_MESSAGE = 300

_BY_STATUS = {
    400: "invalid_request",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    405: "not_found",
    410: "not_found",
    413: "too_large",
    415: "invalid_request",
    422: "invalid_request",
    429: "rate_limited",
    498: "overloaded",
    503: "overloaded",
    529: "overloaded",
}
_BY_WORD = {
    "context_length_exceeded": "context_length",
    "string_above_max_length": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "moderation_blocked": "content_filter",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "insufficient_balance": "quota",
    "invalid_api_key": "auth",
    "authentication_error": "auth",
    "permission_error": "auth",
    "model_not_found": "not_found",
    "deploymentnotfound": "not_found",
    "not_found_error": "not_found",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "too_many_requests": "rate_limited",
    "resource_exhausted": "rate_limited",
    "request_too_large": "too_large",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "engine_overloaded": "overloaded",
    "unavailable": "overloaded",
    "service_unavailable": "overloaded",
    "server_error": "server_error",
    "internal_server_error": "server_error",
}
_BY_TEXT = (
    ("maximum context length", "context_length"),
    ("context length", "context_length"),
    ("context window", "context_length"),
    ("prompt is too long", "context_length"),
    ("content management policy", "content_filter"),
    ("incorrect api key", "auth"),
    ("api key not valid", "auth"),
    ("invalid api key", "auth"),
    ("insufficient balance", "quota"),
)
_STATUS_OF = {
    "rate_limited": 429,
    "quota": 429,
    "overloaded": 503,
    "auth": 401,
    "invalid_request": 400,
    "context_length": 400,
    "content_filter": 400,
    "not_found": 404,
    "too_large": 413,
}
_CALLERS = frozenset({"invalid_request", "not_found", "too_large", "context_length", "content_filter"})
_KEYS = re.compile(
    r"(?i)(?<=provided: )\S+|(?<=api key: )\S+|(?<!\S)\S*?\*{3}\S*"
    r"|\b(?:sk|pk|rk|gsk|xai|hg|pplx|tgp|r8|hf|nvapi|csk|fw)[-_][\w*-]{6,}|\bAIza[\w-]{10,}|\bBearer\s+\S+|\b[0-9a-f]{32,}\b"
)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
    """Classifies an error answer. See ``Dialect.read_error``."""
    found = _find(body)
    code = _classify(status, found)
    message = _clean(found.message) if found else ""
    if not message:
        message = _describe(status, headers, body)
    if code == "auth":  # else a caller takes "Incorrect API key" for a word about the key that they sent
        message = f"The upstream refused this gateway's credentials: {message}"[:MAX_MESSAGE]
    return UpstreamError(
        message,
        status=status,
        body=body if found else b"",
        kind=found.kind,
        code=code,
        fault=_fault(code),
        retry_after=retry_delay(headers, found.text, limited=code == "rate_limited"),
        param=found.param,
    )


def read_stream_error(payload: bytes, *, named: bool = False) -> UpstreamError | None:
    """Reads an error out of a 200: a stream's event or a unary body.

    Args:
        payload: JSON, whole.
        named: the wire says it is an error (``event: error``), whatever its shape.

    Returns:
        The error, its status what its code stands for, or None where there is none.
    """
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if not named:
            return None
        return UpstreamError(_clean(payload.decode(errors="replace")) or "The upstream broke off.", status=502)
    if not isinstance(value, dict):
        return None
    if not (named or value.get("error") or value.get("object") == "error" or value.get("type") == "error"):
        return None
    found = _find(payload)
    status = found.status or 0
    code = _classify(status, found)
    return UpstreamError(
        _clean(found.message) or "The upstream reported an error without a message.",
        status=status or _STATUS_OF.get(code, 500),
        body=payload,
        kind=found.kind,
        code=code,
        fault=_fault(code),
        retry_after=retry_delay({}, found.text, limited=code == "rate_limited"),
        param=found.param,
    )


class _Found:
    """What an error body says, from whichever shape it has. False where nothing was found."""

    __slots__ = ("kind", "message", "param", "status", "text", "words")

    def __init__(self) -> None:
        self.message = self.kind = self.text = ""
        self.param: str | None = None
        self.status: int | None = None
        self.words: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.message or self.words)


def _find(body: bytes) -> _Found:
    found = _Found()
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return found
    if isinstance(value, list) and value:  # Gemini's compatible face wraps its errors in a list.
        value = value[0]
    if not isinstance(value, dict):
        return found
    error = value.get("error", value)
    if isinstance(error, str):
        error = {**value, "message": value.get("message") or error}
    if not isinstance(error, dict):
        error = value
    for key in ("code", "type", "status"):
        word = error.get(key)
        if isinstance(word, str) and word:
            found.words.append(word)
        elif isinstance(word, int) and not isinstance(word, bool) and 400 <= word <= 599:
            found.status = word
    inner = error.get("innererror")
    if isinstance(inner, dict) and isinstance(inner.get("code"), str):
        found.words.append(inner["code"])
    found.kind = found.words[0][:100] if found.words else ""
    found.message = _message(error)
    param = error.get("param")
    found.param = param[:200] if isinstance(param, str) else None
    found.text = body[:20_000].decode(errors="replace")
    return found


def _message(error: dict[str, Any]) -> str:
    for key in ("message", "detail", "msg", "error_description", "title"):
        message = error.get(key)
        if isinstance(message, list) and message:
            message = message[0]
        if isinstance(message, dict):
            message = message.get("msg") or message.get("message") or message.get("detail")
        if isinstance(message, str) and message.strip():
            return message
    return ""


def _classify(status: int, found: _Found) -> str:
    """Status first; an error's own word or text may say more than its status."""
    code = _BY_STATUS.get(status, "invalid_request" if 400 <= status < 500 and status != 408 else "server_error")
    vague = code in ("invalid_request", "server_error", "rate_limited", "too_large") or status in (403, 404)
    if not vague and status:
        return code
    for word in found.words:
        better = _BY_WORD.get(word.lower())
        if better is None:
            continue
        if code == "rate_limited" and better != "quota":
            continue
        if status >= 500 and better not in ("overloaded", "rate_limited", "quota", "context_length"):
            continue
        return better
    text = found.message.lower()
    if code in ("invalid_request", "too_large") or not status:
        for phrase, better in _BY_TEXT:
            if phrase in text:
                return better
    if not status and any("invalid_request" in word for word in found.words):
        return "invalid_request"
    if status == 403 and "moderation" in text:
        return "content_filter"
    return code


def _fault(code: str) -> Fault:
    return "caller" if code in _CALLERS else "upstream"


def _clean(message: str) -> str:
    """Cuts what looks like a key, control characters and length."""
    text = " ".join(_KEYS.sub("[removed]", message[:4000]).split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _describe(status: int, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """A message for a body that holds none: HTML, plain text, nothing."""
    text = body[:4000].decode(errors="replace").strip()
    kind = headers.get(b"content-type", b"")
    if not text:
        return f"The upstream answered {status} with an empty body."
    if b"html" in kind or text.startswith("<"):
        return f"The upstream answered {status} with an HTML page."
    if text.startswith(("{", "[")):
        return f"The upstream answered {status} with no error message."
    room = MAX_MESSAGE - 40
    text = _clean(text)
    return f"The upstream answered {status}: {text if len(text) <= room else text[: room - 1] + '…'}"
