"""Writes a neutral request that came in another dialect as an OpenAI chat request."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.message import Conversation, Encoded, OutputFormat, Tool, ToolChoice
from headgate.dialects.openai_chat.lost import Lost
from headgate.dialects.openai_chat.wire import NAME
from headgate.dialects.openai_chat.write_messages import write_messages

_SAME = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
    "verbosity",
)
_TIERS = {"auto": "auto", "standard_only": "default"}
_MODES = {"auto": "auto", "none": "none", "any": "required"}
_LOW_BUDGET, _MEDIUM_BUDGET = 4096, 16384


def write_request(conversation: Conversation, *, max_tokens_field: str, stream_usage: bool) -> Encoded:
    """See ``Dialect.write_request``."""
    lost = Lost(conversation.origin)
    body: dict[str, Any] = {"model": conversation.model, "messages": write_messages(conversation, lost)}
    if conversation.max_tokens is not None:
        body[max_tokens_field] = conversation.max_tokens
    if conversation.stream:
        body["stream"] = True
        if stream_usage:
            body["stream_options"] = {"include_usage": True}
    for key in _SAME:
        value = getattr(conversation, key)
        if value is not None:
            body[key] = value
    if conversation.n != 1:
        body["n"] = conversation.n
    _tools(body, conversation, lost)
    if conversation.output is not None:
        body["response_format"] = _output(conversation.output)
    _reasoning(body, conversation, lost)
    _account(body, conversation, lost)
    for key, value in lost.extra("", _flat(conversation, lost)).items():
        body[key] = {**value, **body[key]} if isinstance(value, dict) and isinstance(body.get(key), dict) else value
    return Encoded(msgspec.json.encode(body), lost.paths)


def _flat(conversation: Conversation, lost: Lost) -> dict[str, Any]:
    """What is left of a known object of another wire is named by its own keys: ``output_config.x``."""
    if lost.origin == NAME:
        return conversation.extra
    flat: dict[str, Any] = {}
    for key, value in conversation.extra.items():
        if key in ("tool_choice", "thinking", "output_config") and isinstance(value, dict):
            flat.update({f"{key}.{inner}": item for inner, item in value.items()})
        else:
            flat[key] = value
    return flat


def _tools(body: dict[str, Any], conversation: Conversation, lost: Lost) -> None:
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(conversation.tools):
        written = _tool(tool, f"tools[{index}]", lost)
        if written is not None:
            tools.append(written)
    if tools:
        body["tools"] = tools
    # OpenAI refuses choices about tools that are not there.
    if conversation.tool_choice is not None:
        if tools:
            body["tool_choice"] = _tool_choice(conversation.tool_choice)
        elif conversation.tool_choice.mode not in ("auto", "none"):
            lost.add("tool_choice")
    if conversation.parallel_tool_calls is not None and tools:
        body["parallel_tool_calls"] = conversation.parallel_tool_calls


def _tool(tool: Tool, path: str, lost: Lost) -> dict[str, Any] | None:
    if tool.other is not None:
        if tool.origin == NAME:
            return tool.other
        lost.add(path)
        return None
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    written: dict[str, Any] = {"type": "function", "function": function}
    if tool.cache is not None:
        if lost.origin == NAME:
            written["cache_control"] = tool.cache
        else:
            lost.add(f"{path}.cache_control")
    written.update(lost.extra(path, tool.extra))
    return written


def _tool_choice(choice: ToolChoice) -> Any:
    if choice.mode == "one":
        return {"type": "function", "function": {"name": choice.name}}
    if choice.allowed is not None:
        tools = [{"type": "function", "function": {"name": name}} for name in choice.allowed]
        return {"type": "allowed_tools", "allowed_tools": {"mode": _MODES[choice.mode], "tools": tools}}
    return _MODES[choice.mode]


def _output(output: OutputFormat) -> dict[str, Any]:
    if output.kind == "text":
        return {"type": "text"}
    if output.kind == "json":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": output.name or "answer"}
    for key in ("description", "schema", "strict"):
        value = getattr(output, key)
        if value is not None:
            schema[key] = value
    return {"type": "json_schema", "json_schema": schema}


def _reasoning(body: dict[str, Any], conversation: Conversation, lost: Lost) -> None:
    """Another wire's budget becomes the nearest effort; its exact number is lost, and so is the mere switch."""
    if conversation.effort is not None:
        body["reasoning_effort"] = conversation.effort
    if lost.origin == NAME:
        if conversation.thinking is not None:
            body["thinking"] = {"type": conversation.thinking}
            if conversation.thinking_tokens is not None:
                body["thinking"]["budget_tokens"] = conversation.thinking_tokens
        return
    budget = conversation.thinking_tokens
    if budget is not None:
        lost.add("thinking.budget_tokens")
        if conversation.effort is None and conversation.thinking != "disabled":
            body["reasoning_effort"] = (
                "low" if budget <= _LOW_BUDGET else "medium" if budget <= _MEDIUM_BUDGET else "high"
            )
    elif conversation.thinking is not None and "reasoning_effort" not in body:
        lost.add("thinking")


def _account(body: dict[str, Any], conversation: Conversation, lost: Lost) -> None:
    """Metadata, service tier, top_k and caching: who pays and where it runs."""
    tier = conversation.service_tier
    if lost.origin == NAME:
        for key in ("metadata", "service_tier", "top_k"):
            value = getattr(conversation, key)
            if value is not None:
                body[key] = value
        return
    for key, value in (conversation.metadata or {}).items():
        if key == "user_id" and isinstance(value, str):
            body.setdefault("user", value)
        else:
            lost.add(f"metadata.{key}")
    if tier is not None:
        if tier in _TIERS:
            body["service_tier"] = _TIERS[tier]
        else:
            lost.add("service_tier")
    if conversation.top_k is not None:
        lost.add("top_k")
    if conversation.cache is not None:
        lost.add("cache_control")
