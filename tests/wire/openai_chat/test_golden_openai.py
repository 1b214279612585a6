"""Answers as OpenAI clients get them, byte for byte, beside the events they are made of.

After a wanted change, write the files anew: ``HEADGATE_WRITE_GOLDEN=1 pytest tests/wire/openai_chat``.
"""

from __future__ import annotations

import os
import pathlib

import pytest

from headgate.core.errors import BadRequest, Timeout, UpstreamError
from headgate.core.event import (
    End,
    Event,
    Finish,
    FinishReason,
    Logprobs,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.openai_chat import OpenAIChat

HERE = pathlib.Path(__file__).parent
START = Start("chatcmpl-1", "gpt-x", 1700000000, {"service_tier": "default", "system_fingerprint": "fp_1"})
TOKEN = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}
ANSWERS: dict[str, list[Event]] = {
    "text": [
        START,
        TextDelta("Hello"),
        TextDelta(", wörld \U0001f600\n"),
        Finish(FinishReason.STOP),
        UsageReport(Usage(12, 4, cached=8)),
        End(),
    ],
    "reasoning_and_tools": [
        Start("msg_01", "claude-x"),
        ReasoningDelta("Let me see."),
        TextDelta("I will look."),
        ToolCallStart(0, "toolu_1", "weather", block=2),
        ToolCallStart(1, "toolu_2", "time", block=3),
        ToolCallDelta(0, '{"city":'),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ' "Oslo"}'),
        Finish(FinishReason.TOOL_CALLS, wire="tool_use"),
        UsageReport(Usage(30, 20, cached=5, cache_write=10, reasoning=7)),
        End(),
    ],
    "choices_logprobs_refusal": [
        START,
        TextDelta("Hi"),
        Logprobs({"content": [TOKEN], "refusal": None}),
        RefusalDelta("I can not.", 1),
        Finish(FinishReason.LENGTH),
        Finish(FinishReason.STOP, 1),
        UsageReport(Usage(3, 2)),
        End(),
    ],
}
ERRORS = {
    "bad_request": BadRequest("'n' must be at least 1.", code="invalid_value", param="n"),
    "timeout": Timeout("No first content within 2 s.", code="first_content_timeout"),
    "upstream": UpstreamError("The model is overloaded.", status=503, code="overloaded", kind="overloaded_error"),
}


def check(name: str, out: bytes) -> None:
    path = HERE / name
    if os.environ.get("HEADGATE_WRITE_GOLDEN"):
        path.write_bytes(out + b"\n" * (not out.endswith(b"\n")))
    assert out.rstrip(b"\n") == path.read_bytes().rstrip(b"\n")


@pytest.mark.parametrize("name", sorted(ANSWERS))
@pytest.mark.parametrize("stream", [True, False])
def test_answers_look_as_agreed(name: str, stream: bool) -> None:
    """Streamed and unary answers are byte for byte the golden files."""
    start, *rest = ANSWERS[name]
    assert isinstance(start, Start)
    start = Start(start.id, start.model, start.created or 1700000001, start.extra)
    encoder = OpenAIChat().encoder(stream=stream, model="asked-for")
    out = encoder.feed([start, *rest]) + encoder.end()
    check(f"{name}.{'sse' if stream else 'json'}", out)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_errors_look_as_agreed(name: str) -> None:
    """Error bodies and in-band error events are byte for byte the golden files."""
    check(f"error_{name}.json", OpenAIChat().error_body(ERRORS[name], 400, "hg_1"))
    check(f"error_{name}.sse", OpenAIChat().error_frame(ERRORS[name], "hg_1"))
