"""Our errors in OpenAI's shape, as a body or as an event of a stream that has begun."""

from __future__ import annotations

import msgspec

from headgate.core.errors import (
    BadRequest,
    Forbidden,
    HeadgateError,
    LimitExceeded,
    Unauthenticated,
    UnknownModel,
    UpstreamError,
)

_TYPES: tuple[tuple[type[HeadgateError], str], ...] = (
    (BadRequest, "invalid_request_error"),
    (Unauthenticated, "authentication_error"),
    (Forbidden, "permission_error"),
    (UnknownModel, "invalid_request_error"),
)
_UPSTREAM_TYPES = {
    "rate_limited": "rate_limit_error",
    "quota": "insufficient_quota",
    "invalid_request": "invalid_request_error",
    "not_found": "invalid_request_error",
    "too_large": "invalid_request_error",
    "context_length": "invalid_request_error",
    "content_filter": "invalid_request_error",
}
_UPSTREAM_CODES = {
    "rate_limited": "rate_limit_exceeded",
    "quota": "insufficient_quota",
    "auth": "upstream_auth",
    "context_length": "context_length_exceeded",
}


def error_body(error: HeadgateError) -> bytes:
    """Renders an error; an upstream's own body goes through as it came, but for one about the upstream's key."""
    if isinstance(error, UpstreamError) and error.body and error.code != "auth" and is_json_object(error.body):
        return error.body
    message = error.message if not error.hint else f"{error.message} {error.hint}"
    return msgspec.json.encode(
        {"error": {"message": message, "type": _type(error), "param": error.param, "code": _code(error)}}
    )


def error_frame(error: HeadgateError) -> bytes:
    """Renders an error as an event; no ``[DONE]`` follows it."""
    body = error_body(error)
    if b"\n" in body or b"\r" in body:
        body = msgspec.json.encode(msgspec.json.decode(body))
    return b"data: %b\n\n" % body


def is_json_object(body: bytes) -> bool:
    """Whether these bytes are a whole JSON object."""
    if not body.lstrip().startswith(b"{"):
        return False
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _type(error: HeadgateError) -> str:
    if isinstance(error, UpstreamError):
        return _UPSTREAM_TYPES.get(error.code, "server_error")
    if isinstance(error, LimitExceeded):
        return "insufficient_quota" if error.code in ("budget_exceeded", "unpriced_model") else "rate_limit_error"
    for kind, word in _TYPES:
        if isinstance(error, kind):
            return word
    return "server_error"


def _code(error: HeadgateError) -> str:
    return _UPSTREAM_CODES.get(error.code, error.code) if isinstance(error, UpstreamError) else error.code
