"""The OpenAI stream decoder: kinds, summary, termination, and what compatible servers do differently."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import UpstreamBroken, UpstreamError
from headgate.core.event import (
    End,
    Event,
    Finish,
    FinishReason,
    Frame,
    Kind,
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
from headgate.dialects.base import StreamDecoder
from headgate.dialects.openai_chat import OpenAIChat

DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-x"}
    return event({**head, "choices": [choice], **more})


def run(body: bytes) -> tuple[list[Frame], StreamDecoder]:
    decoder = OpenAIChat().stream_decoder()
    return decoder.feed(body) + decoder.end(), decoder


def events_of(frames: list[Frame]) -> list[Event]:
    return [item for frame in frames for item in frame.events]


def test_a_plain_stream_is_preamble_content_finish_usage_marker() -> None:
    """Each event becomes one frame of the right kind, with its bytes, and the summary is filled in."""
    body = (
        chunk({"role": "assistant", "content": "", "refusal": None})
        + chunk({"content": "Hel"})
        + chunk({"content": "lo"})
        + chunk({}, "stop")
        + event({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
        + DONE
    )
    frames, decoder = run(body)
    assert [frame.kind for frame in frames] == [
        Kind.PREAMBLE,
        Kind.CONTENT,
        Kind.CONTENT,
        Kind.FINISH,
        Kind.USAGE,
        Kind.MARKER,
    ]
    assert b"".join(frame.data or b"" for frame in frames) == body
    summary = decoder.summary
    assert (summary.id, summary.model, summary.finish, summary.wire_finish) == (
        "chatcmpl-1",
        "gpt-x",
        FinishReason.STOP,
        "stop",
    )
    assert (summary.usage, summary.content_chars, summary.complete) == (Usage(5, 2), 5, True)
    assert events_of(frames) == [
        Start("chatcmpl-1", "gpt-x", 7),
        TextDelta("Hel"),
        TextDelta("lo"),
        Finish(FinishReason.STOP, wire="stop"),
        UsageReport(Usage(5, 2)),
        End(),
    ]


def test_usage_details_are_read_in_the_neutral_convention() -> None:
    """Cached, reasoning, audio and prediction tokens come out of their details."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 3, "cache_write_tokens": 9},
        "completion_tokens_details": {
            "reasoning_tokens": 20,
            "audio_tokens": 4,
            "accepted_prediction_tokens": 5,
            "rejected_prediction_tokens": 6,
        },
    }
    _, decoder = run(chunk({"content": "x"}, "stop", usage=usage) + DONE)
    assert decoder.summary.usage == Usage(
        100, 50, 40, 9, 0, reasoning=20, audio_input=3, audio_output=4, accepted_prediction=5, rejected_prediction=6
    )


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}, Usage(9, 1, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 5}, Usage(9, 1, 5)),
        ({"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}, Usage(9, 0)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 1,
                "total_tokens": 30,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(9, 21, reasoning=20),
        ),
    ],
)
def test_other_ways_to_count(usage: dict[str, Any], wanted: Usage) -> None:
    """DeepSeek's and Moonshot's cached tokens, nulls, and reasoning beside the completion (xAI)."""
    _, decoder = run(chunk({"content": "x"}, "stop", usage=usage) + DONE)
    assert decoder.summary.usage == wanted


def test_content_and_finish_in_one_chunk_is_content_and_still_finishes() -> None:
    """A chunk that says everything at once commits, and its finish and usage are not missed."""
    frames, decoder = run(chunk({"content": "Hi"}, "length", usage={"prompt_tokens": 1, "completion_tokens": 1}) + DONE)
    assert [frame.kind for frame in frames] == [Kind.CONTENT, Kind.MARKER]
    assert (decoder.summary.finish, decoder.summary.usage) == (FinishReason.LENGTH, Usage(1, 1))


