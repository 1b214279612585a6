"""The official SDKs against the running simulator: what it sends is what their types promise."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anthropic
import jsonschema
import openai
import pytest
from anthropic.types import Message
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headgate.sim.testing import RunningSim, running_sim

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": SCHEMA}}
    for name in ("forecast", "history")
]
ANTHROPIC_TOOLS = [{"name": name, "description": "d", "input_schema": SCHEMA} for name in ("forecast", "history")]


@pytest.fixture(scope="module")
def url() -> Iterator[RunningSim]:
    with running_sim("cached: 0.5\n") as url:
        yield url


@pytest.fixture(scope="module")
def gpt(url: RunningSim) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url.v1, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(url: RunningSim) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=str(url), api_key="any", max_retries=0) as client:
        yield client


def chunks_of(gpt: openai.OpenAI, **arguments: object) -> list[ChatCompletionChunk]:
    """Streams a call and validates every chunk."""
    stream = gpt.chat.completions.create(stream=True, stream_options={"include_usage": True}, **arguments)
    chunks = list(stream)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
    assert len({chunk.id for chunk in chunks}) == 1
    return chunks


def test_openai_echo_is_the_same_whole_and_streamed(gpt: openai.OpenAI) -> None:
    """Echo repeats the last user message; usage counts are equal whole and streamed."""
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": [{"type": "text", "text": "second thing, please: é 漢字 🙂"}]},
    ]
    whole = gpt.chat.completions.create(model="echo", messages=messages)
    ChatCompletion.model_validate(whole.model_dump(), strict=True)
    assert whole.choices[0].message.content == "second thing, please: é 漢字 🙂"
    assert whole.choices[0].finish_reason == "stop"
    chunks = chunks_of(gpt, model="echo", messages=messages)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.prompt_tokens_details is not None
    assert whole.usage.prompt_tokens_details.cached_tokens == whole.usage.prompt_tokens // 2


def test_openai_limits_stops_and_choices(gpt: openai.OpenAI) -> None:
    """max_tokens finishes with length, stop cuts before its match, n gives so many different answers."""
    user = [{"role": "user", "content": "one two STOP three"}]
    cut = gpt.chat.completions.create(model="words-200", messages=user, max_completion_tokens=20)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 20
    stopped = gpt.chat.completions.create(model="echo", messages=user, stop=["three", "STOP"])
    assert stopped.choices[0].message.content == "one two "
    assert stopped.choices[0].finish_reason == "stop"
    many = gpt.chat.completions.create(model="words-30", messages=user, n=3)
    assert len({choice.message.content for choice in many.choices}) == 3
    assert many.usage is not None
    assert many.usage.completion_tokens == 90
    chunks = chunks_of(gpt, model="words-30", messages=user, n=3)
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1, 2}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 90


def test_openai_tools(gpt: openai.OpenAI) -> None:
    """A forced tool gets valid arguments; tools-2 calls two in parallel; streamed pieces join to the same JSON."""
    user = [{"role": "user", "content": "weather?"}]
    choice = {"type": "function", "function": {"name": "history"}}
    forced = gpt.chat.completions.create(model="echo", messages=user, tools=OPENAI_TOOLS, tool_choice=choice)
    assert forced.choices[0].finish_reason == "tool_calls"
    assert forced.choices[0].message.content is None
    calls = forced.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["history"]
    jsonschema.validate(json.loads(calls[0].function.arguments), SCHEMA)
    chunks = chunks_of(gpt, model="tools-2", messages=user, tools=OPENAI_TOOLS)
    joined: dict[int, str] = {}
    for chunk in chunks:
        for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            joined[part.index] = joined.get(part.index, "") + (part.function.arguments or "")
    assert sorted(joined) == [0, 1]
    for arguments in joined.values():
        jsonschema.validate(json.loads(arguments), SCHEMA)
    single = gpt.chat.completions.create(model="tools-2", messages=user, tools=OPENAI_TOOLS, parallel_tool_calls=False)
    assert len(single.choices[0].message.tool_calls or []) == 1
    call = calls[0].model_dump()
    after = [
        *user,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "5"},
    ]
    assert gpt.chat.completions.create(model="tools-2", messages=after, tools=OPENAI_TOOLS).choices[0].message.content


def test_openai_structured_output_and_reasoning(gpt: openai.OpenAI) -> None:
    """response_format gives JSON that fits; reasoning_effort shows reasoning_content and counts it."""
    user = [{"role": "user", "content": "data"}]
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}}
    whole = gpt.chat.completions.create(model="echo", messages=user, response_format=form, reasoning_effort="low")
    jsonschema.validate(json.loads(whole.choices[0].message.content or ""), SCHEMA)
    assert len(whole.choices[0].message.reasoning_content.split()) == 8
    assert whole.usage is not None
    assert whole.usage.completion_tokens_details is not None
    assert whole.usage.completion_tokens_details.reasoning_tokens == 8
    free = gpt.chat.completions.create(model="echo", messages=user, response_format={"type": "json_object"})
    assert json.loads(free.choices[0].message.content or "") == {"echo": "data"}


def test_openai_embeddings(gpt: openai.OpenAI, url: RunningSim) -> None:
    """Vectors are unit length, the same for the same text, in base64 (the SDK's choice) as in floats."""
    first = gpt.embeddings.create(model="text-embedding-3-small", input=["a", "b", "a"], dimensions=64)
    CreateEmbeddingResponse.model_validate(first.model_dump())
    a, b, again = (each.embedding for each in first.data)
    assert a == again != b
    assert len(a) == 64
    assert abs(sum(value * value for value in a) - 1) < 1e-5
    floats = gpt.embeddings.create(model="e", input="a", dimensions=64, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(a)
    assert first.usage.prompt_tokens == 3
    assert len(gpt.embeddings.create(model="e", input="a").data[0].embedding) == 1536


def test_openai_models_and_errors(gpt: openai.OpenAI) -> None:
    """The models list holds echo; faults by model name and bad requests come as the SDK's own exceptions."""
    assert "echo" in {model.id for model in gpt.models.list()}
    assert gpt.models.retrieve("echo").id == "echo"
    user = [{"role": "user", "content": "x"}]
    for model, kind in {
        "fail-429": openai.RateLimitError,
        "fail-401": openai.AuthenticationError,
        "sim/fail-503": openai.InternalServerError,
        "fail-context-length": openai.BadRequestError,
        "fail-nonsense": openai.BadRequestError,
    }.items():
        with pytest.raises(kind):
            gpt.chat.completions.create(model=model, messages=user)
    with pytest.raises(openai.BadRequestError, match="messages"):
        gpt.chat.completions.create(model="echo", messages=[])


def test_anthropic_echo_is_the_same_whole_and_streamed(claude: anthropic.Anthropic) -> None:
    """Echo, usage and thinking with its signature are equal whole and streamed."""
    asked = {
        "model": "echo",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "hello, é 漢字 🙂"}],
        "thinking": {"type": "enabled", "budget_tokens": 12},
        "system": "be brief",
    }
    whole = claude.messages.create(**asked)
    Message.model_validate(whole.model_dump(), strict=True)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.content[0].signature
    assert whole.content[1].text == "hello, é 漢字 🙂"
    assert whole.stop_reason == "end_turn"
    counted = claude.messages.count_tokens(model="echo", messages=asked["messages"], system="be brief")
    assert counted.input_tokens == whole.usage.input_tokens + (whole.usage.cache_read_input_tokens or 0)
    with claude.messages.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_message()
    assert {"message_start", "content_block_stop", "message_delta", "message_stop"} <= kinds
    assert final.content[1].text == whole.content[1].text
    assert final.content[0].signature
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens


