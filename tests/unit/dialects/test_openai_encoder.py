"""Neutral events rendered for OpenAI clients, streamed and unary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headgate.core.event import (
    BlockEnd,
    Citation,
    End,
    ErrorEvent,
    Event,
    Finish,
    FinishReason,
    Logprobs,
    OtherBlock,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.openai_chat import OpenAIChat

START = Start("msg_1", "up-model", 1700000000)
LOGPROBS = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]}


def stream(events: Sequence[Event], include_usage: bool = True) -> list[Any]:
    """The chunks of a stream, each checked against the SDK's type; the last is the marker."""
    encoder = OpenAIChat().encoder(stream=True, model="asked-for", include_usage=include_usage)
    out = b"".join(encoder.feed([event]) for event in events) + encoder.end()
    values: list[Any] = []
    for block in out.split(b"\n\n")[:-1]:
        assert block.startswith(b"data: ")
        if block == b"data: [DONE]":
            values.append("[DONE]")
            continue
        values.append(json.loads(block[6:]))
        ChatCompletionChunk.model_validate(values[-1], strict=True)
    return values


def unary(events: Sequence[Event]) -> dict[str, Any]:
    encoder = OpenAIChat().encoder(stream=False, model="asked-for")
    assert encoder.feed(events) == b""
    body: dict[str, Any] = json.loads(encoder.end())
    ChatCompletion.model_validate(body, strict=True)
    return body


def test_a_stream_opens_with_the_role_and_closes_with_usage_and_marker() -> None:
    """One id throughout, the role first, usage in a chunk without choices, null in all others, then [DONE]."""
    chunks = stream([START, TextDelta("a"), Finish(FinishReason.STOP), UsageReport(Usage(3, 1)), End()])
    assert chunks[-1] == "[DONE]"
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks[:-1]} == {
        ("msg_1", "up-model", 1700000000)
    }
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:3]] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "a"},
        {},
    ]
    assert [chunk["usage"] for chunk in chunks[:3]] == [None, None, None]
    assert chunks[2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[3]["choices"], chunks[3]["usage"]["total_tokens"]) == ([], 4)


def test_usage_is_left_out_where_nobody_asked() -> None:
    """Without include_usage no chunk mentions usage."""
    chunks = stream([START, TextDelta("a"), Finish(FinishReason.STOP), UsageReport(Usage(3, 1))], include_usage=False)
    assert len(chunks) == 4
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_parallel_tool_calls_keep_their_index() -> None:
    """Interleaved pieces go out under the index of their call; id, type and name come once."""
    chunks = stream(
        [
            START,
            ToolCallStart(0, "a", "f"),
            ToolCallStart(1, "b", "g", extra={"extra_content": {"s": 1}}),
            ToolCallDelta(0, "{}"),
            ToolCallDelta(1, "[]"),
            BlockEnd(),
            Finish(FinishReason.TOOL_CALLS),
        ]
    )
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None, "refusal": None}
    assert [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[1:5]] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {
            "index": 1,
            "id": "b",
            "type": "function",
            "function": {"name": "g", "arguments": ""},
            "extra_content": {"s": 1},
        },
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "function": {"arguments": "[]"}},
    ]
    assert chunks[5]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices_each_get_a_role_and_a_finish() -> None:
    """With n > 1 choices interleave under their own index."""
    chunks = stream(
        [START, TextDelta("a"), TextDelta("b", 1), Finish(FinishReason.STOP), Finish(FinishReason.LENGTH, 1)]
    )
    shown = [(chunk["choices"][0]["index"], chunk["choices"][0]["finish_reason"]) for chunk in chunks[:-1]]
    assert shown == [(0, None), (0, None), (1, None), (1, None), (0, "stop"), (1, "length")]


def test_logprobs_join_the_text_they_belong_to() -> None:
    """Events of one frame: logprobs go into the same chunk as their text."""
    encoder = OpenAIChat().encoder(stream=True, model="m")
    out = encoder.feed([START, TextDelta("a"), Logprobs(LOGPROBS)])
    last = json.loads(out.split(b"\n\n")[-2][6:])
    assert last["choices"][0]["delta"] == {"content": "a"}
    assert last["choices"][0]["logprobs"] == {**LOGPROBS, "refusal": None}


