"""The Anthropic stream decoder: kinds, events, and what breaks a stream."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import UpstreamBroken, UpstreamError
from headgate.core.event import (
    BlockEnd,
    Citation,
    End,
    Event,
    Finish,
    FinishReason,
    Frame,
    Kind,
    OtherBlock,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.anthropic import Anthropic

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}},
}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
HELLO = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
STOP0 = {"type": "content_block_stop", "index": 0}
FINISH = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
MARKER = {"type": "message_stop"}
TOOL = {
    "type": "content_block_start",
    "index": 1,
    "content_block": {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
}
STOP1 = {"type": "content_block_stop", "index": 1}


def piece(text: str, index: int = 1) -> dict[str, Any]:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def wire(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def decode(body: bytes, cuts: list[int] | None = None) -> list[Frame]:
    decoder = Anthropic().stream_decoder()
    frames: list[Frame] = []
    edges = [0, *sorted(cuts or []), len(body)]
    for left, right in itertools.pairwise(edges):
        frames += decoder.feed(body[left:right])
    return frames + decoder.end()


def events(*wire_events: dict[str, Any]) -> list[Event]:
    return [event for frame in decode(wire(*wire_events)) for event in frame.events]


WHOLE = (START, TEXT, {"type": "ping"}, HELLO, STOP0, TOOL, piece('{"a":'), piece("1}"), STOP1, FINISH, MARKER)


def test_kinds_and_events_of_a_whole_stream() -> None:
    """Each event has the kind that policy needs and the neutral meaning."""
    frames = decode(wire(*WHOLE))
    kinds = [frame.kind.value for frame in frames]
    assert kinds == [
        "preamble", "preamble", "preamble", "content", "preamble", "content", "content", "content", "preamble",
        "finish", "marker",
    ]  # fmt: skip
    assert [event for frame in frames for event in frame.events] == [
        Start("msg_1", "claude"),
        UsageReport(Usage(3, 1)),
        TextDelta("Hello"),
        BlockEnd(),
        ToolCallStart(0, "toolu_1", "look", 0, 1),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(0, "1}"),
        BlockEnd(block=1),
        Finish(FinishReason.STOP, wire="end_turn"),
        UsageReport(Usage(3, 9)),
        End(),
    ]


def test_summary_while_frames_pass() -> None:
    """The summary merges usage over the events and knows id, model, finish and size."""
    decoder = Anthropic().stream_decoder()
    decoder.feed(wire(*WHOLE[:-1]))
    assert not decoder.summary.complete
    decoder.feed(wire(MARKER))
    summary = decoder.summary
    assert summary.complete
    assert (summary.id, summary.model, summary.finish, summary.wire_finish) == (
        "msg_1",
        "claude",
        FinishReason.STOP,
        "end_turn",
    )
    assert summary.usage == Usage(3, 9)
    assert summary.content_chars == len("Hello") + len('{"a":1}')


@given(st.lists(st.integers(0, len(wire(*WHOLE))), max_size=12))
@settings(max_examples=60)
def test_chunking_never_matters(cuts: list[int]) -> None:
    """Any cuts give the same frames, bytes and events."""
    whole = decode(wire(*WHOLE))
    parts = decode(wire(*WHOLE), cuts)
    assert [(f.kind, f.data, list(f.events)) for f in parts] == [(f.kind, f.data, list(f.events)) for f in whole]


def test_line_ends_may_be_crlf() -> None:
    """Proxies that rewrite line ends do not matter, and their bytes are kept."""
    body = wire(*WHOLE).replace(b"\n", b"\r\n")
    frames = decode(body)
    assert b"".join(frame.data or b"" for frame in frames) == body
    assert frames[-1].kind is Kind.MARKER


def test_thinking_with_signature_and_redacted_thinking() -> None:
    """Thinking, its signature and what only the provider can read all come out, with their blocks."""
    got = events(
        START,
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
        STOP0,
        {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "xx"}},
        STOP1,
        FINISH,
        MARKER,
    )
    assert got[2:7] == [
        ReasoningDelta("Hm"),
        ReasoningSignature("sig"),
        BlockEnd(),
        RedactedReasoning("xx", block=1),
        BlockEnd(block=1),
    ]


def test_citations_and_server_tools() -> None:
    """Citations keep their wire shape; a server tool's block is put together whole."""
    citation = {"type": "char_location", "cited_text": "x"}
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    got = events(
        START,
        TEXT,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}},
        STOP0,
        {"type": "content_block_start", "index": 1, "content_block": use},
        piece('{"query": "q"}'),
        STOP1,
        FINISH,
        MARKER,
    )
    assert Citation(citation) in got
    assert OtherBlock({**use, "input": {"query": "q"}}, "anthropic", 0, 1) in got