def test_anthropic_tools_limits_and_stops(claude: anthropic.Anthropic) -> None:
    """A forced tool gets valid input; max_tokens and stop_sequences end as the API says."""
    user = [{"role": "user", "content": "one two STOP three"}]
    ask = {"max_tokens": 500, "messages": user}
    forced = claude.messages.create(
        model="echo", tools=ANTHROPIC_TOOLS, tool_choice={"type": "tool", "name": "forecast"}, **ask
    )
    assert forced.stop_reason == "tool_use"
    assert forced.content[0].name == "forecast"
    jsonschema.validate(forced.content[0].input, SCHEMA)
    with claude.messages.stream(model="tools-2", tools=ANTHROPIC_TOOLS, **ask) as stream:
        final = stream.get_final_message()
    assert [block.name for block in final.content] == ["forecast", "history"]
    for block in final.content:
        jsonschema.validate(block.input, SCHEMA)
    cut = claude.messages.create(model="words-200", max_tokens=7, messages=user)
    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == 7
    stopped = claude.messages.create(model="echo", stop_sequences=["STOP"], **ask)
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "STOP")
    shaped = claude.messages.create(
        model="echo", extra_body={"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, **ask
    )
    jsonschema.validate(json.loads(shaped.content[0].text), SCHEMA)


def test_anthropic_models_and_errors(claude: anthropic.Anthropic) -> None:
    """The models list validates; errors come as the SDK's own exceptions, in mid-stream as well."""
    assert "echo" in {model.id for model in claude.models.list()}
    ask = {"max_tokens": 50, "messages": [{"role": "user", "content": "x y z"}]}
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(model="fail-429", **ask)
    with pytest.raises(anthropic.InternalServerError):
        claude.messages.create(model="fail-529", **ask)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        claude.messages.create(model="echo", messages=ask["messages"], extra_body={"max_tokens": None}, max_tokens=1)
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        claude.messages.stream(model="words-50+error-event", **ask) as stream,
    ):
        stream.get_final_message()