def test_a_unary_answer_holds_everything() -> None:
    """Text, reasoning, calls, logprobs, refusals, finish and usage in one valid body."""
    usage = Usage(10, 5, 4, 2, 1, reasoning=3)
    body = unary(
        [
            START,
            ReasoningDelta("h"),
            ReasoningDelta("m"),
            TextDelta("a"),
            Logprobs(LOGPROBS),
            TextDelta("b"),
            ToolCallStart(0, "x", "f"),
            ToolCallDelta(0, "{"),
            ToolCallDelta(0, "}"),
            Finish(FinishReason.TOOL_CALLS),
            RefusalDelta("no", 1),
            Finish(FinishReason.REFUSAL, 1),
            UsageReport(usage),
            End(),
        ]
    )
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "ab",
                "refusal": None,
                "reasoning_content": "hm",
                "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "logprobs": {**LOGPROBS, "refusal": None},
            "finish_reason": "tool_calls",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "refusal": "no"},
            "logprobs": None,
            "finish_reason": "content_filter",
        },
    ]
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "audio_tokens": 0, "cache_write_tokens": 3}
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
    assert body["usage"]["total_tokens"] == 15


def test_an_answer_without_content_is_an_empty_text() -> None:
    """Nothing said is content "", not null; what the wire does not tell is made up: id, time, model."""
    body = unary([Start(), Finish(FinishReason.STOP)])
    assert body["choices"][0]["message"]["content"] == ""
    assert body["id"].startswith("chatcmpl-")
    assert body["created"] > 1_600_000_000
    assert body["model"] == "asked-for"


def test_every_finish_reason_has_a_word_that_clients_know() -> None:
    """OpenAI's clients know five words; every neutral reason becomes one of them."""
    for reason in FinishReason:
        assert unary([START, TextDelta("a"), Finish(reason)])["choices"][0]["finish_reason"] in {
            "stop",
            "length",
            "tool_calls",
            "content_filter",
        }


def test_the_old_function_call_comes_back_as_one() -> None:
    """An answer of the functions interface keeps its shape and its finish reason."""
    events = [
        START,
        ToolCallStart(0, "made-up", "f", extra={"function_call": True}),
        ToolCallDelta(0, "{}"),
        Finish(FinishReason.TOOL_CALLS),
    ]
    choice = unary(events)["choices"][0]
    assert (choice["message"]["function_call"], choice["finish_reason"]) == (
        {"name": "f", "arguments": "{}"},
        "function_call",
    )
    chunks = stream(events)
    assert chunks[1]["choices"][0]["delta"] == {"function_call": {"name": "f", "arguments": ""}}
    assert chunks[3]["choices"][0]["finish_reason"] == "function_call"


def test_custom_calls_audio_and_annotations_survive() -> None:
    """What only OpenAI has comes back in OpenAI's shape."""
    annotation = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}
    audio = {"id": "au", "data": "QQ==", "expires_at": 5, "transcript": "hi"}
    body = unary(
        [
            START,
            ToolCallStart(0, "x", "calc", extra={"custom": True}),
            ToolCallDelta(0, "4 + 4"),
            Citation(annotation),
            OtherBlock({"type": "audio", "audio": audio}, "openai_chat"),
            Finish(FinishReason.TOOL_CALLS),
        ]
    )
    message = body["choices"][0]["message"]
    assert message["tool_calls"] == [{"id": "x", "type": "custom", "custom": {"name": "calc", "input": "4 + 4"}}]
    assert (message["annotations"], message["audio"]) == ([annotation], audio)


def test_what_openai_can_not_say_is_named() -> None:
    """Signatures, redacted reasoning, foreign citations and foreign blocks are losses, each named once."""
    events = [
        START,
        ReasoningSignature("s"),
        ReasoningSignature("t", block=1),
        RedactedReasoning("d"),
        Citation({"type": "char_location"}),
        OtherBlock({"type": "server_tool_use"}, "anthropic"),
        TextDelta("a"),
        Finish(FinishReason.STOP),
    ]
    for encoder in (OpenAIChat().encoder(stream=True, model="m"), OpenAIChat().encoder(stream=False, model="m")):
        encoder.feed(events)
        assert encoder.lost == ("thinking.signature", "redacted_thinking", "citations", "server_tool_use")


def test_an_error_event_is_rendered_as_an_error() -> None:
    """A transformed answer that holds an error says so in band."""
    encoder = OpenAIChat().encoder(stream=True, model="m")
    out = encoder.feed([START, TextDelta("a"), ErrorEvent("boom", "overloaded")])
    assert json.loads(out.split(b"\n\n")[-2][6:])["error"]["message"] == "boom"
