"""Every recorded Anthropic exchange goes through the anthropic dialect, and through it and back, unharmed."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
from typing import Any

import anthropic.types
import pydantic
import pytest

from headgate.core.errors import UpstreamBroken
from headgate.core.event import Event, FinishReason, Frame, Kind, Summary
from headgate.core.usage import Usage
from headgate.dialects.anthropic import Anthropic


def _load(name: str) -> Any:
    """Loads a helper module from beside this file: pytest's importlib mode has no package to import it from."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


recordings = _load("recordings")
ANTHROPIC = Anthropic()
EVENTS: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)
BROKEN = "spliced-message-start.chunks.txt#0"
FINISHES = {
    "end_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "pause_turn": FinishReason.PAUSE,
    "refusal": FinishReason.REFUSAL,
    "compaction": FinishReason.OTHER,
}


def decode(body: bytes, stream: bool, cut: int = 0) -> tuple[list[Frame], Summary]:
    """Decodes an answer, fed in pieces of ``cut`` bytes (0: at once)."""
    if not stream:
        frame, summary = ANTHROPIC.read_answer(body)
        return [frame], summary
    decoder = ANTHROPIC.stream_decoder()
    frames: list[Frame] = []
    for at in range(0, len(body), cut or len(body)):
        frames += decoder.feed(body[at : at + (cut or len(body))])
    return frames + decoder.end(), decoder.summary


def encode(events: list[list[Event]], stream: bool) -> bytes:
    encoder = ANTHROPIC.encoder(stream=stream, model="asked-for")
    out = b"".join(encoder.feed(some) for some in events) + encoder.end()
    assert encoder.lost == ()
    return out


def tidy(value: Any) -> Any:
    """Drops nulls: on this wire they say what absence says."""
    if isinstance(value, dict):
        return {key: tidy(item) for key, item in value.items() if item is not None}
    return [tidy(item) for item in value] if isinstance(value, list) else value


def by_hand(body: bytes) -> dict[str, Any]:
    """What an independent, slow reading of a stream adds up to, as a unary body."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        event = json.loads(line[5:])
        match event["type"]:
            case "message_start" if not message:
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                delta, block = event["delta"], message["content"][event["index"]]
                match delta["type"]:
                    case "input_json_delta":
                        inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
                    case "citations_delta":
                        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = block.get("signature", "") + delta["signature"]
                    case "compaction_delta":
                        block["content"] = delta["content"]
            case "message_delta":
                message.update(event["delta"])
                message["usage"].update({k: v for k, v in event.get("usage", {}).items() if v is not None})
                if "context_management" in event:
                    message["context_management"] = event["context_management"]
    for index, text in inputs.items():
        if text:
            message["content"][index]["input"] = json.loads(text)
    return message


def usage_by_hand(wire: dict[str, Any]) -> tuple[int, int, int, int]:
    written, read = wire.get("cache_creation_input_tokens") or 0, wire.get("cache_read_input_tokens") or 0
    return wire["input_tokens"] + written + read, wire["output_tokens"], read, written


def check(name: str, body: bytes, stream: bool) -> None:
    frames, summary = decode(body, stream)
    assert b"".join(frame.data or b"" for frame in frames) == body, name
    wire = by_hand(body) if stream else json.loads(body)
    usage = summary.usage
    assert isinstance(usage, Usage)
    written = usage.cache_write + usage.cache_write_1h
    assert (usage.input, usage.output, usage.cached, written) == usage_by_hand(wire["usage"]), name
    assert summary.wire_finish == wire["stop_reason"]
    assert summary.finish is FINISHES[wire["stop_reason"]]
    assert summary.complete
    assert (summary.id, summary.model) == (wire["id"], wire["model"])
    if stream:
        assert frames[-1].kind is Kind.MARKER
    check_encoded(name, wire, [list(frame.events) for frame in frames], summary)


def check_encoded(name: str, wire: dict[str, Any], events: list[list[Event]], summary: Summary) -> None:
    """Both renderings of the neutral events equal the recording, but for counts that have no neutral form."""
    unary = encode(events, stream=False)
    streamed = encode(events, stream=True)
    if sdk_takes(wire):
        assert sdk_takes(json.loads(unary)), name
        for line in streamed.splitlines():
            if line.startswith(b"data: "):
                EVENTS.validate_json(line[6:])
    for body, kind in ((unary, False), (streamed, True)):
        _, again = decode(body, kind)
        assert (again.usage, again.finish, again.wire_finish) == (summary.usage, summary.finish, summary.wire_finish)
        got, want = tidy(by_hand(body) if kind else json.loads(body)), tidy(wire)
        got.pop("usage"), want.pop("usage")
        for block in want["content"]:
            if block["type"] == "text" and block.get("citations") == []:
                del block["citations"]
            if block["type"] == "thinking":
                block.setdefault("signature", "")
        want["content"] = [block for block in want["content"] if block != {"type": "text", "text": ""}]
        assert got == want, name


def sdk_takes(message: dict[str, Any]) -> bool:
    """Whether the official SDK's type knows all of a message; some recordings have blocks of its beta only."""
    try:
        anthropic.types.Message.model_validate(message)
    except pydantic.ValidationError:
        return False
    return True


