"""The top level of a chat request, as policy sees it, and the changes that policy makes to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headgate.core.errors import BadRequest
from headgate.dialects.base import View
from headgate.dialects.fields import Fields, read_fields

MAX_CHOICES = 128
"""OpenAI's own bound of ``n``; a call's worst price grows with it."""

_Decode = Callable[[msgspec.Raw], Any]
_STRING: _Decode = msgspec.json.Decoder(str | None).decode
_BOOLEAN: _Decode = msgspec.json.Decoder(bool | None).decode
_INTEGER: _Decode = msgspec.json.Decoder(int | None).decode
_OPTIONS: _Decode = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_LIMITS = ("max_completion_tokens", "max_tokens")


class _Policy(msgspec.Struct):
    """The fields that policy reads, in one pass."""

    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    user: str | None = None
    safety_identifier: str | None = None


_policy = msgspec.json.Decoder(_Policy).decode


def view_request(raw: bytes) -> View:
    """See ``Dialect.view``."""
    fields = read_fields(raw)
    seen = View(raw, fields)
    try:
        policy = _policy(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _wrong_type(fields) from None
    if not policy.model:
        raise BadRequest("'model' is missing; name the model to ask.", code="missing_field", param="model")
    seen.model = policy.model
    seen.stream = stream = policy.stream or False
    # Both limits may stand: which of them an upstream obeys is not known, so the larger bounds the price.
    limit, other = policy.max_tokens, policy.max_completion_tokens
    if limit is not None or other is not None:
        _positive("max_tokens", limit)
        _positive("max_completion_tokens", other)
        seen.max_tokens = max(limit or 0, other or 0)
    if policy.n is not None:
        _positive("n", policy.n)
        seen.n = policy.n
        if seen.n > MAX_CHOICES:
            raise BadRequest(f"'n' must be at most {MAX_CHOICES}.", code="invalid_value", param="n")
    seen.user = policy.user or policy.safety_identifier or ""
    seen.include_usage = ("stream_options" in fields and _includes_usage(fields)) or not stream
    return seen


def policy(seen: View, *, model: str, max_tokens: int, max_tokens_field: str, stream_usage: bool) -> dict[str, Any]:
    """See ``Dialect.policy``. The caller's own name for the token limit is kept."""
    fields = seen.fields
    changes: dict[str, Any] = {}
    if model != seen.model:
        changes["model"] = model
    if seen.max_tokens is None:
        changes[max_tokens_field] = max_tokens
    elif seen.max_tokens != max_tokens:
        for key in _LIMITS:
            own = _optional(fields, key, _INTEGER, "a whole number")
            if own is not None and (own > max_tokens or own == seen.max_tokens):
                changes[key] = max_tokens
    if seen.stream and stream_usage and not seen.include_usage:
        options = _optional(fields, "stream_options", _OPTIONS, "an object") or {}
        changes["stream_options"] = {**options, "include_usage": True}
    return changes


def _optional(fields: Fields, key: str, decode: _Decode, wanted: str) -> Any:
    """Decodes one field; None where it is absent or null."""
    value = fields.get(key)
    if value is None:
        return None
    try:
        return decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest(f"{key!r} must be {wanted}.", code="invalid_type", param=key) from None


def _positive(key: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise BadRequest(f"{key!r} must be at least 1.", code="invalid_value", param=key)


_TYPES: dict[str, tuple[_Decode, str]] = {
    "model": (_STRING, "a string"),
    "stream": (_BOOLEAN, "true or false"),
    "max_tokens": (_INTEGER, "a whole number"),
    "max_completion_tokens": (_INTEGER, "a whole number"),
    "n": (_INTEGER, "a whole number"),
    "user": (_STRING, "a string"),
    "safety_identifier": (_STRING, "a string"),
}


def _wrong_type(fields: Fields) -> BadRequest:
    """Finds which field could not be read."""
    for key, (decode, wanted) in _TYPES.items():
        try:
            _optional(fields, key, decode, wanted)
        except BadRequest as error:
            return error
    return BadRequest("The request body is not a chat request.", code="invalid_json")


def _includes_usage(fields: Fields) -> bool:
    options = _optional(fields, "stream_options", _OPTIONS, "an object")
    if not options or "include_usage" not in options:
        return False
    try:
        return bool(msgspec.json.decode(options["include_usage"], type=bool | None))
    except msgspec.ValidationError:
        raise BadRequest(
            "'stream_options.include_usage' must be true or false.",
            code="invalid_type",
            param="stream_options.include_usage",
        ) from None
