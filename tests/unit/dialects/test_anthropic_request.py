"""Anthropic requests: read, written back, and written from another dialect's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import BadRequest
from headgate.core.message import (
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Other,
    OutputFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from headgate.dialects.anthropic import Anthropic

ANTHROPIC = Anthropic()


def read(request: dict[str, Any]) -> Conversation:
    return ANTHROPIC.read_request(ANTHROPIC.view(json.dumps(request).encode()))


def write(conversation: Conversation) -> tuple[dict[str, Any], tuple[str, ...]]:
    encoded = ANTHROPIC.write_request(conversation, max_tokens_field="max_tokens", stream_usage=True)
    return json.loads(encoded.body), encoded.lost


def foreign(*messages: Message, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Writes a conversation that came from an OpenAI client."""
    return write(Conversation("claude", list(messages), "openai_chat", max_tokens=100, **fields))


def user(text: str = "Hi") -> Message:
    return Message("user", [Text(text=text)])


text = st.text(min_size=1, max_size=8)
cache = st.sampled_from(
    [{}, {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
)
word = st.sampled_from(["a", "b1", "c_2"])
value = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | text,
    lambda v: st.lists(v, max_size=2) | st.dictionaries(word, v, max_size=2),
    max_leaves=4,
)


def block(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Blocks of a kind, with cache_control and an unknown key now and then."""
    unknown = st.sampled_from([{}, {"new_key": {"x": 1}}])
    parts = st.fixed_dictionaries({key: item for key, item in fields.items() if not key.startswith("_")})
    return st.builds(lambda body, mark, new: {"type": kind, **body, **mark, **new}, parts, cache, unknown)


texts = block("text", text=text) | block(
    "text", text=text, citations=st.just([{"type": "char_location", "cited_text": "x"}])
)
images = block(
    "image",
    source=st.sampled_from(
        [
            {"type": "base64", "media_type": "image/png", "data": "aGk="},
            {"type": "url", "url": "https://x/y.png"},
            {"type": "file", "file_id": "f1"},
            {"type": "new", "z": 1},
        ]
    ),
)
documents = block(
    "document",
    source=st.sampled_from(
        [
            {"type": "text", "media_type": "text/plain", "data": "hi"},
            {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            {"type": "url", "url": "https://x/y.pdf"},
            {"type": "file", "file_id": "f1"},
            {"type": "content", "content": [{"type": "text", "text": "in", "cache_control": {"type": "ephemeral"}}]},
        ]
    ),
    title=text,
    context=text,
    citations=st.just({"enabled": True}),
)
results = block(
    "tool_result", tool_use_id=word, content=st.lists(texts | images, min_size=1, max_size=2), is_error=st.just(True)
)
users = st.lists(
    texts | images | documents | results | block("search_result", source=text, title=text), min_size=1, max_size=4
)
calls = block(
    "tool_use", id=word, name=word, input=st.dictionaries(word, value, max_size=2), caller=st.just({"type": "direct"})
)
thoughts = block("thinking", thinking=text, signature=text) | block("redacted_thinking", data=text)
assistants = st.lists(
    texts | calls | thoughts | block("server_tool_use", id=word, name=word, input=st.just({})), min_size=1, max_size=4
)
tools = st.lists(
    block(
        "custom",
        name=word,
        description=text,
        input_schema=st.just({"type": "object", "properties": {"a": {"const": 1}}}),
        strict=st.booleans(),
        defer_loading=st.booleans(),
    )
    | block("web_search_20250305", name=st.just("web_search"), max_uses=st.just(3)),
    min_size=1,
    max_size=3,
)
options = st.fixed_dictionaries(
    {},
    optional={
        "system": st.lists(texts, min_size=1, max_size=2),
        "tools": tools,
        "tool_choice": st.sampled_from(
            [
                {"type": "auto", "disable_parallel_tool_use": True},
                {"type": "any"},
                {"type": "tool", "name": "a"},
                {"type": "none"},
            ]
        ),
        "thinking": st.sampled_from(
            [
                {"type": "enabled", "budget_tokens": 1024},
                {"type": "adaptive", "display": "omitted"},
                {"type": "disabled"},
                {"type": "between_tools"},
            ]
        ),
        "output_config": st.sampled_from(
            [
                {"effort": "xhigh"},
                {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
                {"task_budget": {"total": 5}},
            ]
        ),
        "metadata": st.just({"user_id": "u1", "more": 1}),
        "stop_sequences": st.lists(text, min_size=1, max_size=2),
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.just(0.9),
        "top_k": st.just(5),
        "stream": st.just(True),
        "service_tier": st.just("standard_only"),
        "cache_control": st.just({"type": "ephemeral"}),
        "container": st.just({"skills": [1]}),
        "context_management": st.just({"edits": []}),
    },
)


@given(options, users, assistants, users)
@settings(max_examples=50)
def test_same_dialect_round_trip_keeps_everything(
    fields: dict[str, Any], one: list[Any], two: list[Any], three: list[Any]
) -> None:
    """Anthropic to neutral and back is the identity: marks, signatures, citations, unknown keys and all."""
    turns = [
        {"role": "user", "content": one},
        {"role": "assistant", "content": two},
        {"role": "user", "content": three},
    ]
    request = {"model": "claude", "max_tokens": 9, "messages": turns, **fields}
    body, lost = write(read(request))
    assert lost == ()
    assert spelled(body) == spelled(request)


def spelled(request: Any) -> Any:
    """Writes single texts as blocks, which mean the same."""
    if isinstance(request, list):
        return [spelled(item) for item in request]
    if not isinstance(request, dict):
        return request
    done = {key: spelled(item) for key, item in request.items()}
    for key in ("content", "system"):
        if isinstance(done.get(key), str):
            done[key] = [{"type": "text", "text": done[key]}]
    return done


def test_view_reads_what_policy_needs() -> None:
    """The top level alone tells model, stream, max_tokens and user."""
    view = ANTHROPIC.view(b'{"model":"m","stream":true,"max_tokens":5,"metadata":{"user_id":"u"},"messages":[]}')
    assert (view.model, view.stream, view.max_tokens, view.user, view.include_usage) == ("m", True, 5, "u", True)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"max_tokens": 1, "messages": []}, "model"),
        ({"model": 1}, "model"),
        ({"model": "m", "stream": "yes"}, "stream"),
        ({"model": "m", "max_tokens": "many"}, "max_tokens"),
        ({"model": "m", "max_tokens": 0}, "max_tokens"),
        ({"model": "m", "metadata": {"user_id": 5}}, "metadata"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": {}}, "messages"),
        ({"model": "m", "messages": [5]}, "messages[0]"),
        ({"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"model": "m", "messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        ({"model": "m", "messages": [], "tools": [{"name": "t"}]}, "tools[0].input_schema"),
        ({"model": "m", "messages": [], "tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"model": "m", "messages": [], "temperature": "hot"}, "temperature"),
        (
            {"model": "m", "messages": [], "system": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
            "system[0]",
        ),
        (
            {"model": "m", "messages": [], "thinking": {"type": "enabled", "budget_tokens": -1}},
            "thinking.budget_tokens",
        ),
        ({"model": "m", "messages": [], "stop_sequences": [1]}, "stop_sequences[0]"),
    ],
)
def test_wrong_shapes_name_their_path(request_: dict[str, Any], param: str) -> None:
    """A wrong field is a BadRequest that names it."""
    with pytest.raises(BadRequest) as caught:
        read(request_)
    assert caught.value.param == param


def test_policy_and_patch() -> None:
    """The body goes as it came but for the model's name and a missing bound."""
    raw = b'{ "model":"a", "messages":[ ] , "x":1.0}'
    view = ANTHROPIC.view(raw)
    same = ANTHROPIC.policy(view, model="a", max_tokens=7, max_tokens_field="max_tokens", stream_usage=True)
    assert same == {"max_tokens": 7}
    view.max_tokens = 5
    assert ANTHROPIC.policy(view, model="a", max_tokens=7, max_tokens_field="max_tokens", stream_usage=True) == {}
    assert ANTHROPIC.patch(view, {"model": "b"}) == b'{ "model":"b", "messages":[ ] , "x":1.0}'


def test_system_and_developer_messages() -> None:
    """Those at the start become system; one in the middle joins them, its place named as lost."""
    body, lost = foreign(
        Message("system", [Text(text="one")]),
        Message("developer", [Text(text="two")]),
        user(),
        Message("system", [Text(text="three")]),
        user("again"),
    )
    assert [part["text"] for part in body["system"]] == ["one", "two", "three"]
    assert len(body["messages"]) == 1
    assert lost == ("messages[3]",)


def test_only_a_system_message() -> None:
    """Anthropic wants a turn to answer: a lone system message is sent as the user's, loudly."""
    body, lost = foreign(Message("system", [Text(text="Say hi")]))
    assert body["messages"] == [{"role": "user", "content": "Say hi"}]
    assert "system" not in body
    assert lost == ("messages[0].role",)


def test_tool_history() -> None:
    """Calls become tool_use, results of parallel calls one user turn, followed by what the user said then."""
    body, lost = foreign(
        user("weather?"),
        Message(
            "assistant",
            [
                Text(text=""),
                ToolCall(id="call.1", name="w", arguments='{"c": 1}'),
                ToolCall(id="c2", name="w", arguments=""),
            ],
        ),
        Message("tool", [ToolResult(id="call.1", parts=[Text(text="sun")]), ToolResult(id="c2", parts=[])]),
        user("and?"),
    )
    assert body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "w", "input": {"c": 1}},
        {"type": "tool_use", "id": "c2", "name": "w", "input": {}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "sun"},
        {"type": "tool_result", "tool_use_id": "c2"},
        {"type": "text", "text": "and?"},
    ]
    assert lost == ()


