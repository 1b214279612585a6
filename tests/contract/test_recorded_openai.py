"""Every recorded OpenAI-shaped chat exchange goes through the dialect, and through it and back, unharmed."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
from collections import defaultdict
from typing import Any

import jsonschema
import pytest
import yaml
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headgate.core.errors import UpstreamBroken, UpstreamError
from headgate.core.event import FinishReason, Frame, Kind, Summary
from headgate.dialects.openai_chat import OpenAIChat
from headgate.dialects.openai_chat.wire import finish_word


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
OPENAI = OpenAIChat()
WORDS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
FIXTURES = ["alibaba", "azure", "deepseek", "groq", "mistral", "moonshotai", "openai-compatible", "openai"]
FIXTURES += ["perplexity", "togetherai", "xai"]


def decode(body: bytes, stream: bool) -> tuple[list[Frame], Summary]:
    if not stream:
        frame, summary = OPENAI.read_answer(body)
        return [frame], summary
    decoder = OPENAI.stream_decoder()
    frames = decoder.feed(body) + decoder.end()
    assert decoder.error is None
    return frames, decoder.summary


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    """The JSON events of a stream, read slowly and independently of the decoder."""
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    return [json.loads(line) for line in lines if line and line != b"[DONE]"]


def add_message(message: dict[str, Any], whole: dict[str, Any]) -> None:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    whole["text"] += content
    whole["refusal"] += message.get("refusal") or ""
    whole["reasoning"] += message.get("reasoning_content") or message.get("reasoning") or ""
    for position, call in enumerate(message.get("tool_calls") or ()):
        slot = whole["calls"].setdefault(call.get("index", position), ["", ""])
        called = call.get("function") or call["custom"]
        slot[0] = slot[0] or called.get("name") or ""
        slot[1] += called.get("arguments") or called.get("input") or ""
    if message.get("function_call"):
        slot = whole["calls"].setdefault(-1, ["", ""])
        slot[0] = slot[0] or message["function_call"].get("name") or ""
        slot[1] += message["function_call"].get("arguments") or ""


def by_hand(body: bytes, stream: bool) -> dict[str, Any]:
    """What an independent reading of the body adds up to: texts, calls and finish by choice, and usage."""
    choices: dict[int, dict[str, Any]] = defaultdict(
        lambda: {"text": "", "refusal": "", "reasoning": "", "calls": {}, "finish": None}
    )
    usage = None
    for value in chunks_of(body) if stream else [json.loads(body)]:
        usage = value.get("usage") or (value.get("x_groq") or {}).get("usage") or usage
        for choice in value.get("choices") or ():
            whole = choices[choice["index"]]
            add_message(choice.get("delta") or choice.get("message") or {}, whole)
            whole["finish"] = choice.get("finish_reason") or whole["finish"]
            if "finish_details" in choice:
                whole["finish"] = choice["finish_details"]["type"]
    if usage is not None:
        usage = (usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
    return {"choices": dict(choices), "usage": usage}


def answered(data: pathlib.Path, stream: bool) -> list[Any]:
    """The recorded 2xx answers; an empty body or an error inside a 200 is none."""
    found = [one for one in recordings.chat_exchanges(data) if one.status == 200 and one.stream == stream]
    return [one for one in found if b'"choices"' in one.body]


def fixtures(data: pathlib.Path) -> list[tuple[str, bytes]]:
    """Chat streams of many providers, their framing put back."""
    found = []
    for provider in FIXTURES:
        for path in sorted((data / "cassettes" / "stream_fixtures" / provider).rglob("*.chunks.txt")):
            lines = [line for line in path.read_bytes().splitlines() if line.strip()]
            if b'"choices"' in lines[0] and b'"text_completion"' not in lines[0]:
                body = b"".join(b"data: %b\n\n" % line for line in lines) + b"data: [DONE]\n\n"
                found.append((path.name, body))
    return found


@pytest.fixture(scope="module")
def schemas(shared_data: pathlib.Path) -> Any:
    """A function that checks a value against OpenAI's own description of it."""
    with open(shared_data / "specs" / "openai.openapi.yaml", "rb") as file:
        document = yaml.load(file, yaml.CSafeLoader)
    made: dict[str, Any] = {}

    def check(value: Any, name: str) -> None:
        if name not in made:
            made[name] = jsonschema.Draft202012Validator(
                {"$ref": f"#/components/schemas/{name}", "components": _nullable(document["components"])}
            )
        made[name].validate(value)

    return check


