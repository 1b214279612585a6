"""Translates every recorded exchange between the OpenAI and the Anthropic dialect and says how each one fared.

``tally(data)`` is what the contract test asserts on; run as a script it prints the table.
"""

from __future__ import annotations

import collections
import functools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic.types
import openai.types.chat
import openai.types.chat.completion_create_params
import pydantic

from headgate.core.errors import HeadgateError, UpstreamError
from headgate.core.event import Event
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.base import Dialect
from headgate.dialects.openai_chat import OpenAIChat

ANTHROPIC, OPENAI = Anthropic(), OpenAIChat()

FROM_OPENAI = {
    "stop": "end_turn",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "eos": "end_turn",
}
FROM_ANTHROPIC = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
}


class Told(NamedTuple):
    """What an answer says, whatever its wire: text, (name, arguments) of tool calls, finish, (input, output) tokens."""

    text: str
    calls: tuple[tuple[str, str], ...]
    finish: str
    usage: tuple[int, int] | None


class Outcome(NamedTuple):
    """How one translation went. ``lost`` names what had no counterpart; ``why`` says what failed."""

    route: str
    provider: str
    name: str
    lost: tuple[str, ...]
    why: str


def canonical(arguments: str) -> str:
    """Spells JSON arguments one way; anything else stays as it is."""
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments


def told_by_openai(body: bytes, stream: bool) -> Told:
    """Reads an OpenAI answer by hand, the first choice only."""
    texts: list[str] = []
    calls: dict[Any, list[str]] = {}
    finish, usage, last = "", None, None
    for item in sse(body) if stream else [json.loads(body)]:
        found = item.get("usage") or (item.get("x_groq") or {}).get("usage")
        for choice in item.get("choices") or ():
            found = found or choice.get("usage")
            if choice.get("index", 0):
                continue
            part = choice.get("delta" if stream else "message") or {}
            content = part.get("content")
            if isinstance(content, list):
                content = "".join(piece.get("text", "") for piece in content if piece["type"] == "text")
            texts += [content or "", part.get("refusal") or ""]
            for number, call in enumerate(part.get("tool_calls") or ()):
                key = call.get("index", number) if stream else number
                if call.get("id") and call.get("function", {}).get("name"):
                    key = last = (key, call["id"])
                else:
                    key = next((known for known in reversed(calls) if known[0] == key), last)
                function = call.get("function") or call.get("custom") or {}
                entry = calls.setdefault(key, ["", ""])
                entry[0] = entry[0] or function.get("name") or ""
                arguments = function.get("arguments", function.get("input")) or ""
                entry[1] += arguments if isinstance(arguments, str) else json.dumps(arguments)
            if legacy := part.get("function_call"):
                entry = calls.setdefault(("legacy", ""), ["", ""])
                entry[0], entry[1] = entry[0] or legacy.get("name") or "", entry[1] + (legacy.get("arguments") or "")
            finish = choice.get("finish_reason") or (choice.get("finish_details") or {}).get("type") or finish
        if found:
            usage = (found["prompt_tokens"], found.get("completion_tokens") or 0)
    told = tuple((name, canonical(arguments)) for name, arguments in calls.values())
    return Told("".join(texts), told, finish, usage)


def told_by_anthropic(body: bytes, stream: bool) -> Told:
    """Reads an Anthropic answer by hand."""
    blocks: dict[int, dict[str, Any]] = {}
    finish, usage = "", {}
    if not stream:
        message = json.loads(body)
        blocks, finish, usage = dict(enumerate(message["content"])), message["stop_reason"], message["usage"]
    for event in sse(body) if stream else ():
        if event["type"] == "message_start":
            usage = dict(event["message"]["usage"])
        elif event["type"] == "content_block_start":
            assert event["index"] == len(blocks), "blocks are numbered in order"
            blocks[event["index"]] = {"json": "", **event["content_block"]}
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(blocks) - 1, "blocks never interleave"
            delta, block = event["delta"], blocks[event["index"]]
            block["text"] = block.get("text", "") + delta.get("text", "")
            block["json"] += delta.get("partial_json", "")
        elif event["type"] == "message_delta":
            finish = event["delta"]["stop_reason"]
            usage.update({key: value for key, value in event["usage"].items() if value is not None})
    text = "".join(block.get("text", "") for block in blocks.values() if block["type"] == "text")
    calls = tuple(
        (block["name"], canonical(block.get("json") or json.dumps(block["input"])))
        for block in blocks.values()
        if block["type"] == "tool_use"
    )
    cached = (usage.get("cache_creation_input_tokens") or 0) + (usage.get("cache_read_input_tokens") or 0)
    return Told(text, calls, finish, (usage["input_tokens"] + cached, usage["output_tokens"]))


def sse(body: bytes) -> Iterator[Any]:
    """Yields the JSON of each event."""
    for line in body.splitlines():
        if line.startswith(b"data:") and line[5:].strip() not in (b"[DONE]", b""):
            yield json.loads(line[5:])


