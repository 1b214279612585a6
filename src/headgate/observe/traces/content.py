"""Prompts and answers as attributes, where the settings want them: what the store keeps, in the convention's shapes.

The shapes are those of the JSON schemas of release 1.41.1 (``gen-ai-input-messages.json`` and its like). Pictures,
sound and files are named, not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.choices import Choice, Choices
from headgate.core.errors import HeadgateError
from headgate.core.message import (
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.core.record import Record
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.base import Dialect
from headgate.dialects.openai_chat import OpenAIChat
from headgate.observe.traces.span import Value
from headgate.stores.payloads import Body

INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
OUTPUT_TYPE = "gen_ai.output.type"
TEMPERATURE = "gen_ai.request.temperature"
TOP_P = "gen_ai.request.top_p"
TOP_K = "gen_ai.request.top_k"
SEED = "gen_ai.request.seed"
STOP_SEQUENCES = "gen_ai.request.stop_sequences"
FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
CHOICE_COUNT = "gen_ai.request.choice.count"

TEXT_LIMIT = 32_768
"""Characters of one text."""
LIMIT = 256 * 1024
"""Bytes of one attribute; of more, the oldest messages are left out."""
_DIALECTS: Mapping[str, Dialect] = {one.name: one for one in (OpenAIChat(), Anthropic())}
_FINISHES = {"tool_calls": "tool_call"}

Json = dict[str, Any]


def read_content(record: Record, body: Body) -> dict[str, Value]:
    """Returns what was asked and answered; of what can not be read, nothing."""
    found: dict[str, Value] = {}
    dialect = _DIALECTS.get(record.dialect)
    if dialect is None:
        return found
    try:
        _add_request(found, dialect.read_request(dialect.view(body.request)))
    except (HeadgateError, NotImplementedError):
        pass  # a request that was refused for its shape, or one whose redacted form is none any more
    answers = [_answer(choice) for choice in _choices(body.response, dialect)]
    if answers:
        found[OUTPUT_MESSAGES] = _fit(answers)
    return found


def _add_request(found: dict[str, Value], asked: Conversation) -> None:
    said, told = [], []
    for message in asked.messages:
        if message.role in ("system", "developer"):
            told += [_part(part) for part in message.parts]
        else:
            said.append(_message(message))
    for name, many in ((INPUT_MESSAGES, said), (SYSTEM_INSTRUCTIONS, told)):
        if many:
            found[name] = _fit(many)
    if asked.tools:
        found[TOOL_DEFINITIONS] = _fit(
            [
                {"type": "function", "name": one.name, "description": one.description, "parameters": one.schema}
                for one in asked.tools
            ]
        )
    _add_parameters(found, asked)


def _add_parameters(found: dict[str, Value], asked: Conversation) -> None:
    if asked.output is not None:
        found[OUTPUT_TYPE] = "text" if asked.output.kind == "text" else "json"
    for name, number in (
        (TEMPERATURE, asked.temperature),
        (TOP_P, asked.top_p),
        (TOP_K, asked.top_k),
        (FREQUENCY_PENALTY, asked.frequency_penalty),
        (PRESENCE_PENALTY, asked.presence_penalty),
    ):
        if number is not None:
            found[name] = float(number)
    if asked.seed is not None and abs(asked.seed) < 1 << 63:
        found[SEED] = asked.seed
    if asked.n != 1:
        found[CHOICE_COUNT] = asked.n
    if asked.stop:
        found[STOP_SEQUENCES] = list(asked.stop)


def _message(message: Message) -> Json:
    return {"role": message.role, "parts": [_part(part) for part in message.parts]}


def _part(part: Part) -> Json:
    match part:
        case Text(text=text) | Refusal(text=text):
            return {"type": "text", "content": _cut(text)}
        case Thinking(text=text):
            return {"type": "reasoning", "content": _cut(text)}
        case ToolCall(id=id, name=name, arguments=arguments):
            return {"type": "tool_call", "id": id, "name": name, "arguments": _json(arguments)}
        case ToolResult(id=id, parts=parts):
            inner = [_part(one) for one in parts if isinstance(one, Part)]
            text = "\n".join([one.get("content", f"[{one['type']}]") for one in inner])
            return {"type": "tool_call_response", "id": id, "response": text}
        case Image():
            return {"type": "image"}
        case Audio():
            return {"type": "audio"}
        case Document(name=name):
            return {"type": "document", "name": name or ""}
    return {"type": type(part).__name__.lower()}


def _choices(response: bytes, dialect: Dialect) -> list[Choice]:
    """What a person would call the answer; of one that was cut, as far as it goes."""
    choices = Choices()
    try:
        if response.lstrip().startswith(b"{"):
            choices.feed(dialect.read_answer(response)[0].events)
        elif response:
            for frame in dialect.stream_decoder().feed(response):
                choices.feed(frame.events)
    except HeadgateError:
        return choices.all
    return choices.all


def _answer(choice: Choice) -> Json:
    parts: list[Json] = []
    if choice.reasoning:
        parts.append({"type": "reasoning", "content": _cut(choice.reasoning)})
    if choice.text or choice.refusal:
        parts.append({"type": "text", "content": _cut(choice.text or choice.refusal)})
    parts += [
        {"type": "tool_call", "id": one.id, "name": one.name, "arguments": _json(one.arguments)}
        for one in choice.tool_calls
    ]
    finish = "" if choice.finish is None else str(choice.finish)
    return {"role": "assistant", "parts": parts, "finish_reason": _FINISHES.get(finish, finish)}


def _json(text: str) -> Any:
    """A tool's arguments; as text where the model wrote something else."""
    if len(text) > TEXT_LIMIT:
        return _cut(text)
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return text


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}… ({len(text) - TEXT_LIMIT} characters more)"


def _fit(many: Sequence[Json]) -> str:
    """As JSON text, which is how spans carry what has structure; the last ones, where all are too much."""
    pieces = [msgspec.json.encode(one) for one in many]
    size = 0
    for start in range(len(pieces) - 1, -1, -1):
        size += len(pieces[start]) + 1
        if size > LIMIT and start + 1 < len(pieces):
            pieces = pieces[start + 1 :]
            break
    return f"[{b','.join(pieces).decode()}]"