def test_every_recorded_answer(shared_data: pathlib.Path) -> None:
    """A recorded 2xx answer decodes to what it says, its bytes kept, and renders back to the same."""
    seen = 0
    for one in recordings.messages_exchanges(shared_data):
        if one.status == 200:
            check(one.name, one.body, one.stream)
            seen += 1
    assert seen > 100


def test_every_fixture(shared_data: pathlib.Path) -> None:
    """The same for the fixtures, which have server tools, citations, compaction, containers and refusals."""
    seen = 0
    for name, body, stream in recordings.anthropic_fixtures(shared_data):
        if name != BROKEN:
            check(name, body, stream)
            seen += 1
    assert seen > 50


def test_a_spliced_stream_is_refused(shared_data: pathlib.Path) -> None:
    """A second message in the middle of the first would corrupt its tool call: the stream is broken, not mixed."""
    for name, body, stream in recordings.anthropic_fixtures(shared_data):
        if name == BROKEN:
            with pytest.raises(UpstreamBroken) as caught:
                decode(body, stream)
            assert caught.value.code == "malformed_event"
            return
    pytest.fail("the fixture is gone")


@pytest.mark.parametrize("cut", [1, 7, 64, 1500])
def test_chunking_never_matters(shared_data: pathlib.Path, cut: int) -> None:
    """However a stream's bytes are cut, the same frames with the same events come out."""
    chosen = [one for one in recordings.messages_exchanges(shared_data) if one.status == 200 and one.stream][::9]
    for one in chosen:
        whole, first = decode(one.body, True)
        parts, second = decode(one.body, True, cut)
        assert [(f.kind, f.data, list(f.events)) for f in parts] == [(f.kind, f.data, list(f.events)) for f in whole]
        assert first == second


def test_every_recorded_request(shared_data: pathlib.Path) -> None:
    """A recorded request survives the way through the neutral conversation with nothing lost."""
    seen = 0
    for one in recordings.messages_exchanges(shared_data):
        if one.status != 200:
            continue
        conversation = ANTHROPIC.read_request(ANTHROPIC.view(one.request))
        encoded = ANTHROPIC.write_request(conversation, max_tokens_field="max_tokens", stream_usage=True)
        assert encoded.lost == ()
        assert plain_request(json.loads(encoded.body)) == plain_request(json.loads(one.request)), one.name
        seen += 1
    assert seen > 100


def plain_request(request: dict[str, Any]) -> dict[str, Any]:
    """Spells out what the wire lets people abbreviate, so that equal requests compare equal."""
    request = tidy(request)
    if request.get("system") == []:
        del request["system"]
    if "system" in request:
        request["system"] = blocks(request["system"])
    turns: list[dict[str, Any]] = []
    for message in request["messages"]:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += blocks(message["content"])
        else:
            turns.append({"role": message["role"], "content": blocks(message["content"])})
    request["messages"] = turns
    if "output_format" in request:
        request.setdefault("output_config", {})["format"] = request.pop("output_format")
    if "format" in request.get("output_config", {}):
        request["output_config"]["format"].setdefault("type", "json_schema")
    if request.get("stream") is False:
        del request["stream"]
    return request


def blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    spelled = []
    for block in content:
        if block["type"] == "tool_result":
            block = {key: value for key, value in block.items() if key != "is_error" or value}
            if "content" in block:
                block["content"] = blocks(block["content"])
        spelled.append(block)
    return spelled


def test_recorded_errors(shared_data: pathlib.Path) -> None:
    """Recorded error answers are classified, and no credential problem of ours reaches the caller in full."""
    codes = {}
    for one in recordings.messages_exchanges(shared_data):
        if one.status >= 400:
            error = ANTHROPIC.read_error(one.status, one.headers, one.body)
            codes[one.status] = error.code
            if error.code == "auth":
                assert error.body == b""
            else:
                assert ANTHROPIC.error_body(error, one.status, "hg_1") == one.body
    assert codes == {400: "invalid_request", 401: "auth"}
