"""Errors on the Anthropic wire, and token counts."""

from __future__ import annotations

import json

import pytest

from headgate.core.errors import (
    BadRequest,
    Forbidden,
    HeadgateError,
    LimitExceeded,
    Timeout,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UpstreamBroken,
    UpstreamError,
)
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.anthropic.count import read_count_answer, write_count_answer
from headgate.dialects.anthropic.count_dialect import AnthropicCount
from headgate.dialects.tokens import encoding_of

ANTHROPIC = Anthropic()


def body(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "message", "code", "fault"),
    [
        (529, "overloaded_error", "Overloaded", "overloaded", "upstream"),
        (429, "rate_limit_error", "slow down", "rate_limited", "upstream"),
        (400, "invalid_request_error", "bad", "invalid_request", "caller"),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context_length", "caller"),
        (400, "invalid_request_error", "Your credit balance is too low", "quota", "upstream"),
        (400, "invalid_request_error", "Output blocked by content filtering policy", "content_filter", "caller"),
        (401, "authentication_error", "invalid x-api-key", "auth", "upstream"),
        (402, "billing_error", "pay", "quota", "upstream"),
        (403, "permission_error", "no", "auth", "upstream"),
        (404, "not_found_error", "model: x", "not_found", "upstream"),
        (413, "request_too_large", "big", "too_large", "caller"),
        (500, "api_error", "oops", "server_error", "upstream"),
        (504, "timeout_error", "late", "server_error", "upstream"),
        (418, "", "", "invalid_request", "caller"),
        (503, "", "", "overloaded", "upstream"),
        (503, "api_error", "Internal server error", "overloaded", "upstream"),
        (429, "api_error", "busy", "rate_limited", "upstream"),
    ],
)
def test_classification(status: int, kind: str, message: str, code: str, fault: str) -> None:
    """Type first, then status, then the words of the message decide."""
    error = ANTHROPIC.read_error(status, {}, body(kind, message) if kind else b"")
    assert (error.code, error.fault, error.status, error.kind) == (code, fault, status, kind)


def test_same_dialect_body_passes_byte_for_byte() -> None:
    """An upstream's own words reach the caller as they came, unless they are about our key."""
    raw = b'{ "type":"error","error":{"type":"overloaded_error","message":"Overloaded"} }'
    error = ANTHROPIC.read_error(529, {}, raw)
    assert ANTHROPIC.error_body(error, 529, "hg_1") == raw
    assert ANTHROPIC.error_frame(error, "hg_1") == b"event: error\ndata: " + raw + b"\n\n"
    refused = ANTHROPIC.read_error(401, {}, body("authentication_error", "invalid key sk-ant-api03-secret"))
    assert refused.body == b""
    assert "secret" not in refused.message
    assert json.loads(ANTHROPIC.error_body(refused, 502, "hg_1"))["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    "raw",
    [
        b"<html><head><title>502 Bad Gateway</title></head><body>" + b"x" * 5000 + b"</body></html>",
        b"\xff\xfe\x00",
        b"[1]",
        b"null",
        b"",
        b'{"error":"short"}',
        b'{"detail":[{"loc":1}]}',
        b"{" * 100_000,
    ],
)
def test_any_body_gives_a_short_message(raw: bytes) -> None:
    """HTML pages, noise, other shapes: a sentence of bounded length, and no foreign body for the caller."""
    error = ANTHROPIC.read_error(502, {}, raw)
    assert error.code == "server_error"
    assert 0 < len(error.message) < 300
    assert error.body == b""


def test_keys_in_messages_are_not_repeated() -> None:
    """An upstream that echoes a key is cut off, in the message and in the body."""
    error = ANTHROPIC.read_error(400, {}, body("invalid_request_error", "bad header Bearer abcdefghijklmnop"))
    assert "abcdefgh" not in error.message
    assert error.body == b""


