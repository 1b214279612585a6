"""The Ask: what the simulator needs to know of a request, whichever dialect it came in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headgate.sim import tokens

Wire = Literal["openai", "anthropic"]


class ToolOffer(msgspec.Struct, frozen=True):
    """A tool that the request offers; ``schema`` is the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request, reduced to what decides the answer.

    Attributes:
        wire: whose API it came by.
        model: as the caller wrote it.
        text: the last user message's text.
        input_tokens: by ``sim.tokens``, messages and tools together.
        force: ``""`` (the model may choose), ``"any"`` (some tool) or a tool's name.
        callable: whether calling a tool is allowed at all.
        output: None for text, True for any JSON object, or a JSON Schema.
        reasoning: how many tokens of reasoning to show; 0 for none.
        after_tool: whether the last message holds a tool's result.
    """

    wire: Wire
    model: str
    text: str
    input_tokens: int
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    tools: tuple[ToolOffer, ...] = ()
    force: str = ""
    callable: bool = True
    parallel: bool = True
    output: dict[str, Any] | Literal[True] | None = None
    reasoning: int = 0
    after_tool: bool = False


class BadAsk(Exception):
    """A request that the real API would refuse with 400; ``param`` names the field to blame, or is None."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """Returns the decoded body.

    Raises:
        BadAsk: not JSON, a field missing or of the wrong type.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise BadAsk(f"{path.rstrip('`')}: {message}" if path else message, path.rstrip("`") or None) from None
    except msgspec.DecodeError as error:
        raise BadAsk(f"We could not parse the JSON body of your request: {error}") from None


def count_content(content: Any) -> tuple[str, int]:
    """Returns the text of a message's content (a string, or a list of parts) and its tokens, pictures counted."""
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, tokens.count(content)
    texts: list[str] = []
    total = 0
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(text)
            total += tokens.count(text)
        elif kind == "tool_result":
            total += count_content(part.get("content"))[1]
        elif kind == "tool_use":
            total += count_json(part.get("input"))
        elif kind == "thinking":
            total += tokens.count(str(part.get("thinking", "")))
        elif kind == "refusal":
            total += tokens.count(str(part.get("refusal", "")))
        elif kind is not None:
            total += tokens.PER_IMAGE
        else:
            raise BadAsk("messages: every content part needs a type", "messages")
    return "\n".join(texts), total


def count_json(value: Any) -> int:
    """Returns the tokens of a value written as compact JSON."""
    return tokens.count(msgspec.json.encode(value).decode())


def cached_by_body(parse: Callable[[bytes], Ask]) -> Callable[[bytes], Ask]:
    """Remembers what small bodies parse to; parsing is pure, and load tests repeat themselves."""
    remembered = functools.lru_cache(maxsize=256)(parse)

    def parse_ask(body: bytes) -> Ask:
        return remembered(body) if len(body) <= 4096 else parse(body)

    return parse_ask
