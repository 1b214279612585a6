"""Reads what a caller of the admin API sends: strictly, within bounds, naming what is wrong."""

from __future__ import annotations

import asyncio
import difflib
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request

from headgate.core.errors import BadRequest
from headgate.dialects.fields import read_fields
from headgate.server.app import slow_body
from headgate.server.caller import too_large
from headgate.server.guard import Limits
from headgate.server.intake import check_content

BODY_LIMIT = 1024 * 1024
_KEY = re.compile(rb"[!-~]{1,255}")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_PLACE = re.compile(r" - at `(?:\$|key in \$)\.?(.*)`$", re.DOTALL)


async def body(request: Request, headers: Mapping[bytes, bytes], limits: Limits) -> bytes:
    """Returns the whole body.

    Raises:
        BadRequest: not JSON, too large, or too slow.
    """
    check_content(headers)
    limit = min(BODY_LIMIT, limits.body_bytes)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise slow_body() from None
    return b"".join(parts)


def idempotency_key(headers: Mapping[bytes, bytes]) -> str:
    """Returns the caller's word for this one change, "" without one. Raises BadRequest for one that can not be."""
    key = headers.get(b"idempotency-key", b"")
    if key and not _KEY.fullmatch(key):
        raise BadRequest(
            "The header Idempotency-Key must be 1 to 255 visible ASCII characters.",
            code="invalid_header",
            param="Idempotency-Key",
        )
    return key.decode()


def decode(raw: bytes, kind: type[msgspec.Struct]) -> Any:
    """Returns the body as this struct; an empty one stands for ``{}``.

    Raises:
        BadRequest: not a JSON object, a key twice, an unknown or missing field, a wrong type; ``param`` names it.
    """
    if not raw.strip():
        raw = b"{}"
    fields = read_fields(raw)
    _check_known(fields, kind, "field")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _explain(error) from None


def query(pairs: Sequence[tuple[str, str]], kind: type[msgspec.Struct]) -> Any:
    """Returns the query parameters as this struct.

    Raises:
        BadRequest: an unknown one, one that stands twice but is no list, or a value that can not be.
    """
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    _check_known([name for name, _ in pairs], kind, "query parameter")
    for name, value in pairs:
        if not value.isprintable():
            raise BadRequest(f"{name} must be printable text.", code="invalid_value", param=name)
        if typing.get_origin(hints[name]) is list:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise BadRequest(f"{name} stands twice in the query; send it once.", code="duplicate_key", param=name)
        else:
            given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explain(error) from None


def path(words: Mapping[str, Any]) -> dict[str, str]:
    """Returns the words of the path, each "" where it can name nothing."""
    return {name: str(word) if str(word).isprintable() else "" for name, word in words.items()}


def _check_known(names: Iterable[str], kind: type[msgspec.Struct], what: str) -> None:
    known = kind.__struct_fields__
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known) or 'none'}."
            shown = ascii(name[:100])
            raise BadRequest(f"Unknown {what} {shown}{hint}", code="unknown_field", param=name[:100])


def _explain(error: Exception) -> BadRequest:
    """msgspec's words, with the place in them as ``param``."""
    if isinstance(error, RecursionError):
        return BadRequest("The request body is nested too deep; flatten it.", code="too_deep")
    text = str(error)
    place = _PLACE.search(text)
    where = place[1] if place else ""
    text = text[: place.start()] if place else text
    for pattern, code, said in ((_UNKNOWN, "unknown_field", "is unknown"), (_MISSING, "missing_field", "is missing")):
        match = pattern.match(text)
        if match:
            param = f"{where}.{match[1]}".strip(".")[:200]
            return BadRequest(f"The field {param!a} {said}.", code=code, param=param)
    if not isinstance(error, msgspec.ValidationError):
        return BadRequest(f"The request body is not valid JSON: {text}.", code="invalid_json")
    return BadRequest(f"{where or 'the body'}: {text[0].lower()}{text[1:]}.", code="invalid_type", param=where or None)