@pytest.mark.parametrize(
    ("delta", "wanted"),
    [
        ({"reasoning_content": "hm"}, ReasoningDelta("hm")),
        ({"reasoning": "hm", "content": None}, ReasoningDelta("hm")),
        ({"thinking": "hm"}, ReasoningDelta("hm")),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, ReasoningDelta("hm")),
        ({"content": [{"type": "text", "text": "hi"}]}, TextDelta("hi")),
        ({"refusal": "no"}, RefusalDelta("no")),
        ({"function_call": {"name": "f"}}, ToolCallStart(0, "call_chatcmpl1_0_0", "f", extra={"function_call": True})),
    ],
)
def test_what_counts_as_content(delta: Any, wanted: Event) -> None:
    """Reasoning under each of its names, Mistral's lists, refusals and the old function call all commit."""
    frames, _ = run(chunk(delta) + chunk({}, "stop") + DONE)
    assert frames[0].kind is Kind.CONTENT
    assert events_of(frames)[1] == wanted


@pytest.mark.parametrize(
    "delta", [{}, {"content": None}, {"content": ""}, {"role": "assistant", "tool_calls": []}, None]
)
def test_what_does_not(delta: Any) -> None:
    """Role frames and empty deltas say nothing that a person would see."""
    frames, _ = run(event({"id": "x", "choices": [{"index": 0, "delta": delta}]}) + chunk({}, "stop") + DONE)
    assert frames[0].kind is Kind.PREAMBLE