DATE = b"Sat, 21 Nov 2026 06:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {b"retry-after": b"12"}, 12.0),
        (529, {b"retry-after-ms": b"250", b"retry-after": b"9"}, 0.25),
        (503, {b"retry-after": b"Sat, 21 Nov 2026 06:00:05 GMT", b"date": DATE}, 5.0),
        (429, {b"date": DATE, b"anthropic-ratelimit-requests-reset": b"2026-11-21T06:00:30Z",
               b"anthropic-ratelimit-requests-remaining": b"0"}, 30.0),
        (429, {b"date": DATE, b"anthropic-ratelimit-requests-reset": b"2026-11-21T06:00:30Z",
               b"anthropic-ratelimit-requests-remaining": b"7"}, None),
        (500, {b"date": DATE, b"anthropic-ratelimit-requests-reset": b"2026-11-21T06:00:30Z",
               b"anthropic-ratelimit-requests-remaining": b"0"}, None),
        (429, {b"retry-after": b"soon"}, None),
    ],
)  # fmt: skip
def test_retry_delay(status: int, headers: dict[bytes, bytes], wait: float | None) -> None:
    """retry-after in its forms; else, on a 429, when the limits that are used up come back."""
    assert ANTHROPIC.read_error(status, headers, b"").retry_after == wait


def test_retry_delay_in_the_message() -> None:
    """Servers that only copy Anthropic's wire may say in words when to come back; a header counts first."""
    told = body("rate_limit_error", "Slow down. Please try again in 1.5s.")
    assert ANTHROPIC.read_error(429, {}, told).retry_after == 1.5
    assert ANTHROPIC.read_error(429, {b"retry-after": b"9"}, told).retry_after == 9.0
    decoder = ANTHROPIC.stream_decoder()
    decoder.feed(b"event: error\ndata: " + told + b"\n\n")
    assert isinstance(decoder.error, UpstreamError)
    assert decoder.error.retry_after == 1.5


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("no"), 400, "invalid_request_error"),
        (Unauthenticated("no"), 401, "authentication_error"),
        (Forbidden("no"), 403, "permission_error"),
        (UnknownModel("no"), 404, "not_found_error"),
        (LimitExceeded("no"), 429, "rate_limit_error"),
        (LimitExceeded("no", code="budget_exceeded"), 402, "billing_error"),
        (Unavailable("no"), 503, "overloaded_error"),
        (Timeout("no"), 504, "timeout_error"),
        (UpstreamBroken("no"), 502, "api_error"),
        (UpstreamError("no", status=429, code="rate_limited"), 429, "rate_limit_error"),
        (BadRequest("no", code="odd"), 413, "invalid_request_error"),
        (HeadgateError("no"), 500, "api_error"),
    ],
)
def test_our_errors_in_their_shape(error: HeadgateError, status: int, kind: str) -> None:
    """Every error of ours has an Anthropic type and carries the call's id."""
    wire = json.loads(ANTHROPIC.error_body(error, status, "hg_1"))
    assert wire == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "hg_1"}


def test_param_and_hint_stand_in_the_message() -> None:
    """This wire has no field for them, so the message names the field and what to do."""
    error = BadRequest("must be a string.", param="messages[0].role", hint="Fix it.")
    message = json.loads(ANTHROPIC.error_body(error, 400, ""))["error"]["message"]
    assert message == "messages[0].role: must be a string. Fix it."


def test_count_tokens() -> None:
    """A count's answer is one number; both ways."""
    assert read_count_answer(write_count_answer(7)) == 7
    with pytest.raises(UpstreamBroken):
        read_count_answer(b"{}")


def test_a_count_made_here_is_of_the_deployment() -> None:
    """What Anthropic adds where tools are given is counted at a Claude, and at nobody else's model."""
    tools = b'"tools":[{"name":"weather","description":"Tells the weather","input_schema":{"type":"object"}}]'
    view = AnthropicCount().view(b'{"model":"m","messages":[{"role":"user","content":"Hello there"}],%b}' % tools)
    counted = {}
    for model in ("gpt-4o", "claude-sonnet-4-5", "llama3.1"):
        frame, summary = AnthropicCount().local_answer(view, encoding_of(model))
        counted[model] = json.loads(frame.data or b"")["input_tokens"]
        assert summary.usage is not None
        assert summary.usage.estimated
    assert 10 < counted["gpt-4o"] < 50
    assert counted["claude-sonnet-4-5"] == counted["gpt-4o"] + 346
    assert counted["llama3.1"] == counted["gpt-4o"]
