"""Reads an Anthropic messages request into the neutral conversation."""

from __future__ import annotations

from typing import Any

from headgate.core.errors import BadRequest
from headgate.core.message import AnyPart, Conversation, Message, OutputFormat, Role, Text, Tool, ToolChoice, ToolResult
from headgate.dialects.anthropic.read_parts import read_content
from headgate.dialects.anthropic.wire import NAME
from headgate.dialects.base import View
from headgate.dialects.fields import decode_fields
from headgate.dialects.shapes import (
    get_bool,
    get_count,
    get_number,
    get_object,
    get_text,
    rest,
    want_list,
    want_object,
    want_text,
    wrong,
)

_KNOWN = (
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "tools",
    "tool_choice",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "output_config",
    "output_format",
    "metadata",
    "service_tier",
    "cache_control",
)
_MODES = {"auto": "auto", "any": "any", "none": "none", "tool": "one"}
_THINKING = ("enabled", "adaptive", "disabled")


def read_request(view: View) -> Conversation:
    """Decodes a whole request.

    Raises:
        BadRequest: a field has the wrong shape; ``param`` is its path.
    """
    data = decode_fields(view.fields)
    conversation = Conversation(model=view.model, messages=_messages(data), origin=NAME)
    conversation.stream = view.stream
    conversation.include_usage = True
    conversation.max_tokens = view.max_tokens
    conversation.user = view.user or None
    conversation.temperature = get_number(data, "temperature")
    conversation.top_p = get_number(data, "top_p")
    conversation.top_k = get_count(data, "top_k")
    conversation.metadata = get_object(data, "metadata", "")
    conversation.service_tier = get_text(data, "service_tier", "")
    conversation.cache = get_object(data, "cache_control", "")
    if (stop := data.get("stop_sequences")) is not None:
        texts = want_list(stop, "stop_sequences")
        conversation.stop = [want_text(text, f"stop_sequences[{index}]") for index, text in enumerate(texts)]
    conversation.extra = rest(data, *_KNOWN)
    if (tools := data.get("tools")) is not None:
        conversation.tools = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(want_list(tools, "tools"))]
    _tool_choice(conversation, get_object(data, "tool_choice", ""))
    _thinking(conversation, get_object(data, "thinking", ""))
    _output(conversation, data)
    return conversation


def _messages(data: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    system = data.get("system")
    if system is not None and system != []:
        messages.append(Message("system", _only_text(system, "system")))
    if "messages" not in data:
        raise BadRequest("'messages' is missing.", code="missing_field", param="messages")
    for index, value in enumerate(want_list(data["messages"], "messages")):
        path = f"messages[{index}]"
        message = want_object(value, path)
        role = message.get("role")
        if role == "system":
            messages.append(Message("system", _only_text(message.get("content"), f"{path}.content")))
        elif role == "user" or role == "assistant":
            parts = read_content(message.get("content"), f"{path}.content")
            messages += _split(role, parts)
        else:
            raise wrong(f"{path}.role", "'user', 'assistant' or 'system'")
    return messages


def _only_text(value: Any, path: str) -> list[AnyPart]:
    parts = read_content(value, path)
    for index, part in enumerate(parts):
        if not isinstance(part, Text):
            raise wrong(f"{path}[{index}]", "a text block")
    return parts


def _split(role: Role, parts: list[AnyPart]) -> list[Message]:
    """Tool results stand in user turns here, in messages of their own neutrally: a turn becomes its runs."""
    if role == "assistant" or not any(isinstance(part, ToolResult) for part in parts):
        return [Message(role, parts)]
    runs: list[Message] = []
    for part in parts:
        owner: Role = "tool" if isinstance(part, ToolResult) else role
        if not runs or runs[-1].role != owner:
            runs.append(Message(owner, []))
        runs[-1].parts.append(part)
    return runs


def _tool(value: Any, path: str) -> Tool:
    tool = want_object(value, path)
    kind = get_text(tool, "type", path)
    if kind is not None and kind != "custom":
        return Tool(
            get_text(tool, "name", path) or kind, other=tool, origin=NAME, cache=get_object(tool, "cache_control", path)
        )
    return Tool(
        want_text(tool.get("name"), f"{path}.name"),
        get_text(tool, "description", path),
        want_object(tool.get("input_schema"), f"{path}.input_schema"),
        get_bool(tool, "strict", path),
        get_object(tool, "cache_control", path),
        extra=rest(tool, "name", "description", "input_schema", "strict", "cache_control"),
    )


def _tool_choice(conversation: Conversation, choice: dict[str, Any] | None) -> None:
    if choice is None:
        return
    mode = _MODES.get(want_text(choice.get("type"), "tool_choice.type"))
    if mode is None:
        raise wrong("tool_choice.type", "'auto', 'any', 'tool' or 'none'")
    name = want_text(choice.get("name"), "tool_choice.name") if mode == "one" else None
    conversation.tool_choice = ToolChoice(mode, name)  # type: ignore[arg-type]
    if (disabled := get_bool(choice, "disable_parallel_tool_use", "tool_choice")) is not None:
        conversation.parallel_tool_calls = not disabled
    _keep(conversation, "tool_choice", rest(choice, "type", "name", "disable_parallel_tool_use"))


def _thinking(conversation: Conversation, thinking: dict[str, Any] | None) -> None:
    if thinking is None:
        return
    kind = want_text(thinking.get("type"), "thinking.type")
    if kind not in _THINKING:
        _keep(conversation, "thinking", thinking)
        return
    conversation.thinking = kind  # type: ignore[assignment]
    conversation.thinking_tokens = get_count(thinking, "budget_tokens", "thinking")
    _keep(conversation, "thinking", rest(thinking, "type", "budget_tokens"))


def _output(conversation: Conversation, data: dict[str, Any]) -> None:
    """``output_format`` is the older place of ``output_config.format``; it moves there."""
    config = get_object(data, "output_config", "") or {}
    path, form = "output_config.format", get_object(config, "format", "output_config")
    if form is None:
        path, form = "output_format", get_object(data, "output_format", "")
    conversation.effort = get_text(config, "effort", "output_config")
    left = rest(config, "effort", "format")
    if form is not None:
        if form.get("type", "json_schema") == "json_schema" and not rest(form, "type", "schema"):
            conversation.output = OutputFormat("schema", schema=want_object(form.get("schema"), f"{path}.schema"))
        else:
            left["format"] = form
    _keep(conversation, "output_config", left)


def _keep(conversation: Conversation, key: str, left: dict[str, Any]) -> None:
    """What a known object says beyond its neutral form stays under its wire name."""
    if left:
        conversation.extra = {**conversation.extra, key: left}
