"""Reads Anthropic messages and count_tokens requests into what the simulator needs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.sim import tokens
from headgate.sim.ask import Ask, BadAsk, ToolOffer, cached_by_body, count_content, count_json, decode

_REASONING = 24


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: str | list[dict[str, Any]] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = None


_BODY = msgspec.json.Decoder(_Body)


def count_input(body: bytes) -> int:
    """Returns the input tokens of a count_tokens request (``max_tokens`` not needed).

    Raises:
        BadAsk: what the real API refuses with 400.
    """
    return _read(decode(_BODY, body)).input_tokens


@cached_by_body
def read_messages(body: bytes) -> Ask:
    """Reads a messages request.

    Raises:
        BadAsk: what the real API refuses with 400.
    """
    message: _Body = decode(_BODY, body)
    if message.max_tokens is None:
        raise BadAsk("max_tokens: Field required", "max_tokens")
    return _read(message)


def _read(body: _Body) -> Ask:
    if not body.messages:
        raise BadAsk("messages: at least one message is required", "messages")
    if body.max_tokens is not None and body.max_tokens < 1:
        raise BadAsk("max_tokens: must be greater than or equal to 1", "max_tokens")
    text, total = "", tokens.PER_REQUEST + count_content(body.system)[1]
    for message in body.messages:
        said, amount = count_content(message.content)
        total += amount + tokens.PER_MESSAGE
        if message.role == "user":
            text = said or text
    offers = tuple(_offer(tool) for tool in body.tools or () if tool.get("type") in (None, "custom"))
    total += sum(count_json(tool) for tool in body.tools or ())
    force, allowed = _choice(body.tool_choice, offers)
    last = body.messages[-1].content
    return Ask(
        wire="anthropic",
        model=body.model,
        text=text,
        input_tokens=total,
        max_tokens=body.max_tokens,
        stop=tuple(body.stop_sequences or ()),
        stream=bool(body.stream),
        include_usage=True,
        tools=offers,
        force=force,
        callable=allowed,
        parallel=not (body.tool_choice or {}).get("disable_parallel_tool_use"),
        output=_output(body),
        reasoning=_reasoning(body.thinking),
        after_tool=isinstance(last, list) and any(part.get("type") == "tool_result" for part in last),
    )


def _offer(tool: dict[str, Any]) -> ToolOffer:
    if not isinstance(tool.get("name"), str):
        raise BadAsk("tools: name: Field required", "tools")
    return ToolOffer(tool["name"], tool.get("input_schema") or {"type": "object"})


def _choice(choice: dict[str, Any] | None, offers: tuple[ToolOffer, ...]) -> tuple[str, bool]:
    kind = (choice or {}).get("type", "auto")
    if choice is None or kind in ("auto", "none"):
        return "", kind == "auto"
    if not offers:
        raise BadAsk("tool_choice: may only be specified while providing tools", "tool_choice")
    if kind == "any":
        return "any", True
    name = str(choice.get("name", ""))
    if kind != "tool" or not any(offer.name == name for offer in offers):
        raise BadAsk(f"tool_choice: Tool '{name}' not found in provided tools", "tool_choice")
    return name, True


def _reasoning(thinking: dict[str, Any] | None) -> int:
    kind = (thinking or {}).get("type", "disabled")
    if thinking is None or kind == "disabled":
        return 0
    budget = thinking.get("budget_tokens")
    if kind == "enabled" and not isinstance(budget, int):
        raise BadAsk("thinking.enabled.budget_tokens: Field required", "thinking.budget_tokens")
    return min(_REASONING, budget) if isinstance(budget, int) else _REASONING


def _output(body: _Body) -> dict[str, Any] | Literal[True] | None:
    form = (body.output_config or {}).get("format") or body.output_format or {}
    if form.get("type") != "json_schema":
        return None
    schema = form.get("schema")
    return schema if isinstance(schema, dict) else True
