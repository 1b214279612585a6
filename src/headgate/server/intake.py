"""Reads a request's headers: what its body is, and the per-call settings."""

from __future__ import annotations

from collections.abc import Mapping

from headgate.config.reader import nearest
from headgate.core.call import Call, Priority
from headgate.core.errors import BadRequest
from headgate.core.trace import read_traceparent

_PRIORITIES: dict[bytes, Priority] = {b"interactive": "interactive", b"batch": "batch"}
_PREFIX = b"x-headgate-"
_SETTINGS = ("class", "dialect", "feature", "prompt", "session", "tags", "timeout-ms", "trace", "user")
"""What stands behind the prefix in a request; ``dialect`` is for estimates alone, and harmless elsewhere."""
_KNOWN = frozenset(_PREFIX + name.encode() for name in _SETTINGS)
_COMMON = frozenset(
    b"accept accept-encoding accept-language anthropic-beta anthropic-dangerous-direct-browser-access "
    b"anthropic-version api-key authorization cache-control connection content-length content-type cookie "
    b"forwarded host openai-organization openai-project origin referer sec-fetch-dest sec-fetch-mode "
    b"sec-fetch-site transfer-encoding user-agent via x-api-key x-forwarded-for x-forwarded-host "
    b"x-forwarded-port x-forwarded-proto x-real-ip x-request-id x-stainless-arch x-stainless-async "
    b"x-stainless-helper-method x-stainless-lang x-stainless-os x-stainless-package-version "
    b"x-stainless-raw-response x-stainless-read-timeout x-stainless-retry-count x-stainless-runtime "
    b"x-stainless-runtime-version x-stainless-stream-helper x-stainless-timeout".split()
)
"""What SDKs and proxies send: a call with nothing else has no settings, which one look at its names tells."""
_WORD_LIMIT = 256
_TAG_LIMIT = 32


def check_content(headers: Mapping[bytes, bytes]) -> None:
    """Refuses a body that is not plain JSON.

    Raises:
        BadRequest: an encoded body (``unsupported_encoding``) or another content type (``unsupported_media_type``).
    """
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise BadRequest("Compressed request bodies are not taken; send plain JSON.", code="unsupported_encoding")
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json" and b"json" not in kind.lower():
        raise BadRequest("The Content-Type must be application/json.", code="unsupported_media_type")


def read_settings(call: Call, headers: Mapping[bytes, bytes]) -> None:
    """Applies the ``x-headgate-*`` headers of one call.

    Raises:
        BadRequest: a value that makes no sense, or a setting that there is none of; ``param`` names the header.
    """
    if _COMMON.issuperset(headers):
        return
    check_names(headers)
    record = call.record
    timeout = headers.get(b"x-headgate-timeout-ms")
    if timeout is not None:
        if not timeout.isdigit() or not 0 < int(timeout[:10]) <= 86_400_000:
            raise _bad(b"x-headgate-timeout-ms", "a whole number of milliseconds from 1 to 86400000")
        call.deadline = call.started + int(timeout) / 1000
    priority = headers.get(b"x-headgate-class")
    if priority is not None:
        if priority not in _PRIORITIES:
            raise _bad(b"x-headgate-class", "`interactive` or `batch`")
        record.priority = _PRIORITIES[priority]
    parent = headers.get(b"traceparent")
    if parent is not None:
        record.parent = read_traceparent(parent)
        record.trace = record.parent[:32]
    trace = headers.get(b"x-headgate-trace")
    if trace is not None:
        record.trace = _word(b"x-headgate-trace", trace)
    session = headers.get(b"x-headgate-session")
    if session is not None:
        record.session = _word(b"x-headgate-session", session)
    user = headers.get(b"x-headgate-user")
    if user is not None:
        record.user = _word(b"x-headgate-user", user)
    feature = headers.get(b"x-headgate-feature")
    if feature is not None:
        record.feature = _word(b"x-headgate-feature", feature)
    prompt = headers.get(b"x-headgate-prompt")
    if prompt is not None:
        record.prompt = _word(b"x-headgate-prompt", prompt)
    tags = headers.get(b"x-headgate-tags")
    if tags is not None:
        record.tags = _tags(tags)


def check_names(headers: Mapping[bytes, bytes]) -> None:
    """Refuses an ``x-headgate-*`` header that means nothing here: a typo would lose a setting unseen.

    Raises:
        BadRequest: its code is ``unknown_header``; ``param`` names the header.
    """
    if b"\n".join(headers).find(_PREFIX) < 0:  # a fifth of what a look at each name costs
        return
    for header in headers:
        if header.startswith(_PREFIX) and header not in _KNOWN:
            name = header.decode("latin-1")[:80]
            hint = nearest(name.removeprefix(_PREFIX.decode()), _SETTINGS, "behind x-headgate- there are")
            hint = hint.replace('mean "', f'mean "{_PREFIX.decode()}')
            raise BadRequest(f"The header {name} is not known{hint}", code="unknown_header", param=name)


def _word(header: bytes, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _bad(header, "UTF-8 text") from None
    if len(text) > _WORD_LIMIT or not text.isprintable():
        raise _bad(header, f"at most {_WORD_LIMIT} printable characters")
    return text


def _tags(value: bytes) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in _word(b"x-headgate-tags", value).split(","):
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise _bad(b"x-headgate-tags", "`key=value` pairs with commas between them")
        tags[key.strip()] = text.strip()
    if len(tags) > _TAG_LIMIT:
        raise _bad(b"x-headgate-tags", f"at most {_TAG_LIMIT} tags")
    return tags


def _bad(header: bytes, wanted: str) -> BadRequest:
    name = header.decode()
    return BadRequest(f"The header {name} must be {wanted}.", code="invalid_header", param=name)