def events_of(dialect: Dialect, body: bytes, stream: bool) -> list[list[Event]]:
    """Decodes an answer into the events of its frames."""
    if not stream:
        return [list(dialect.read_answer(body)[0].events)]
    decoder = dialect.stream_decoder()
    return [list(frame.events) for frame in [*decoder.feed(body), *decoder.end()]]


def rendered(dialect: Dialect, events: list[list[Event]], stream: bool) -> tuple[bytes, tuple[str, ...]]:
    """Renders events for a client; returns the bytes and what was lost."""
    encoder = dialect.encoder(stream=stream, model="asked-for", include_usage=True)
    body = b"".join([encoder.feed(some) for some in events]) + encoder.end()
    return body, encoder.lost


def compare(got: Told, want: Told, lost: tuple[str, ...]) -> str:
    """Returns what differs though nothing says it was lost; empty if all is well."""
    problems = []
    if got.text != want.text:
        problems.append("text")
    if got.calls != want.calls:
        broken = {int(path.split("[")[1].split("]")[0]) for path in lost if path.startswith("tool_calls[")}
        kept = [call for index, call in enumerate(want.calls) if index not in broken]
        if [call for index, call in enumerate(got.calls) if index not in broken] != kept:
            problems.append("tool calls")
    if want.finish and got.finish != want.finish and "finish_reason" not in lost:
        problems.append(f"finish {got.finish} for {want.finish}")
    if want.usage is not None and got.usage != want.usage:
        problems.append(f"usage {got.usage} for {want.usage}")
    return ", ".join(problems)


@functools.cache
def adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    """Returns the validator of an SDK type."""
    return pydantic.TypeAdapter(kind)


def drained(value: Any) -> Any:
    """Walks into the iterators that pydantic makes of ``Iterable`` fields: it validates them no sooner."""
    if isinstance(value, dict):
        return {key: drained(item) for key, item in value.items()}
    if isinstance(value, str | bytes | int | float | None | pydantic.BaseModel):
        return value
    return [drained(item) for item in value]


def validate_answer(dialect: Dialect, body: bytes, stream: bool) -> None:
    """Checks an answer with the official SDK's types."""
    if dialect is OPENAI:
        kind: Any = openai.types.chat.ChatCompletionChunk if stream else openai.types.chat.ChatCompletion
    else:
        kind = anthropic.types.RawMessageStreamEvent if stream else anthropic.types.Message
    for item in sse(body) if stream else [json.loads(body)]:
        adapter(kind).validate_python(item)


def answer_outcomes(
    source: Dialect, target: Dialect, one: Any, read: Callable[..., Told], reread: Callable[..., Told], words: Any
) -> Iterator[Outcome]:
    """Renders one recorded answer for a client of the other dialect, unary and streamed."""
    for stream in (False, True):
        route = f"{source.name} answer as {target.name} {'stream' if stream else 'body'}"
        lost: tuple[str, ...] = ()
        try:
            told = read(one.body, one.stream)
            want = told._replace(finish=words.get(told.finish, told.finish))
            body, lost = rendered(target, events_of(source, one.body, one.stream), stream)
            validate_answer(target, body, stream)
            why = compare(reread(body, stream), want, lost)
        except (HeadgateError, pydantic.ValidationError, AssertionError) as error:
            why = f"{type(error).__name__}: {str(error)[:300]}"
        yield Outcome(route, one.provider, one.name, lost, why)


def request_outcome(source: Dialect, target: Dialect, one: Any) -> Outcome:
    """Translates one recorded request for an upstream of the other dialect."""
    route, lost = f"{source.name} request to {target.name}", ()
    field = "max_tokens" if target is ANTHROPIC else "max_completion_tokens"
    try:
        conversation = source.read_request(source.view(one.request))
        encoded = target.write_request(conversation, max_tokens_field=field, stream_usage=True)
        lost = encoded.lost
        written = json.loads(encoded.body)
        kind: Any = anthropic.types.message_create_params.MessageCreateParamsStreaming
        if target is OPENAI:
            kind = openai.types.chat.completion_create_params.CompletionCreateParamsStreaming
        drained(adapter(kind).validate_python({**written, "stream": True}))
        why = compare_requests(said_by(source, json.loads(one.request)), said_by(target, written), lost)
    except (HeadgateError, pydantic.ValidationError) as error:
        why = f"{type(error).__name__}: {str(error)[:300]}"
    return Outcome(route, one.provider, one.name, lost, why)


