"""Reads OpenAI chat and embeddings requests into what the simulator needs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.sim import tokens
from headgate.sim.ask import Ask, BadAsk, ToolOffer, cached_by_body, count_content, count_json, decode

_EFFORT = {"none": 0, "minimal": 4, "low": 8, "medium": 16, "high": 32, "xhigh": 48, "max": 64}


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Chat(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None


class EmbeddingsAsk(msgspec.Struct):
    """An embeddings request, as it came."""

    model: str
    input: str | list[str | int | list[int]]
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def texts(self) -> list[str | bytes]:
        """Every text asked for; token lists as their JSON bytes."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [msgspec.json.encode(self.input)]
        return [each if isinstance(each, str) else msgspec.json.encode(each) for each in self.input]

    @property
    def input_tokens(self) -> int:
        """Tokens of all texts together; a token list counts its tokens."""
        if isinstance(self.input, str):
            return tokens.count(self.input)
        return sum(
            1 if isinstance(each, int) else tokens.count(each) if isinstance(each, str) else len(each)
            for each in self.input
        )


_CHAT = msgspec.json.Decoder(_Chat)
_EMBEDDINGS = msgspec.json.Decoder(EmbeddingsAsk)


def read_embeddings(body: bytes) -> EmbeddingsAsk:
    """Reads an embeddings request.

    Raises:
        BadAsk: malformed, nothing to embed, or a dimension outside 1..8192.
    """
    ask: EmbeddingsAsk = decode(_EMBEDDINGS, body)
    if not ask.input or "" in ask.texts:
        raise BadAsk("input: cannot be empty", "input")
    if ask.dimensions is not None and not 1 <= ask.dimensions <= 8192:
        raise BadAsk("dimensions: must be between 1 and 8192", "dimensions")
    return ask


@cached_by_body
def read_chat(body: bytes) -> Ask:
    """Reads a chat completions request.

    Raises:
        BadAsk: what the real API refuses with 400.
    """
    chat: _Chat = decode(_CHAT, body)
    if not chat.messages:
        raise BadAsk("messages: array too short, expected at least 1 message", "messages")
    text, total = "", tokens.PER_REQUEST
    for message in chat.messages:
        said, amount = count_content(message.content)
        total += amount + tokens.PER_MESSAGE
        if message.role == "user":
            text = said
        for call in message.tool_calls or ():
            total += count_json(call.get("function") or call.get("custom"))
    offers = tuple(_offer(tool) for tool in chat.tools or () if tool.get("type") == "function")
    total += sum(count_json(tool) for tool in chat.tools or ())
    force, allowed = _choice(chat.tool_choice, offers)
    limit = chat.max_completion_tokens if chat.max_completion_tokens is not None else chat.max_tokens
    if limit is not None and limit < 1:
        raise BadAsk("max_tokens: must be at least 1", "max_tokens")
    amount = chat.n if chat.n is not None else 1
    if not 1 <= amount <= 128:
        raise BadAsk("n: must be between 1 and 128", "n")
    return Ask(
        wire="openai",
        model=chat.model,
        text=text,
        input_tokens=total,
        max_tokens=limit,
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        n=amount,
        stream=bool(chat.stream),
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        tools=offers,
        force=force,
        callable=allowed,
        parallel=chat.parallel_tool_calls is not False,
        output=_output(chat.response_format),
        reasoning=_EFFORT.get(chat.reasoning_effort or "none", 16),
        after_tool=chat.messages[-1].role == "tool",
    )


def _offer(tool: dict[str, Any]) -> ToolOffer:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadAsk("tools: a function needs a name", "tools")
    return ToolOffer(function["name"], function.get("parameters") or {"type": "object"})


def _choice(choice: str | dict[str, Any] | None, offers: tuple[ToolOffer, ...]) -> tuple[str, bool]:
    if choice is None or choice == "auto":
        return "", True
    if choice == "none":
        return "", False
    if not offers:
        raise BadAsk("tool_choice: only allowed when tools are specified", "tool_choice")
    if choice == "required":
        return "any", True
    name = ""
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = (choice.get("function") or {}).get("name", "")
    elif isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        if allowed.get("mode") != "required":
            return "", True
        name = ((allowed.get("tools") or [{}])[0].get("function") or {}).get("name", "")
    if not any(offer.name == name for offer in offers):
        raise BadAsk(f"tool_choice: '{name or choice}' is not among the tools", "tool_choice")
    return name, True


def _output(response_format: dict[str, Any] | None) -> dict[str, Any] | Literal[True] | None:
    kind = (response_format or {}).get("type", "text")
    if kind == "json_object":
        return True
    if kind == "json_schema" and response_format is not None:
        schema = (response_format.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, dict) else True
    return None