def test_the_first_chunk_of_azure_opens_nothing() -> None:
    """Azure begins with an empty id and prompt filter results: the answer's id comes with the next chunk."""
    first = event({"choices": [], "created": 0, "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]})
    frames, decoder = run(first + chunk({"content": "x"}) + chunk({}, "stop", usage=None) + DONE)
    assert frames[0].kind is Kind.PREAMBLE
    assert decoder.summary.id == "chatcmpl-1"
    assert events_of(frames)[0] == Start("chatcmpl-1", "gpt-x", 7)


def test_comments_names_and_crlf_pass() -> None:
    """Comments are preamble frames; CRLF framing and a missing space after the colon change nothing."""
    body = b": OPENROUTER PROCESSING\n\n" + chunk({"content": "a"}) + b"event: message\n" + chunk({}, "stop") + DONE
    body = body.replace(b"\n", b"\r\n").replace(b"data: {", b"data:{")
    frames, decoder = run(body)
    assert [frame.kind for frame in frames] == [Kind.PREAMBLE, Kind.CONTENT, Kind.FINISH, Kind.MARKER]
    assert b"".join(frame.data or b"" for frame in frames) == body
    assert decoder.summary.complete


def call(index: int | None, id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    piece: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if index is not None:
        piece["index"] = index
    if id is not None:
        piece["id"] = id
    return piece


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(
            [
                call(0, "a", "f", ""),
                call(0, None, None, "{1"),
                call(1, "b", "g", ""),
                call(0, None, None, "}"),
                call(1, None, None, "{}"),
            ],
            id="interleaved",
        ),
        pytest.param([call(None, "a", "f", "{1}"), call(None, "b", "g", "{}")], id="no index, whole arguments"),
        pytest.param([call(0, "a", "f", "{1}"), call(0, "b", "g", "{}")], id="one index for all"),
        pytest.param(
            [call(0, "a", "f", "{1"), call(0, "a", "f", "}"), call(1, "b", "g", "{}")], id="id and name repeated"
        ),
        pytest.param(
            [call(0, "a", "f", "{1"), call(0, "zz", None, "}"), call(1, "b", "g", "{}")], id="fresh id each time"
        ),
        pytest.param([call(0, "a", "f", ""), call(0, None, "", "{1}"), call(1, "b", "g", "{}")], id="empty name later"),
        pytest.param([call(1, "a", "f", "{1}"), call(5, "b", "g", "{}")], id="indexes with gaps"),
        pytest.param(
            [call(None, "a", "f", "{1"), call(None, None, None, "}"), call(None, "b", "g", "{}")], id="no index, pieces"
        ),
    ],
)
def test_tool_calls_come_out_as_two(pieces: list[dict[str, Any]]) -> None:
    """However a server numbers and splits them, two calls are two calls, each with its own arguments."""
    body = b"".join(chunk({"tool_calls": [piece]}) for piece in pieces) + chunk({}, "tool_calls") + DONE
    frames, decoder = run(body)
    assert all(frame.kind is Kind.CONTENT for frame in frames[:-2])
    found = events_of(frames)
    starts = [item for item in found if isinstance(item, ToolCallStart)]
    assert [(item.index, item.id, item.name) for item in starts] == [(0, "a", "f"), (1, "b", "g")]
    arguments = {0: "", 1: ""}
    for item in found:
        if isinstance(item, ToolCallDelta):
            arguments[item.index] += item.arguments
    assert arguments == {0: "{1}", 1: "{}"}
    assert decoder.summary.content_chars == 5


def test_events_may_be_asked_for_late_and_out_of_order() -> None:
    """Tool calls are numbered as frames come, so decoding them later, backwards, tells the same."""
    pieces = [call(0, "a", "f", "{}"), call(0, "b", "g", "{}")]
    frames, _ = run(b"".join(chunk({"tool_calls": [piece]}) for piece in pieces) + chunk({}, "tool_calls") + DONE)
    assert frames[1].events == [ToolCallStart(1, "b", "g"), ToolCallDelta(1, "{}")]
    assert frames[0].events == [Start("chatcmpl-1", "gpt-x", 7), ToolCallStart(0, "a", "f"), ToolCallDelta(0, "{}")]


def test_missing_ids_arguments_as_objects_and_signatures() -> None:
    """A call without id gets one; arguments sent as an object become JSON text; a thought signature is kept."""
    signature = {"google": {"thought_signature": "s"}}
    piece = {"index": 0, "id": "", "function": {"name": "f", "arguments": {"a": 1}}, "extra_content": signature}
    frames, _ = run(chunk({"tool_calls": [piece]}) + chunk({}, "tool_calls") + DONE)
    start, delta = events_of(frames)[1:3]
    assert start == ToolCallStart(0, "call_chatcmpl1_0_0", "f", extra={"extra_content": signature})
    assert delta == ToolCallDelta(0, '{"a":1}')


def test_several_choices_each_need_their_finish() -> None:
    """With n > 1 a marker before the last choice has finished is a cut."""
    begun = chunk({"content": "a"}) + chunk({"content": "b"}, index=1) + chunk({}, "stop")
    frames, decoder = run(begun + chunk({}, "length", index=1) + DONE)
    assert decoder.summary.finish is FinishReason.STOP
    assert [item.choice for item in events_of(frames) if isinstance(item, TextDelta)] == [0, 1]
    with pytest.raises(UpstreamBroken) as caught:
        OpenAIChat().stream_decoder().feed(DONE)
    assert caught.value.code == "stream_cut"
    decoder = OpenAIChat().stream_decoder()
    assert [frame.kind for frame in decoder.feed(begun + DONE)] == [Kind.CONTENT, Kind.CONTENT, Kind.FINISH]
    assert isinstance(decoder.error, UpstreamBroken)
    with pytest.raises(UpstreamBroken):
        decoder.end()


def test_usage_beside_a_choice_is_no_usage_frame() -> None:
    """Only a chunk that says nothing else may be hidden from who did not ask for usage: never one with a choice."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    frames, decoder = run(
        chunk({"role": "assistant", "content": ""}, usage=usage)
        + chunk({"content": "x"}, "stop")
        + chunk({"role": "assistant", "content": ""}, usage=usage)
        + DONE
    )
    assert [frame.kind for frame in frames] == [Kind.PREAMBLE, Kind.CONTENT, Kind.PREAMBLE, Kind.MARKER]
    assert decoder.summary.usage == Usage(1, 1)


def test_done_after_the_final_usage_counts_without_finish_reason() -> None:
    """OpenRouter forgets finish reasons at times; its usage says that the answer is whole."""
    body = chunk({"tool_calls": [call(0, "a", "f", "{}")]}) + chunk(
        {}, usage={"prompt_tokens": 1, "completion_tokens": 1}
    )
    frames, decoder = run(body + DONE)
    assert decoder.summary.finish is FinishReason.TOOL_CALLS
    assert frames[-1].events == [Finish(FinishReason.TOOL_CALLS), End()]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(chunk({"content": "a"}), id="no finish, no marker"),
        pytest.param(chunk({"content": "a"}, "stop"), id="finish, no marker"),
        pytest.param(chunk({"content": "a"}) + DONE, id="marker, no finish"),
        pytest.param(chunk({"content": "a"}, "stop") + b'data: {"id":"chatcmpl-1","cho', id="inside an event"),
        pytest.param(chunk({"content": "a"}, "stop") + b"data: [DO", id="inside the marker"),
        pytest.param(chunk({"content": "a"}, "") + DONE, id="empty finish reason"),
    ],
)
def test_a_cut_stream_never_looks_whole(body: bytes) -> None:
    """Whatever is missing at the end, end() raises stream_cut, an upstream's fault, sent."""
    decoder = OpenAIChat().stream_decoder()
    with pytest.raises(UpstreamBroken) as caught:
        _ = decoder.feed(body), decoder.end()
    assert (caught.value.code, caught.value.fault, caught.value.sent) == ("stream_cut", "upstream", True)
    assert not decoder.summary.complete


def test_a_marker_without_its_blank_line_is_enough() -> None:
    """Some servers end the body right after [DONE]."""
    frames, decoder = run(chunk({"content": "a"}, "stop") + b"data: [DONE]")
    assert decoder.summary.complete
    assert frames[-1].kind is Kind.MARKER


def test_what_follows_the_marker_has_no_meaning() -> None:
    """Bytes after [DONE] pass without being read."""
    frames, decoder = run(chunk({"content": "a"}, "stop") + DONE + b"data: true\n\n: bye\n\n")
    assert [frame.kind for frame in frames[-2:]] == [Kind.PREAMBLE, Kind.PREAMBLE]
    assert decoder.summary.content_chars == 1


@pytest.mark.parametrize(
    ("wire", "code", "status"),
    [
        (event({"error": {"message": "Rate limit", "type": "rate_limit_error", "code": None}}), "rate_limited", 429),
        (b"event: error\n" + event({"message": "boom"}), "server_error", 500),
        (b"event: error\ndata: it broke\n\n", "server_error", 502),
        (event({"error": {"code": 502, "message": "Provider returned error"}, "choices": []}), "server_error", 502),
        (event({"object": "error", "message": "no memory", "code": 500}), "server_error", 500),
        (event({"error": "overloaded"}), "server_error", 500),
        (event({"error": {"message": "The server is busy", "type": "overloaded_error"}}), "overloaded", 503),
        (event({"error": {"message": "x", "code": "context_length_exceeded"}}), "context_length", 400),
    ],
)
def test_an_error_inside_the_stream(wire: bytes, code: str, status: int) -> None:
    """An error event is an ERROR frame, and the decoder says what to raise, again and again."""
    decoder = OpenAIChat().stream_decoder()
    frames = decoder.feed(chunk({"content": "a"}) + wire + DONE)
    assert [frame.kind for frame in frames] == [Kind.CONTENT, Kind.ERROR]
    assert frames[-1].data == wire
    assert isinstance(decoder.error, UpstreamError)
    assert (decoder.error.code, decoder.error.status, decoder.error.sent) == (code, status, True)
    assert not decoder.summary.complete
    for again in (lambda: decoder.feed(DONE), decoder.end):
        with pytest.raises(UpstreamError):
            again()


def test_malformed_events_break_the_stream_after_the_good_ones() -> None:
    """What came before the malformed event is delivered first, then the error is raised."""
    for bad in (b"data: {nonsense\n\n", b"data: [1,2]\n\n", b'data: {"choices":5}\n\n', b"data: \xff\xfe\n\n"):
        decoder = OpenAIChat().stream_decoder()
        assert len(decoder.feed(chunk({"content": "a"}) + bad)) == 1
        assert decoder.error is not None
        assert decoder.error.code == "malformed_event"
        with pytest.raises(UpstreamBroken):
            decoder.feed(DONE)
        with pytest.raises(UpstreamBroken) as caught:
            OpenAIChat().stream_decoder().feed(bad)
        assert caught.value.code == "malformed_event"


def test_an_event_of_another_answer_breaks_the_stream() -> None:
    """Where an answer's id has stayed the same, content under another id is not passed on."""
    opening = chunk({"role": "assistant", "content": ""})
    decoder = OpenAIChat().stream_decoder()
    frames = decoder.feed(opening + chunk({"content": "a"}) + chunk({"content": "b"}, id="chatcmpl-2"))
    assert [frame.kind for frame in frames] == [Kind.PREAMBLE, Kind.CONTENT]
    with pytest.raises(UpstreamBroken, match="another answer") as broken:
        decoder.feed(DONE)
    assert broken.value.code == "malformed_event"


@pytest.mark.parametrize(
    "ids", [["1", "2", "3"], ["", "1", "1"], ["1", "", "1"], [None, None, None], ["1", None, "1"]], ids=str
)
def test_ids_that_say_nothing_are_let_be(ids: list[str | None]) -> None:
    """Servers that number each chunk anew, or leave ids out here and there, are no splices."""
    body = b"".join(chunk({"content": "a"}, id=id) for id in ids) + chunk({}, "stop", id="9") + DONE
    assert run(body)[1].summary.complete


def test_unusual_types_are_read_leniently() -> None:
    """Numbers as text and NaN or Infinity in logprobs do not break a stream that any client would take."""
    odd = b'data: {"id":"x","choices":[{"index":"0","delta":{"content":"a"},"logprobs":{"content":[-Infinity]}}]}\n\n'
    frames, _ = run(odd + chunk({}, "stop") + DONE)
    assert frames[0].kind is Kind.CONTENT
    found = events_of(frames)
    assert found[1] == TextDelta("a")
    assert isinstance(found[2], Logprobs)


def test_stop_strings_of_vllm_are_stop_sequences() -> None:
    """vLLM's stop_reason names the stop string that matched."""
    body = event({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]})
    frames, decoder = run(body + DONE)
    assert decoder.summary.finish is FinishReason.STOP_SEQUENCE
    assert events_of(frames)[1] == Finish(FinishReason.STOP_SEQUENCE, wire="stop", stop="END")