def said_by(dialect: Dialect, request: dict[str, Any]) -> dict[str, list[Any]]:
    """Reads by hand what a request says: texts by speaker, tool calls, results and tools."""
    said: dict[str, list[Any]] = collections.defaultdict(list)
    messages = list(request["messages"])
    if request.get("system"):
        messages.insert(0, {"role": "system", "content": request["system"]})
    for message in messages:
        role = "system" if message["role"] == "developer" else message["role"]
        if role in ("tool", "function"):
            said["results"].append(plain(message.get("content")))
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            said["calls"].append((function.get("name"), canonical(function.get("arguments", "{}"))))
        content = message.get("content")
        for part in [content] if isinstance(content, str) else content or ():
            kind = "text" if isinstance(part, str) else part["type"]
            if kind == "text":
                text = part if isinstance(part, str) else part["text"]
                if role not in ("tool", "function") and text.strip():
                    said[role].append(text)
            elif kind in ("image", "image_url"):
                said["images"].append(1)
            elif kind == "tool_use":
                said["calls"].append((part["name"], canonical(json.dumps(part["input"]))))
            elif kind == "tool_result":
                said["results"].append(plain(part.get("content")))
    for tool in [*(request.get("tools") or ()), *(request.get("functions") or ())]:
        function = tool.get("function", tool)
        if "name" in function and tool.get("type", "custom") in ("custom", "function"):
            said["tools"].append(function["name"])
    for key in ("stop", "stop_sequences"):
        if request.get(key):
            said["stop"] += [request[key]] if isinstance(request[key], str) else request[key]
    for key in ("max_tokens", "max_completion_tokens"):
        if request.get(key) is not None:
            said["limit"] = [request[key]]
    # Assistant blocks may be joined, and a turn may be split: what is said in what order is what counts.
    return {key: ["".join(value)] if key in _SPEAKERS else value for key, value in said.items()}


_SPEAKERS = ("system", "user", "assistant")


def plain(content: Any) -> str:
    """Returns the text of a tool's result."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def compare_requests(want: dict[str, list[Any]], got: dict[str, list[Any]], lost: tuple[str, ...]) -> str:
    """Returns what differs though nothing says it was lost."""
    problems = []
    for key in sorted(want.keys() | got.keys()):
        if want.get(key) == got.get(key) or (key == "limit" and key not in want):
            continue
        if not any(path.startswith("messages[" if key != "tools" else "tools[") for path in lost):
            problems.append(key)
    return ", ".join(problems)


def outcomes(data: pathlib.Path, recordings: Any) -> Iterator[Outcome]:
    """Yields how each recorded exchange fared on each route; a recording without a body has only its request."""
    for one in recordings.chat_exchanges(data):
        if one.status == 200:
            if one.body and not error_inside(OPENAI, one):
                yield from answer_outcomes(OPENAI, ANTHROPIC, one, told_by_openai, told_by_anthropic, FROM_OPENAI)
            if one.request != b"null" and one.request.strip():
                yield request_outcome(OPENAI, ANTHROPIC, named(one))
    for one in recordings.messages_exchanges(data):
        if one.status == 200:
            yield from answer_outcomes(ANTHROPIC, OPENAI, one, told_by_anthropic, told_by_openai, FROM_ANTHROPIC)
            yield request_outcome(ANTHROPIC, OPENAI, one)


def error_inside(dialect: Dialect, one: Any) -> bool:
    """Whether the recording is an error inside a 200, and is known for one."""
    if one.stream:
        return False
    try:
        dialect.read_answer(one.body)
    except UpstreamError:
        return "error" in json.loads(one.body)
    except HeadgateError:
        return False
    return False


def named(one: Any) -> Any:
    """Azure names the model in the URL, not in the request."""
    request = json.loads(one.request)
    if request.get("model"):
        return one
    return one._replace(request=json.dumps({**request, "model": "from-the-url"}).encode())


class Row(NamedTuple):
    """The counts of one route and provider; ``fields`` counts what was lost, ``failures`` says what went wrong."""

    passed: int
    loud: int
    failed: int
    fields: dict[str, int]
    failures: tuple[str, ...]


def tally(data: pathlib.Path, recordings: Any) -> dict[tuple[str, str], Row]:
    """Returns the counts by route and provider.

    Args:
        data: the folder of shared data.
        recordings: the module ``recordings`` beside this one.
    """
    groups: dict[tuple[str, str], list[Outcome]] = collections.defaultdict(list)
    for outcome in outcomes(data, recordings):
        groups[outcome.route, outcome.provider].append(outcome)
    table = {}
    for key, some in groups.items():
        fields = collections.Counter(generic(path) for one in some if not one.why for path in one.lost)
        failures = tuple(f"{one.name}: {one.why}" for one in some if one.why)
        passed = sum(not one.why and not one.lost for one in some)
        table[key] = Row(passed, len(some) - passed - len(failures), len(failures), dict(fields), failures)
    return table


def generic(path: str) -> str:
    """Returns a path without its numbers."""
    return "".join("N" if letter.isdigit() else letter for letter in path).replace("NN", "N")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import recordings as recorded

    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    for (route, provider), row in tally(folder, recorded).items():
        print(f"{route:42} {provider:22} passed {row.passed:4} loud {row.loud:4} failed {row.failed:3} {row.fields}")
        for failure in row.failures:
            print("   ", failure)
