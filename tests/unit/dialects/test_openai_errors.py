"""Errors on OpenAI's wire: what an upstream's mean, when to come back, and how ours look."""

from __future__ import annotations

import json
from typing import Any

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
    UpstreamError,
)
from headgate.core.event import FinishReason, Kind
from headgate.core.usage import Usage
from headgate.dialects.delay import parse_duration
from headgate.dialects.openai_chat import OpenAIChat

OPENAI = OpenAIChat()


def body(message: str = "m", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, "type": "t", "param": None, "code": None, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "code", "fault"),
    [
        (400, body(), "invalid_request", "caller"),
        (400, body(code="context_length_exceeded"), "context_length", "caller"),
        (400, body("This model's maximum context length is 8192 tokens."), "context_length", "caller"),
        (400, body(code="content_filter"), "content_filter", "caller"),
        (400, body(innererror={"code": "ResponsibleAIPolicyViolation"}), "content_filter", "caller"),
        (400, body("API key not valid. Please pass a valid API key."), "auth", "upstream"),
        (400, body(code="model_not_found"), "not_found", "caller"),
        (401, body(), "auth", "upstream"),
        (402, body("Insufficient Balance"), "quota", "upstream"),
        (403, body(), "auth", "upstream"),
        (404, body(), "not_found", "caller"),
        (408, body(), "server_error", "upstream"),
        (413, body(), "too_large", "caller"),
        (422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', "invalid_request", "caller"),
        (429, body(code="rate_limit_exceeded"), "rate_limited", "upstream"),
        (429, body(type="insufficient_quota", code="insufficient_quota"), "quota", "upstream"),
        (498, body(), "overloaded", "upstream"),
        (500, body(), "server_error", "upstream"),
        (500, body(type="invalid_request_error", code="invalid_api_key"), "server_error", "upstream"),
        (502, b"<html><title>502 Bad Gateway</title></html>", "server_error", "upstream"),
        (503, body(), "overloaded", "upstream"),
        (504, b"", "server_error", "upstream"),
        (529, b"busy", "overloaded", "upstream"),
        (429, b'[{"error":{"code":429,"message":"q","status":"RESOURCE_EXHAUSTED"}}]', "rate_limited", "upstream"),
    ],
)
def test_error_answers_are_classified(status: int, raw: bytes, code: str, fault: str) -> None:
    """Status, the error's own word, and its text say what happened and whose fault it is."""
    error = OPENAI.read_error(status, {}, raw)
    assert (error.code, error.fault, error.status, error.sent) == (code, fault, status, True)
    assert error.message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The upstream answered 502 with an empty body."),
        (b"<!DOCTYPE html><html>secret page</html>", "The upstream answered 502 with an HTML page."),
        (b"upstream connect error", "The upstream answered 502: upstream connect error"),
        (b'{"nothing":1}', "The upstream answered 502 with no error message."),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"error":"model is loading"}', "model is loading"),
        (b'{"object":"error","message":"bad model","type":"NotFoundError"}', "bad model"),
        (b"\xff\xfe", "The upstream answered 502: \ufffd\ufffd"),
    ],
)
def test_any_shape_of_body_gives_a_short_message(raw: bytes, message: str) -> None:
    """HTML is never echoed, other shapes give up their message."""
    assert OPENAI.read_error(502, {}, raw).message == message


def test_long_messages_are_cut() -> None:
    """No message is longer than 300 characters, whatever the upstream sends."""
    for raw in (body("x" * 5000), b"x" * 5000):
        assert len(OPENAI.read_error(500, {}, raw).message) <= 300


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-********************abcd. You can find your key",
        "Incorrect API key provided: my-odd-key",
        "key sk-abcdefghijk is wrong",
        "Bearer abc.def refused",
        "token gsk_abcdefgh1234 expired",
        "AIzaSyA1234567890abc is bad",
    ],
)
def test_keys_are_never_echoed(text: str) -> None:
    """What looks like a key, masked or not, is cut from the message."""
    message = OPENAI.read_error(401, {}, body(text)).message
    assert message.startswith("The upstream refused this gateway's credentials: ")  # not the caller's key
    assert "[removed]" in message
    for piece in ("sk-", "****", "my-odd-key", "abc.def", "gsk_", "AIza"):
        assert piece not in message


@pytest.mark.parametrize(
    ("headers", "text", "delay"),
    [
        ({b"retry-after": b"2"}, "", 2.0),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, "", 1.5),
        (
            {b"retry-after": b"Sat, 21 Nov 2026 06:00:30 GMT", b"date": b"Sat, 21 Nov 2026 06:00:00 GMT"},
            "",
            30.0,
        ),
        ({b"retry-after": b"soon"}, "", None),
        ({b"x-ratelimit-reset-requests": b"6m0s", b"x-ratelimit-reset-tokens": b"20ms"}, "", 0.02),
        (
            {
                b"x-ratelimit-reset-requests": b"6m0s",
                b"x-ratelimit-remaining-requests": b"0",
                b"x-ratelimit-reset-tokens": b"20ms",
            },
            "",
            360.0,
        ),
        ({}, "Rate limit reached. Please try again in 1.2s. Visit", 1.2),
        ({}, "Please try again in 6m30.5s.", 390.5),
        ({}, "Please try again in 300ms.", 0.3),
        ({}, "Please retry after 26 seconds.", 26.0),
        ({}, "try again later", None),
    ],
)
def test_retry_delay(headers: dict[bytes, bytes], text: str, delay: float | None) -> None:
    """The delay comes from the most exact place that says it."""
    found = OPENAI.read_error(429, headers, body(text)).retry_after
    assert found == (None if delay is None else pytest.approx(delay))


