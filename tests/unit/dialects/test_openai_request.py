"""OpenAI requests: the view that policy has, the patches it makes, and the neutral reading."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.core.errors import BadRequest
from headgate.core.message import (
    Audio,
    Document,
    Image,
    Message,
    Other,
    OutputFormat,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from headgate.dialects.openai_chat import OpenAIChat

OPENAI = OpenAIChat()
POLICY = {"model": "up-model", "max_tokens": 4096, "max_tokens_field": "max_completion_tokens", "stream_usage": True}


def raw(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def read(**fields: Any) -> Any:
    return OPENAI.read_request(OPENAI.view(raw(**fields)))


def test_view_sees_what_policy_needs() -> None:
    """Model, stream, token limit, n, user and include_usage come out without decoding the messages."""
    view = OPENAI.view(raw(stream=True, max_tokens=5, n=3, user="u", stream_options={"include_usage": True}))
    assert (view.model, view.stream, view.max_tokens, view.n, view.user, view.include_usage) == (
        "m",
        True,
        5,
        3,
        "u",
        True,
    )
    view = OPENAI.view(raw(stream=True, safety_identifier="s", max_completion_tokens=9, max_tokens=None, n=None))
    assert (view.max_tokens, view.n, view.user, view.include_usage) == (9, 1, "s", False)
    view = OPENAI.view(raw())
    assert (view.stream, view.max_tokens, view.include_usage) == (False, None, True)
    assert OPENAI.view(raw(max_tokens=7, max_completion_tokens=3)).max_tokens == 7


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_field"),
        ({"model": 5}, "model", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"max_tokens": "10"}, "max_tokens", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "invalid_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"n": 129}, "n", "invalid_value"),
        ({"user": {}}, "user", "invalid_type"),
        ({"stream": True, "stream_options": []}, "stream_options", "invalid_type"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
    ],
)
def test_view_refuses_policy_fields_of_the_wrong_type(fields: dict[str, Any], param: str, code: str) -> None:
    """A field that money or time depends on must have its type."""
    with pytest.raises(BadRequest) as caught:
        OPENAI.view(raw(**fields))
    assert (caught.value.param, caught.value.code, caught.value.fault) == (param, code, "caller")


def test_policy_leaves_a_fitting_body_alone() -> None:
    """Nothing to change: the body can go as it came."""
    view = OPENAI.view(raw(model="up-model", max_tokens=4096))
    assert OPENAI.policy(view, **POLICY) == {}


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({}, {"model": "up-model", "max_completion_tokens": 4096}),
        ({"max_tokens": None}, {"model": "up-model", "max_completion_tokens": 4096}),
        ({"max_tokens": 9000}, {"model": "up-model", "max_tokens": 4096}),
        ({"max_completion_tokens": 9000}, {"model": "up-model", "max_completion_tokens": 4096}),
        ({"max_tokens": 10, "max_completion_tokens": 9000}, {"model": "up-model", "max_completion_tokens": 4096}),
        (
            {"stream": True, "max_tokens": 4096},
            {"model": "up-model", "stream_options": {"include_usage": True}},
        ),
        ({"stream": True, "max_tokens": 4096, "stream_options": {"include_usage": True}}, {"model": "up-model"}),
    ],
)
def test_policy_sets_model_limit_and_usage(fields: dict[str, Any], changes: dict[str, Any]) -> None:
    """The model, the token limit under the caller's own name, and stream usage are set where they differ."""
    assert OPENAI.policy(OPENAI.view(raw(**fields)), **POLICY) == changes


def test_a_patched_body_is_the_callers_in_all_else() -> None:
    """Odd spacing and unknown fields stay byte for byte; the caller's other stream options are merged."""
    body = (
        b'{ "model" : "m",\n "messages":[{"role":"user","content":"h\\u00e9 "}], "x_new": {"a": 1.50},'
        b' "stream":true, "stream_options":{"include_obfuscation":false}}'
    )
    view = OPENAI.view(body)
    patched = OPENAI.patch(view, OPENAI.policy(view, **POLICY))
    assert json.loads(patched) == {
        **json.loads(body),
        "model": "up-model",
        "max_completion_tokens": 4096,
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }
    assert b'[{"role":"user","content":"h\\u00e9 "}], "x_new": {"a": 1.50},' in patched