def _nullable(value: Any) -> Any:
    """Rewrites OpenAPI 3.0's ``nullable``, which the file still uses, as JSON Schema."""
    if isinstance(value, list):
        return [_nullable(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: _nullable(item) for key, item in value.items() if key != "nullable"}
    return {"anyOf": [tidy, {"type": "null"}]} if value.get("nullable") is True else tidy


@pytest.mark.parametrize("stream", [True, False])
def test_frames_and_summary_tell_what_the_recording_says(shared_data: pathlib.Path, stream: bool) -> None:
    """Frames hold the body byte for byte; id, finish and usage are the recording's."""
    found = answered(shared_data, stream)
    assert len(found) > 150
    for one in found:
        frames, summary = decode(one.body, stream)
        assert b"".join(frame.data or b"" for frame in frames) == one.body, one.name
        assert summary.complete, one.name
        wanted = by_hand(one.body, stream)
        word = wanted["choices"][0]["finish"]
        assert summary.wire_finish == (word or ""), one.name
        missing = FinishReason.TOOL_CALLS if wanted["choices"][0]["calls"] else FinishReason.OTHER
        assert summary.finish == WORDS.get(word, missing), one.name
        got = None if summary.usage is None else (summary.usage.input, summary.usage.output)
        assert got == wanted["usage"], one.name
        if stream:
            assert frames[-1].kind is Kind.MARKER, one.name


@pytest.mark.parametrize("stream", [True, False])
def test_events_encode_to_the_same_answer(shared_data: pathlib.Path, schemas: Any, stream: bool) -> None:
    """Text, reasoning, refusals, tool calls, finish and usage survive decoding and encoding; the result is valid."""
    for one in answered(shared_data, stream):
        frames, summary = decode(one.body, stream)
        encoder = OPENAI.encoder(stream=stream, model="asked-for", include_usage=True)
        out = b"".join(encoder.feed(frame.events) for frame in frames) + encoder.end()
        assert encoder.lost == (), one.name
        wanted, got = by_hand(one.body, stream), by_hand(out, stream)
        for index, choice in wanted["choices"].items():
            if isinstance(choice["finish"], str) and choice["finish"] not in ("function_call", "content_filter"):
                choice["finish"] = finish_word(WORDS[choice["finish"]])
            if choice["finish"] is None:
                choice["finish"] = "tool_calls" if choice["calls"] else "stop"
            if "mistral" not in one.provider:  # whose thinking stands in lists, which by_hand does not read
                assert got["choices"][index] == choice, one.name
            assert got["choices"][index]["text"] == choice["text"], one.name
        assert got["usage"] == wanted["usage"], one.name
        _validate(out, stream, schemas, summary.id)


def _validate(out: bytes, stream: bool, schemas: Any, id: str) -> None:
    if not stream:
        ChatCompletion.model_validate_json(out, strict=True)
        schemas(json.loads(out), "CreateChatCompletionResponse")
        return
    chunks = chunks_of(out)
    assert {chunk["id"] for chunk in chunks} == {id}
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    for chunk in (chunks[0], chunks[1], chunks[-2], chunks[-1]):
        schemas(chunk, "CreateChatCompletionStreamResponse")


def test_fixture_streams_decode_and_encode(shared_data: pathlib.Path) -> None:
    """Streams of many compatible providers decode, and come out again as the same valid OpenAI answer."""
    found = fixtures(shared_data)
    assert len(found) > 20
    for name, body in found:
        frames, summary = decode(body, True)
        assert summary.complete, name
        assert summary.usage is not None, name
        encoder = OPENAI.encoder(stream=True, model="asked-for")
        out = b"".join(encoder.feed(frame.events) for frame in frames) + encoder.end()
        wanted, got = by_hand(body, True), by_hand(out, True)
        for choice in (*wanted["choices"].values(), *got["choices"].values()):
            choice.pop("reasoning")
        assert got["choices"] == wanted["choices"], name
        for chunk in chunks_of(out):
            ChatCompletionChunk.model_validate(chunk, strict=True)


def test_reasoning_beside_the_completion_counts_as_output(shared_data: pathlib.Path) -> None:
    """Where the total says that reasoning tokens were left out of the completion (xAI), they are added."""
    body = dict(fixtures(shared_data))["xai-text.chunks.txt"]
    _, summary = decode(body, True)
    usage = chunks_of(body)[-1]["usage"]
    assert summary.usage is not None
    assert summary.usage.input + summary.usage.output == usage["total_tokens"]


def test_recorded_requests_read_and_write_back(shared_data: pathlib.Path) -> None:
    """Every recorded request reads into the neutral form, and writing it again in its own dialect loses nothing."""
    count = 0
    for one in recordings.chat_exchanges(shared_data):
        asked = json.loads(one.request) if one.request.strip() else {}
        if not asked.get("model") or "functions" in asked:
            continue
        view = OPENAI.view(one.request)
        written = OPENAI.write_request(
            OPENAI.read_request(view),
            max_tokens_field="max_tokens" if "max_tokens" in asked else "max_completion_tokens",
            stream_usage=view.include_usage,
        )
        assert written.lost == (), one.name
        assert json.loads(written.body) == _normal(asked), one.name
        count += 1
    assert count > 600


def _normal(asked: dict[str, Any]) -> dict[str, Any]:
    """A request without what says nothing: nulls, defaults, arrays of one plain text."""
    normal = {key: value for key, value in asked.items() if value is not None and value != []}
    for key, default in (("stream", False), ("n", 1)):
        if normal.get(key) == default:
            del normal[key]
    if isinstance(normal.get("stop"), str):
        normal["stop"] = [normal["stop"]]
    if normal.get("stream_options") == {"include_usage": False}:
        del normal["stream_options"]
    if not normal.get("tools"):
        normal.pop("tool_choice", None)
        normal.pop("parallel_tool_calls", None)
    if normal.get("tool_choice") == "any":  # Mistral's word
        normal["tool_choice"] = "required"
    normal["messages"] = [_normal_message(message) for message in asked["messages"]]
    for index, tool in enumerate(normal.get("tools", ())):
        if tool.get("type") == "function":
            function = {key: value for key, value in tool["function"].items() if value is not None and value != []}
            normal["tools"][index] = {**tool, "function": function}
    if "response_format" in normal and normal["response_format"]["type"] == "json_schema":
        schema = normal["response_format"]["json_schema"]
        normal["response_format"]["json_schema"] = {k: v for k, v in schema.items() if v is not None}
    return normal


def _normal_message(message: dict[str, Any]) -> dict[str, Any]:
    normal = {key: value for key, value in message.items() if value is not None and value != []}
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
        normal["content"] = content[0]["text"]
    elif isinstance(content, list):
        for part in content:
            if isinstance(part.get("image_url"), str):
                part["image_url"] = {"url": part["image_url"]}
    for call in normal.get("tool_calls", ()):
        call.pop("index", None)
    if message["role"] == "assistant":
        normal["content"] = content
        if content is None and not normal.get("tool_calls"):
            normal["content"] = ""
    return normal


def test_recorded_errors_are_classified(shared_data: pathlib.Path) -> None:
    """Recorded refusals get the right code and fault, and no message shows a key."""
    wanted = {401: "auth", 404: "not_found"}
    seen = 0
    for one in recordings.chat_exchanges(shared_data):
        if one.status < 400:
            continue
        error = OPENAI.read_error(one.status, one.headers, one.body)
        assert error.code == wanted.get(one.status, "invalid_request"), one.name
        assert error.fault == ("upstream" if one.status == 401 else "caller"), one.name
        assert not any(word in error.message for word in ("sk-", "***", "not-a-r")), error.message
        assert 0 < len(error.message) <= 300
        seen += 1
    assert seen >= 10


def test_an_error_or_nothing_inside_a_200_is_no_answer(shared_data: pathlib.Path) -> None:
    """A recorded 200 that holds an error raises it; an empty body is broken."""
    hidden = [one for one in recordings.chat_exchanges(shared_data) if one.status == 200 and b"choices" not in one.body]
    assert hidden
    for one in hidden:
        with pytest.raises((UpstreamError, UpstreamBroken)) as caught:
            OPENAI.read_answer(one.body)
        if one.body:
            assert (caught.value.code, caught.value.fault) == ("content_filter", "caller")
        else:
            assert caught.value.code == "malformed_answer"