def test_paths_count_the_callers_messages() -> None:
    """Two results were two messages in the caller's request: what comes after them is counted so."""
    _, lost = foreign(
        user(),
        Message(
            "assistant", [ToolCall(id="a", name="w", arguments="oops"), ToolCall(id="b", name="w", arguments="{}")]
        ),
        Message("tool", [ToolResult(id="a", parts=[Text(text="1")]), ToolResult(id="b", parts=[Text(text="2")])]),
        Message("user", [Text(text="x"), Audio(data="aGk=", format="wav")], name="Bo"),
    )
    assert lost == ("messages[1].tool_calls[0].function.arguments", "messages[4].content[1]", "messages[4].name")


def test_images_and_files() -> None:
    """Data URLs become base64 sources, links url sources, PDFs documents; text files travel as text."""
    body, lost = foreign(
        Message(
            "user",
            [
                Image(url="data:image/png;base64,aGk="),
                Image(url="https://x/y.png", detail="high"),
                Document(data="aGk=", media_type="application/pdf", name="a.pdf"),
                Document(data="data:text/csv;base64,aGk="),
                Document(file_id="file-1"),
                Document(data="aGk=", media_type="application/zip"),
            ],
        )
    )
    sources = [block["source"] for block in body["messages"][0]["content"]]
    assert sources == [
        {"type": "base64", "media_type": "image/png", "data": "aGk="},
        {"type": "url", "url": "https://x/y.png"},
        {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
        {"type": "text", "media_type": "text/plain", "data": "hi"},
    ]
    assert lost == (
        "messages[0].content[1].image_url.detail",
        "messages[0].content[4]",
        "messages[0].content[5]",
    )


def test_parameters_without_a_counterpart_are_lost_by_name() -> None:
    """Each knob that Anthropic lacks is named as the caller wrote it."""
    body, lost = foreign(
        user(), n=2, seed=0, frequency_penalty=0.5, presence_penalty=0.5, logit_bias={"1": 2.0}, logprobs=True,
        top_logprobs=3, verbosity="low", temperature=1.5, service_tier="flex", metadata={"k": "v"},
        stop=["END", " \n"], extra={"store": True}, output=OutputFormat("json"), user="u-1",
    )  # fmt: skip
    assert set(lost) == {
        "n", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "verbosity",
        "temperature", "service_tier", "metadata", "stop[1]", "store", "response_format",
    }  # fmt: skip
    assert (body["temperature"], body["stop_sequences"], body["metadata"]) == (1, ["END"], {"user_id": "u-1"})


def test_neutral_defaults_are_no_loss() -> None:
    """A penalty of zero, logprobs off and top_p of 1 say nothing."""
    _, lost = foreign(user(), frequency_penalty=0, presence_penalty=0.0, logprobs=False, top_p=1, temperature=0.2)
    assert lost == ()


def test_tools_and_choice() -> None:
    """Schemas, strict, forced tools, no parallel calls; a choice narrowed to some tools sends only those."""
    tools = [
        Tool("a", "does", {"properties": {}}, True),
        Tool("b"),
        Tool("c", other={"type": "x"}, origin="openai_chat"),
    ]
    body, lost = foreign(user(), tools=tools, tool_choice=ToolChoice("one", "a"), parallel_tool_calls=False)
    assert body["tools"] == [
        {"name": "a", "input_schema": {"type": "object", "properties": {}}, "description": "does", "strict": True},
        {"name": "b", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body["tool_choice"] == {"type": "tool", "name": "a", "disable_parallel_tool_use": True}
    assert lost == ("tools[2]",)
    body, lost = foreign(user(), tools=tools[:2], tool_choice=ToolChoice("any", allowed=["b"]))
    assert [tool["name"] for tool in body["tools"]] == ["b"]
    assert lost == ()


def test_effort_schema_and_thinking() -> None:
    """Effort and schema have native places; a thinking budget leaves room for an answer, or there is none."""
    schema = {"type": "object", "properties": {}}
    body, lost = foreign(user(), effort="high", output=OutputFormat("schema", "n", schema, True))
    assert body["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": schema}}
    assert lost == ()
    assert foreign(user(), effort="none")[0]["thinking"] == {"type": "disabled"}
    body, lost = foreign(user(), thinking="enabled", thinking_tokens=2000)
    assert "thinking" not in body
    assert lost == ("thinking",)


def test_foreign_reasoning_needs_a_signature() -> None:
    """Reasoning of another provider can not be proven to Anthropic; its own goes back."""
    turns = Message(
        "assistant", [Thinking(text="a"), Thinking(text="b", signature="s"), Text(text="c"), Other(data={}, origin="x")]
    )
    body, lost = foreign(user(), turns)
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "b", "signature": "s"}
    assert lost == ("messages[1].reasoning_content", "messages[1].content[1]")


def test_max_tokens_is_always_sent() -> None:
    """Anthropic demands a bound; without the caller's and the model's it is 4096."""
    assert write(Conversation("m", [user()], "openai_chat"))[0]["max_tokens"] == 4096


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Audio(data="aGk=", format="wav"), "audio"),
        (Document(file_id="file-1"), "a file"),
        (Other(data={"type": "video_url"}, origin="openai_chat"), "a part of type 'video_url'"),
    ],
)
def test_a_message_of_which_nothing_is_left_is_refused(part: Any, word: str) -> None:
    """Else the model would answer what was not asked; the error names the part, and the next deployment is tried."""
    with pytest.raises(BadRequest) as caught:
        foreign(user(), Message("assistant", [Text(text="yes?")]), Message("user", [Text(text=" "), part]))
    assert (caught.value.code, caught.value.param) == ("unsupported", "messages[2].content[1]")
    assert word in caught.value.message
    assert "Anthropic" in caught.value.message


def test_a_message_that_said_nothing_is_left_out() -> None:
    """White space alone is dropped as ever: Anthropic refuses it."""
    body, lost = foreign(user(), Message("user", [Text(text=" ")]))
    assert (len(body["messages"]), lost) == (1, ("messages[1].content[0]",))