def test_messages_of_every_role_read() -> None:
    """Roles, tool history, reasoning, refusals and every kind of part have their neutral form."""
    conversation = read(
        messages=[
            {"role": "system", "content": "S", "name": "boss"},
            {"role": "developer", "content": [{"type": "text", "text": "D", "cache_control": {"type": "ephemeral"}}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,UERG"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {"type": "video_url", "video_url": {"url": "v"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "not json"}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
            {"role": "assistant", "content": "no", "refusal": "never"},
        ]
    )
    assert conversation.messages == [
        Message("system", [Text(text="S")], "boss"),
        Message("developer", [Text(text="D", cache={"type": "ephemeral"})]),
        Message(
            "user",
            [
                Text(text="look"),
                Image(data="QUJD", media_type="image/png", detail="low"),
                Image(url="https://x/y.png"),
                Audio(data="QQ==", format="wav"),
                Document(data="UERG", media_type="application/pdf", name="a.pdf"),
                Document(file_id="file-1"),
                Other(data={"type": "video_url", "video_url": {"url": "v"}}, origin="openai_chat"),
            ],
        ),
        Message(
            "assistant",
            [
                Thinking(text="hm"),
                ToolCall(id="a", name="f", arguments="{}"),
                ToolCall(id="b", name="g", arguments="not json"),
            ],
        ),
        Message("tool", [ToolResult(id="a", parts=[Text(text="1")]), ToolResult(id="b", parts=[Text(text="2")])]),
        Message("assistant", [Text(text="no"), Refusal(text="never")]),
    ]


def test_the_old_functions_interface_reads_as_tools() -> None:
    """functions, function_call and function messages become tools, a choice, calls and results that match."""
    conversation = read(
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
        messages=[
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ],
    )
    assert conversation.tools == [Tool("f", schema={"type": "object"})]
    assert conversation.tool_choice == ToolChoice("one", "f")
    call, result = conversation.messages[0].parts[0], conversation.messages[1].parts[0]
    assert (call.name, result.parts) == ("f", [Text(text="42")])
    assert call.id == result.id


def test_parameters_read() -> None:
    """Sampling, tools, output and account parameters have their neutral form; the rest is kept by name."""
    conversation = read(
        temperature=1,
        top_p=0.5,
        top_k=4,
        stop="END",
        n=2,
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        logit_bias={"5": -100},
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="high",
        verbosity="low",
        user="u",
        metadata={"k": "v"},
        service_tier="flex",
        parallel_tool_calls=False,
        max_completion_tokens=10,
        tools=[
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}, "strict": True}},
            {"type": "custom", "custom": {"name": "c"}},
        ],
        tool_choice="required",
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {"const": 1}, "strict": True}},
        prediction={"type": "content", "content": "x"},
        x_new=[1],
    )
    assert (conversation.temperature, conversation.top_p, conversation.top_k, conversation.n) == (1, 0.5, 4, 2)
    assert (conversation.stop, conversation.seed, conversation.logit_bias) == (["END"], 7, {"5": -100})
    assert (conversation.frequency_penalty, conversation.presence_penalty) == (0.1, -0.1)
    assert (conversation.logprobs, conversation.top_logprobs) == (True, 2)
    assert (conversation.effort, conversation.verbosity, conversation.service_tier) == ("high", "low", "flex")
    assert (conversation.user, conversation.metadata, conversation.max_tokens) == ("u", {"k": "v"}, 10)
    assert conversation.tools == [
        Tool("f", "d", {}, True),
        Tool("c", other={"type": "custom", "custom": {"name": "c"}}, origin="openai_chat"),
    ]
    assert (conversation.tool_choice, conversation.parallel_tool_calls) == (ToolChoice("any"), False)
    assert conversation.output == OutputFormat("schema", "s", {"const": 1}, True)
    assert conversation.extra == {"prediction": {"type": "content", "content": "x"}, "x_new": [1]}


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("one", "f")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ToolChoice("any", allowed=["f"]),
        ),
    ],
)
def test_tool_choices(choice: Any, wanted: ToolChoice) -> None:
    """Each way to choose tools has its neutral form, and writes back as it was."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    conversation = read(tools=tools, tool_choice=choice)
    assert conversation.tool_choice == wanted
    written = OPENAI.write_request(conversation, max_tokens_field="max_tokens", stream_usage=False)
    assert json.loads(written.body)["tool_choice"] == choice


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": 1}}]}, "tools[0].function.name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [1]}, "stop[0]"),
        ({"logit_bias": {"1": "x"}}, "logit_bias.1"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ],
)
def test_wrong_shapes_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A wrong shape is a BadRequest that names the field by its path."""
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


def test_missing_messages_are_named() -> None:
    """A request without messages can not be translated."""
    with pytest.raises(BadRequest) as caught:
        OPENAI.read_request(OPENAI.view(b'{"model":"m"}'))
    assert caught.value.param == "messages"