def test_a_tool_call_without_arguments_has_an_empty_object() -> None:
    """Anthropic streams nothing, or an empty piece, for a call without arguments; others need ``{}``."""
    for pieces in ([], [piece("")]):
        got = events(START, TOOL, *pieces, STOP1, FINISH, MARKER)
        assert ToolCallDelta(0, "{}") in got


def test_usage_with_cache_of_both_lifetimes() -> None:
    """Cache reads and writes join the neutral input; a delta that has only their sum keeps the parts."""
    start = json.loads(json.dumps(START))
    start["message"]["usage"] = {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    }
    finish = {**FINISH, "usage": {"output_tokens": 20, "cache_creation_input_tokens": 7}}
    assert events(start, TEXT, HELLO, STOP0, finish, MARKER)[-2] == UsageReport(Usage(22, 20, 5, 3, 4))


def test_unknown_events_and_deltas_pass() -> None:
    """What a newer API sends goes through as it came."""
    new = {"type": "telemetry", "delta": "not an object"}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "sparkle_delta", "sparkle": 1}}
    frames = decode(wire(START, new, TEXT, delta, HELLO, STOP0, FINISH, MARKER))
    assert [frame.kind for frame in frames][1:4] == [Kind.PREAMBLE, Kind.PREAMBLE, Kind.CONTENT]
    assert not frames[1].events
    assert not frames[3].events


def test_a_repeated_message_start_is_harmless() -> None:
    """The same message announced twice before any content says nothing new."""
    assert events(START, START, TEXT, HELLO, STOP0, FINISH, MARKER).count(Start("msg_1", "claude")) == 1


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ((START, TEXT, HELLO, STOP0), "stream_cut"),
        ((START, TEXT, HELLO, STOP0, FINISH), "stream_cut"),
        ((START, TEXT, HELLO, STOP0, MARKER), "stream_cut"),
        ((START, TOOL, piece('{"a"'), FINISH, MARKER), "malformed_event"),
        ((START, piece("{}"), FINISH, MARKER), "malformed_event"),
        ((START, TOOL, STOP1, piece("{}"), FINISH, MARKER), "malformed_event"),
        ((START, TEXT, HELLO, START), "malformed_event"),
        ((START, TEXT, HELLO, TEXT), "malformed_event"),
        ((TEXT, HELLO), "malformed_event"),
        ((START, {"type": "content_block_delta", "index": 0}), "malformed_event"),
        ((START, TEXT, HELLO, STOP0, FINISH, MARKER, HELLO), "malformed_event"),
    ],
)
def test_broken_streams(stream: tuple[dict[str, Any], ...], code: str) -> None:
    """A stream that ends early, or that would be mixed up, never looks like success."""
    with pytest.raises(UpstreamBroken) as caught:
        decode(wire(*stream))
    assert caught.value.code == code


def test_good_frames_before_a_broken_event_come_out() -> None:
    """An error in the same chunk does not swallow what came before it; the next call raises it."""
    decoder = Anthropic().stream_decoder()
    frames = decoder.feed(wire(START, TEXT, HELLO) + b"event: x\ndata: {nonsense\n\n")
    assert len(frames) == 3
    assert isinstance(decoder.error, UpstreamBroken)
    with pytest.raises(UpstreamBroken):
        decoder.feed(b"")


def test_an_error_event_ends_the_stream() -> None:
    """An error inside a 200 is an ERROR frame and the decoder's error, never a finish."""
    decoder = Anthropic().stream_decoder()
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    frames = decoder.feed(wire(START, TEXT, HELLO, error, STOP0))
    assert [frame.kind for frame in frames][-1] is Kind.ERROR
    assert isinstance(decoder.error, UpstreamError)
    assert (decoder.error.code, decoder.error.status) == ("overloaded", 529)
    with pytest.raises(UpstreamError):
        decoder.end()


def test_a_message_start_that_brings_its_content() -> None:
    """Container turns come as one message_start with blocks and finish, then the marker."""
    start = json.loads(json.dumps(START))
    start["message"]["content"] = [{"type": "tool_use", "id": "t", "name": "roll", "input": {"p": 1}}]
    start["message"]["stop_reason"] = "tool_use"
    got = events(start, MARKER)
    assert ToolCallDelta(0, '{"p":1}') in got
    assert Finish(FinishReason.TOOL_CALLS, wire="tool_use") in got


def test_a_last_event_without_its_blank_line() -> None:
    """A server that closes right after message_stop has said all."""
    assert decode(wire(START, TEXT, HELLO, STOP0, FINISH, MARKER).rstrip(b"\n"))[-1].kind is Kind.MARKER
