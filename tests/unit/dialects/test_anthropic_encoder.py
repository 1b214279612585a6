"""The Anthropic encoders: blocks in order, whatever order the events came in."""

from __future__ import annotations

import itertools
import json
from typing import Any

import anthropic.types
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.event import (
    End,
    ErrorEvent,
    Event,
    Finish,
    FinishReason,
    Logprobs,
    OtherBlock,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.anthropic import Anthropic

START = Start("chatcmpl-1", "gpt")
TOOLS = Finish(FinishReason.TOOL_CALLS)
USAGE = UsageReport(Usage(10, 5, 2, 1, 3, 4))


def stream(*events: Event) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    encoder = Anthropic().encoder(stream=True, model="asked")
    body = b"".join(encoder.feed([event]) for event in events) + encoder.end()
    parsed = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        parsed.append(event)
    return parsed, encoder.lost


def unary(*events: Event) -> tuple[dict[str, Any], tuple[str, ...]]:
    encoder = Anthropic().encoder(stream=False, model="asked")
    assert encoder.feed(events) == b""
    body = encoder.end()
    anthropic.types.Message.model_validate_json(body)
    return json.loads(body), encoder.lost


def summed(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Adds a stream up to (name or kind, text) by block, checking that blocks never interleave."""
    blocks: list[tuple[str, str]] = []
    opened = False
    for event in events:
        if event["type"] == "content_block_start":
            assert not opened
            assert event["index"] == len(blocks)
            opened = True
            blocks.append((event["content_block"].get("name", event["content_block"]["type"]), ""))
        elif event["type"] == "content_block_delta":
            assert opened
            assert event["index"] == len(blocks) - 1
            delta = event["delta"]
            text = delta.get("text", "") + delta.get("partial_json", "") + delta.get("thinking", "")
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + text)
        elif event["type"] == "content_block_stop":
            assert opened
            opened = False
    assert not opened
    return blocks


def test_a_plain_stream() -> None:
    """Start, one block, finish and usage together, marker, once each."""
    events, lost = stream(
        START, TextDelta("Hel"), TextDelta("lo"), Finish(FinishReason.LENGTH), UsageReport(Usage(7, 2)), End()
    )
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert events[0]["message"]["id"] == "chatcmpl-1"
    assert events[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (7, 2)
    assert lost == ()


def test_kinds_open_and_close_blocks() -> None:
    """Reasoning, text and a tool call become three blocks in a row."""
    events, _ = stream(
        START, ReasoningDelta("hm"), TextDelta("so"), ToolCallStart(0, "c", "f"), ToolCallDelta(0, '{"a":1}'), TOOLS
    )
    assert summed(events) == [("thinking", "hm"), ("text", "so"), ("f", '{"a":1}')]


def test_interleaved_tool_calls_are_written_one_after_the_other() -> None:
    """OpenAI may interleave the pieces of parallel calls; here the later call waits for the first."""
    events, lost = stream(
        START,
        ToolCallStart(0, "c0", "f0"),
        ToolCallStart(1, "c1", "f1"),
        ToolCallDelta(1, '{"b":'),
        ToolCallDelta(0, '{"a":'),
        TextDelta("meanwhile"),
        ToolCallDelta(0, "1}"),
        ToolCallDelta(1, "2}"),
        TOOLS,
        End(),
    )
    assert summed(events) == [("f0", '{"a":1}'), ("f1", '{"b":2}'), ("text", "meanwhile")]
    assert lost == ()


def test_sequential_tool_calls_do_not_wait_for_the_end() -> None:
    """A call whose arguments are whole makes way as soon as the next one begins."""
    encoder = Anthropic().encoder(stream=True, model="m")
    encoder.feed([START, ToolCallStart(0, "c0", "f0"), ToolCallDelta(0, '{"a":1}')])
    out = encoder.feed([ToolCallStart(1, "c1", "f1")])
    assert b'"index":0' in out
    assert b'"name":"f1"' in out


@given(st.data())
@settings(max_examples=50)
def test_any_interleaving_of_calls_adds_up(data: st.DataObject) -> None:
    """However the pieces of parallel calls are shuffled, each call's arguments come out whole and in order."""
    texts = ['{"city":"Paris","n":[1,2]}', '{"q":"}{"}', "{}"]
    queues: list[list[Event]] = []
    for index, text in enumerate(texts):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        edges = [0, *cuts, len(text)]
        pieces = [ToolCallDelta(index, text[a:b]) for a, b in itertools.pairwise(edges)]
        queues.append([ToolCallStart(index, f"c{index}", f"f{index}"), *pieces])
    mixed: list[Event] = [START]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        mixed.append(queue.pop(0))
    events, lost = stream(*mixed, TOOLS, End())
    assert sorted(summed(events)) == [(f"f{index}", text) for index, text in enumerate(texts)]
    assert lost == ()
    body, _ = unary(*mixed, TOOLS, End())
    assert {block["name"]: block["input"] for block in body["content"]} == {
        f"f{index}": json.loads(text) for index, text in enumerate(texts)
    }


def test_usage_convention() -> None:
    """Cache reads and writes leave the neutral input and stand beside it."""
    body, _ = unary(START, TextDelta("x"), Finish(FinishReason.STOP), USAGE)
    assert body["usage"] == {
        "input_tokens": 4,
        "cache_creation_input_tokens": 4,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 4},
    }


def test_usage_that_comes_with_the_start_goes_into_message_start() -> None:
    """message_start carries what is known when its frame ends."""
    encoder = Anthropic().encoder(stream=True, model="m")
    out = encoder.feed([START, UsageReport(Usage(7, 1))])
    assert b'"input_tokens":7' in out


def test_malformed_arguments_are_loud() -> None:
    """Arguments that are no object have no place in a unary body: an empty input, named as lost."""
    for text in ('{"a":', "[1]", "free text"):
        body, lost = unary(START, ToolCallStart(0, "c", "f"), ToolCallDelta(0, text), TOOLS)
        assert body["content"][0]["input"] == {}
        assert lost == ("tool_calls[0].arguments",)


def test_no_arguments_are_an_empty_object() -> None:
    """A call without any arguments is a call with none."""
    body, lost = unary(START, ToolCallStart(0, "c", "f"), TOOLS)
    assert body["content"] == [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]
    assert lost == ()


def test_what_has_no_place_is_named() -> None:
    """Other choices, log-probabilities, foreign blocks and a refusal's own place are lost by name."""
    body, lost = unary(
        START,
        TextDelta("a"),
        TextDelta("b", choice=1),
        Logprobs({"content": []}),
        OtherBlock({"type": "audio"}, "openai_chat"),
        RefusalDelta("no"),
        Finish(FinishReason.STOP),
        Finish(FinishReason.STOP, choice=1),
    )
    assert [block["text"] for block in body["content"]] == ["a", "no"]
    assert lost == ("choices[1]", "logprobs", "audio", "refusal")
    assert body["stop_reason"] == "end_turn"


def test_finish_words() -> None:
    """Each neutral reason has Anthropic's word; what has none is ``end_turn``, loudly."""
    words = {
        FinishReason.STOP: "end_turn",
        FinishReason.LENGTH: "max_tokens",
        FinishReason.TOOL_CALLS: "tool_use",
        FinishReason.CONTENT_FILTER: "refusal",
        FinishReason.REFUSAL: "refusal",
        FinishReason.PAUSE: "pause_turn",
        FinishReason.CONTEXT_LENGTH: "model_context_window_exceeded",
    }
    for reason, word in words.items():
        body, lost = unary(START, Finish(reason))
        assert (body["stop_reason"], lost) == (word, ())
    body, _ = unary(START, Finish(FinishReason.STOP_SEQUENCE, stop="END"))
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")
    assert unary(START, Finish(FinishReason.OTHER, wire="odd"))[1] == ("finish_reason",)


def test_an_error_in_band() -> None:
    """An error event inside an answer is rendered as one."""
    out = Anthropic().encoder(stream=True, model="m").feed([START, ErrorEvent("Busy", "overloaded")])
    assert out.endswith(b'"overloaded_error","message":"Busy"},"request_id":null}\n\n')
