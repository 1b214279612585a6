"""How many input tokens a request will likely come to: by its model's tokenizer where known, else by characters."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.encoding import Encoding
from headgate.core.errors import BadRequest
from headgate.core.message import (
    AnyPart,
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Other,
    RedactedThinking,
    Tool,
    ToolCall,
    ToolResult,
)
from headgate.dialects.base import Dialect, View
from headgate.dialects.fields import decode_fields
from headgate.dialects.tokens import Counter, counter

_PER_MESSAGE = 3
_REPLY = 3
_PER_CALL = 8
_AUDIO_BYTES = 8_000
"""Base64 bytes of a second of compressed speech."""


class Estimate(msgspec.Struct, frozen=True):
    """Input tokens, and how they were counted: ``"tokenizer"`` or ``"characters"``."""

    tokens: int
    method: str


def estimate_input(view: View, dialect: Dialect, encoding: Encoding) -> Estimate:
    """Returns the likely number of input tokens of a request at a deployment.

    Args:
        view: the request's top level.
        dialect: the one it is written in.
        encoding: of the deployment. Its tokenizer is loaded here if it is not yet: 60 ms, 65 MB.

    Raises:
        BadRequest: the request is malformed; ``param`` names the field.
    """
    if "messages" in view.fields:
        return estimate_conversation(dialect.read_request(view), encoding)
    count, method = _counter(encoding)
    return Estimate(_count_texts(view, count), method)


def estimate_conversation(conversation: Conversation, encoding: Encoding) -> Estimate:
    """Returns the likely number of input tokens of a conversation at a deployment; ``encoding`` as above."""
    count, method = _counter(encoding)
    return Estimate(_count_conversation(conversation, count, encoding), method)


def _counter(encoding: Encoding) -> tuple[Counter, str]:
    count = counter(encoding.name)
    return (_by_characters, "characters") if count is None else (count, "tokenizer")


def _by_characters(text: str) -> int:
    """A token for 3.5 ASCII characters, and for any other character: on the high side for prose."""
    ascii_only = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-ascii_only * 2 // 7) + len(text) - ascii_only


def _count_texts(view: View, count: Counter) -> int:
    """Counts an embeddings input: a text, texts, tokens, or lists of tokens."""
    given = decode_fields({"input": view.fields["input"]})["input"] if "input" in view.fields else None
    if isinstance(given, str):
        return count(given)
    if isinstance(given, list) and given:
        if all(isinstance(item, int) for item in given):
            return len(given)
        if all(isinstance(item, str | list) for item in given):
            return sum(count(item) if isinstance(item, str) else len(item) for item in given)
    raise BadRequest("'input' must be a text, or a list of texts or tokens.", code="invalid_type", param="input")


def _count_conversation(conversation: Conversation, count: Counter, encoding: Encoding) -> int:
    total = _REPLY
    for message in conversation.messages:
        total += _count_message(message, count, encoding)
    if conversation.tools:
        # What stands before and after the declarations.
        total += 9 + encoding.tools + sum(_count_tool(tool, count) for tool in conversation.tools)
    output = conversation.output
    if output is not None and output.schema is not None:
        total += count(_json(output.schema))
    return total


def _count_message(message: Message, count: Counter, encoding: Encoding) -> int:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    total = max(1, len(results)) * (_PER_MESSAGE + 1)
    if message.name:
        total += 1 + count(message.name)
    return total + sum(_count_part(part, count, encoding) for part in message.parts)


def _count_part(part: AnyPart, count: Counter, encoding: Encoding) -> int:
    if isinstance(part, Image):
        return 85 if part.detail == "low" else encoding.image // 2
    if isinstance(part, Audio):
        return 10 * (1 + len(part.data) // _AUDIO_BYTES)
    if isinstance(part, ToolResult):
        return sum(_count_part(inner, count, encoding) for inner in part.parts)
    if isinstance(part, ToolCall):
        return _PER_CALL + count(part.name) + count(part.arguments)
    if isinstance(part, Document):
        return _count_document(part, count, encoding)
    if isinstance(part, RedactedThinking | Other):
        return count(_json(part.data))
    return count(part.text)


def _count_document(part: Document, count: Counter, encoding: Encoding) -> int:
    if part.content is not None:
        return sum(_count_part(inner, count, encoding) for inner in part.content)
    if part.text is not None:
        return count(part.text)
    return encoding.page // 2 * (1 + len(part.data or "") * 3 // 4 // 50_000)


def _count_tool(tool: Tool, count: Counter) -> int:
    """Counts a function as the declaration that the model is shown: name, description, one line a property."""
    if tool.other is not None:
        return count(_json(tool.other))
    total = 7 + count(f"{tool.name}:{(tool.description or '').rstrip('.')}")
    return total + _count_schema(tool.schema or {}, count)


def _count_schema(schema: dict[str, Any], count: Counter) -> int:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return 0
    total = 3
    for name, about in properties.items():
        if not isinstance(about, dict):
            continue
        kind, words = about.get("type", "any"), str(about.get("description", "")).rstrip(".")
        total += 3 + count(f"{name}:{kind}:{words}")
        choices = about.get("enum")
        if isinstance(choices, list):
            total += sum(3 + count(str(choice)) for choice in choices) - 3
        total += _count_schema(about, count)
        items = about.get("items")
        if isinstance(items, dict):
            total += _count_schema(items, count)
    return total


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