def _streams(data: pathlib.Path) -> list[bytes]:
    """A few real streams of different character, LF and CRLF."""
    folder = data / "cassettes" / "stream_fixtures"
    names = [
        "groq/src/__fixtures__/groq-tool-call",
        "mistral/src/__fixtures__/mistral-reasoning",
        "xai/src/__fixtures__/xai-tool-call",
    ]
    bodies = []
    for name in [
        *names,
        "openai/src/chat/__fixtures__/azure-model-router.1",
        "perplexity/src/__fixtures__/perplexity-text",
    ]:
        lines = (folder / f"{name}.chunks.txt").read_bytes().splitlines()
        bodies.append(b": hello\n\n" + b"".join(b"data: %b\n\n" % line for line in lines if line) + DONE)
    return bodies + [body.replace(b"\n", b"\r\n") for body in bodies[:2]]


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 6000), max_size=40), which=st.integers(0, 6), short=st.booleans())
def test_chunking_never_matters(shared_data: pathlib.Path, cuts: list[int], which: int, short: bool) -> None:
    """However the bytes of a real stream are cut, the same frames, events, summary and error come out."""
    body = _streams(shared_data)[which]
    if short:
        body = body[: len(body) * 2 // 3]
    assert _outcome(body, sorted(cuts)) == _outcome(body, [])


def _outcome(body: bytes, cuts: list[int]) -> Any:
    decoder = OpenAIChat().stream_decoder()
    frames: list[Frame] = []
    error = ""
    try:
        for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
            frames += decoder.feed(body[start:end])
        frames += decoder.end()
    except UpstreamBroken as broken:
        error = broken.code
    return [(frame.kind, frame.data, list(frame.events)) for frame in frames], decoder.summary, error
