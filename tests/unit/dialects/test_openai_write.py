"""OpenAI requests written from another dialect's conversation: what crosses, and what is named as lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.core.errors import BadRequest
from headgate.core.message import Conversation, Message, Text
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.openai_chat import OpenAIChat

ANTHROPIC, OPENAI = Anthropic(), OpenAIChat()


def translate(stream_usage: bool = True, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}], **fields}
    conversation = ANTHROPIC.read_request(ANTHROPIC.view(json.dumps(request).encode()))
    written = OPENAI.write_request(conversation, max_tokens_field="max_completion_tokens", stream_usage=stream_usage)
    return json.loads(written.body), written.lost


def test_a_tool_conversation_crosses_whole() -> None:
    """System text, tool calls, several results and the text after them keep order and ids; nothing is lost."""
    body, lost = translate(
        system="Be brief.",
        stop_sequences=["END"],
        temperature=0.5,
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object", "const": 1}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        messages=[
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I "},
                    {"type": "text", "text": "look."},
                    {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "b", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                    {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "2"}]},
                    {"type": "text", "text": "and now?"},
                ],
            },
        ],
    )
    assert lost == ()
    assert body == {
        "model": "m",
        "max_completion_tokens": 10,
        "temperature": 0.5,
        "stop": ["END"],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"type": "object", "const": 1}},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
            {"role": "user", "content": "and now?"},
        ],
    }


def test_images_and_documents_cross_as_data_urls() -> None:
    """Base64 images and PDFs become data URLs; plain-text documents become text."""
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "UERG"}
    body, lost = translate(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                    {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                    {"type": "document", "title": "a.pdf", "source": pdf},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
                    {"type": "document", "source": {"type": "url", "url": "https://x/z.pdf"}},
                ],
            }
        ]
    )
    assert body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://x/y"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,UERG"}},
        {"type": "text", "text": "words"},
    ]
    assert lost == ("messages[0].content[4]",)


def test_an_image_in_a_tool_result_follows_in_a_user_turn() -> None:
    """Tool messages hold text only, so the picture comes right after the run of results."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    body, lost = translate(
        messages=[
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [picture, {"type": "text", "text": "shot"}]}
                ],
            },
        ]
    )
    assert lost == ()
    assert body["messages"][1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "shot"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
    ]


def test_what_has_no_counterpart_is_named_by_the_callers_path() -> None:
    """Cache marks, thinking, top_k, error flags and provider tools are named where they stood."""
    mark = {"type": "ephemeral"}
    _, lost = translate(
        system=[{"type": "text", "text": "S", "cache_control": mark}],
        top_k=5,
        service_tier="nonsense",
        metadata={"user_id": "u", "other": 1},
        tools=[
            {"name": "f", "input_schema": {}, "cache_control": mark},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "d"},
                    {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "is_error": True, "cache_control": mark},
                    {"type": "text", "text": "y", "cache_control": mark},
                ],
            },
        ],
        speed="fast",
    )
    assert lost == (
        "system[0].cache_control",
        "messages[1].content[0]",
        "messages[1].content[1]",
        "messages[2].content[0].is_error",
        "messages[2].content[0].cache_control",
        "messages[2].content[1].cache_control",
        "tools[0].cache_control",
        "tools[1]",
        "metadata.other",
        "service_tier",
        "top_k",
        "speed",
    )


@pytest.mark.parametrize(
    ("fields", "effort", "lost"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "low", ("thinking.budget_tokens",)),
        ({"thinking": {"type": "enabled", "budget_tokens": 10000}}, "medium", ("thinking.budget_tokens",)),
        ({"thinking": {"type": "enabled", "budget_tokens": 30000}}, "high", ("thinking.budget_tokens",)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max", ()),
        ({"thinking": {"type": "disabled"}}, None, ("thinking",)),
    ],
)
def test_thinking_becomes_an_effort(fields: dict[str, Any], effort: str | None, lost: tuple[str, ...]) -> None:
    """A budget becomes the nearest effort, and its exact number is named as lost."""
    body, got = translate(**fields)
    assert (body.get("reasoning_effort"), got) == (effort, lost)


def test_user_stream_and_schema() -> None:
    """metadata.user_id becomes user, a stream asks for usage, an output schema gets a name."""
    schema = {"type": "object"}
    body, lost = translate(
        stream=True,
        metadata={"user_id": "u"},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        service_tier="standard_only",
    )
    assert lost == ()
    assert (body["user"], body["stream"], body["stream_options"]) == ("u", True, {"include_usage": True})
    assert body["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    assert body["service_tier"] == "default"
    assert "stream_options" not in translate(stream_usage=False, stream=True)[0]


def test_a_bare_conversation_writes_the_least() -> None:
    """Nothing is sent that nobody asked for."""
    conversation = Conversation("m", [Message("user", [Text(text="hi")])], "anthropic", max_tokens=5)
    written = OPENAI.write_request(conversation, max_tokens_field="max_tokens", stream_usage=True)
    assert json.loads(written.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }


def test_a_message_of_which_nothing_is_left_is_refused() -> None:
    """A file behind a URL has no place here: alone in a message it is refused by name, not sent as nothing."""
    source = {"type": "url", "url": "https://example.com/a.pdf"}
    with pytest.raises(BadRequest) as caught:
        translate(messages=[{"role": "user", "content": [{"type": "document", "source": source}]}])
    assert (caught.value.code, caught.value.param) == ("unsupported", "messages[0].content[0]")