def test_reset_headers_mean_nothing_on_other_errors() -> None:
    """OpenAI sends its rate headers with every answer: only a rate limit makes them a delay."""
    assert OPENAI.read_error(500, {b"x-ratelimit-reset-requests": b"6m0s"}, body()).retry_after is None


def test_gemini_tells_its_delay_in_the_details() -> None:
    """Google's compatible face has retryDelay in the body."""
    raw = b'[{"error":{"code":429,"message":"q","details":[{"retryDelay": "33s"}]}}]'
    assert OPENAI.read_error(429, {}, raw).retry_after == 33.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h1m1s", 3661.0),
        ("7", 7.0),
        ("", None),
        ("5x", None),
        ("-1", None),
        ("nan", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    """Go's durations and bare seconds are read; anything else is not."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (BadRequest("no", param="messages[0]"), "invalid_request_error", "invalid_request"),
        (Unauthenticated("no"), "authentication_error", "invalid_api_key"),
        (Forbidden("no"), "permission_error", "forbidden"),
        (UnknownModel("no"), "invalid_request_error", "model_not_found"),
        (LimitExceeded("no"), "rate_limit_error", "rate_limit_exceeded"),
        (LimitExceeded("no", code="budget_exceeded"), "insufficient_quota", "budget_exceeded"),
        (Unavailable("no"), "server_error", "unavailable"),
        (Timeout("no"), "server_error", "total_timeout"),
        (UpstreamError("no", status=429, code="rate_limited"), "rate_limit_error", "rate_limit_exceeded"),
        (UpstreamError("no", status=400, code="context_length"), "invalid_request_error", "context_length_exceeded"),
        (UpstreamError("no", status=401, code="auth", body=body("sk-secret")), "server_error", "upstream_auth"),
    ],
)
def test_our_errors_have_openais_shape(error: HeadgateError, kind: str, code: str) -> None:
    """Message, type, param and code, as the SDKs read them; an upstream's refusal of our key is never shown."""
    assert json.loads(OPENAI.error_body(error, 400, "hg_1")) == {
        "error": {"message": "no", "type": kind, "param": error.param, "code": code}
    }
    frame = OPENAI.error_frame(error, "hg_1")
    assert frame.startswith(b'data: {"error":')
    assert frame.endswith(b"}\n\n")
    assert b"[DONE]" not in frame


def test_a_hint_follows_the_message() -> None:
    """What to do next is part of what the caller reads."""
    error = BadRequest("It is wrong.", hint="Do that.")
    assert json.loads(OPENAI.error_body(error, 400, ""))["error"]["message"] == "It is wrong. Do that."


def test_an_upstreams_own_error_goes_through_as_it_came() -> None:
    """The same dialect's error body is kept byte for byte; in a stream it is put on one line."""
    raw = b'{\n  "error": {"message": "m", "type": "invalid_request_error", "x": 1}\n}'
    error = OPENAI.read_error(400, {}, raw)
    assert OPENAI.error_body(error, 400, "") == raw
    assert OPENAI.error_frame(error, "") == b'data: {"error":{"message":"m","type":"invalid_request_error","x":1}}\n\n'
    error.body = b""
    assert json.loads(OPENAI.error_body(error, 400, ""))["error"]["message"] == "m"


def test_unary_answers_are_scanned_and_checked() -> None:
    """A whole answer gives id, model, finish and usage at once; its events on demand."""
    raw = (
        b'{"id":"i","model":"g","created":1,"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
        b'"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
    )
    frame, summary = OPENAI.read_answer(raw)
    assert (frame.kind, frame.data) == (Kind.CONTENT, raw)
    assert (summary.id, summary.model, summary.finish, summary.usage) == ("i", "g", FinishReason.LENGTH, Usage(3, 1))
    assert summary.complete
    assert [type(event).__name__ for event in frame.events] == ["Start", "TextDelta", "Finish", "UsageReport", "End"]
    without = raw.replace(b'"usage"', b'"other"')
    assert OPENAI.read_answer(without)[1].content_chars == 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"nonsense", b'{"choices":[]}', b'{"choices":[{}]}', b'{"choices":[{"message":5}]}', b'{"id":"x"}'],
)
def test_what_is_no_answer_is_broken(raw: bytes) -> None:
    """A 2xx body that is not a chat completion is the upstream's fault."""
    with pytest.raises(HeadgateError) as caught:
        OPENAI.read_answer(raw)
    assert (caught.value.code, caught.value.fault, caught.value.sent) == ("malformed_answer", "upstream", True)
