"""Writes a neutral conversation as an Anthropic messages request."""

from __future__ import annotations

from typing import Any

from headgate.core.message import Conversation, Encoded, Tool
from headgate.dialects.anthropic.wire import NAME, encode
from headgate.dialects.anthropic.write_messages import write_messages
from headgate.dialects.anthropic.write_parts import PartWriter

_DEFAULT_MAX_TOKENS = 4096
_MODES = {"auto": "auto", "any": "any", "none": "none", "one": "tool"}
_TIERS = {"auto": "auto", "default": "standard_only"}
_MIN_BUDGET = 1024

Body = dict[str, Any]


def write_request(conversation: Conversation, *, max_tokens_field: str) -> Encoded:
    """Renders a conversation; what this wire can not say is named by its path in the caller's request.

    Reasoning effort becomes ``output_config.effort``, a JSON schema ``output_config.format``; both are the current
    API's own. ``json_object`` and the sampling knobs that Anthropic lacks are lost; a temperature above 1 is sent as 1.
    """
    native = conversation.origin == NAME
    writer = PartWriter(native)
    limit = conversation.max_tokens or _DEFAULT_MAX_TOKENS
    body: Body = {"model": conversation.model, max_tokens_field: limit}
    if conversation.stream:
        body["stream"] = True
    system, body["messages"] = write_messages(conversation.messages, writer)
    if system is not None:
        body["system"] = system
    _tools(conversation, body, writer)
    _thinking(conversation, body, writer, limit)
    _sampling(conversation, body, writer)
    _output(conversation, body, writer)
    _identity(conversation, body, writer)
    for key, value in conversation.extra.items():
        if not native:
            writer.lose(key)
        elif isinstance(value, dict) and isinstance(body.get(key), dict):
            body[key].update(value)
        else:
            body[key] = value
    return Encoded(encode(body), tuple(writer.lost))


def _tools(conversation: Conversation, body: Body, writer: PartWriter) -> None:
    choice = conversation.tool_choice
    allowed = None if choice is None else choice.allowed
    tools = []
    for index, tool in enumerate(conversation.tools):
        if allowed is not None and tool.name not in allowed:
            continue
        if (data := _tool(tool, f"tools[{index}]", writer)) is not None:
            tools.append(data)
    if conversation.tools and (tools or writer.native):
        body["tools"] = tools
    parallel = conversation.parallel_tool_calls
    if not tools and not writer.native:
        # Anthropic refuses a tool_choice without tools; "auto" and "none" then say nothing anyway.
        if choice is not None and choice.mode in ("any", "one"):
            writer.lose("tool_choice")
        return
    data = {} if choice is None else {"type": _MODES[choice.mode]}
    if choice is not None and choice.name is not None:
        data["name"] = choice.name
    if parallel is not None and (writer.native or not parallel) and data.get("type") != "none":
        data.setdefault("type", "auto")
        data["disable_parallel_tool_use"] = not parallel
    if data:
        body["tool_choice"] = data


def _tool(tool: Tool, path: str, writer: PartWriter) -> Body | None:
    if tool.other is not None:
        if tool.origin == NAME:
            return tool.other
        writer.lose(path)
        return None
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    if not writer.native and "type" not in schema:
        schema = {"type": "object", **schema}
    data: Body = {"name": tool.name, "input_schema": schema}
    if tool.description is not None:
        data["description"] = tool.description
    if tool.strict or (writer.native and tool.strict is not None):
        data["strict"] = tool.strict
    if tool.cache is not None:
        data["cache_control"] = tool.cache
    if writer.native:
        data.update(tool.extra)
    else:
        for key in tool.extra:
            writer.lose(f"{path}.{key}")
    return data


def _thinking(conversation: Conversation, body: Body, writer: PartWriter, limit: int) -> None:
    mode, budget = conversation.thinking, conversation.thinking_tokens
    if conversation.effort == "none" and mode is None and not writer.native:
        mode = "disabled"
    if mode is None and budget is not None:
        mode = "enabled"
    if mode is None:
        return
    if mode == "enabled" and not writer.native:
        # A budget is at least 1,024 tokens and less than max_tokens; what does not fit is no thinking.
        budget = min(max(budget or _MIN_BUDGET, _MIN_BUDGET), limit - 1)
        if budget < _MIN_BUDGET:
            writer.lose("thinking")
            return
    data: Body = {"type": mode}
    if budget is not None:
        data["budget_tokens"] = budget
    body["thinking"] = data


def _sampling(conversation: Conversation, body: Body, writer: PartWriter) -> None:
    temperature, top_p, top_k = conversation.temperature, conversation.top_p, conversation.top_k
    if not writer.native:
        if temperature is not None and temperature > 1:
            writer.lose("temperature")
            temperature = 1
        if body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
            # Thinking wants its own sampling.
            for name, value in (("temperature", temperature), ("top_k", top_k)):
                if value is not None and not (name == "temperature" and value == 1):
                    writer.lose(name)
            temperature = top_k = None
        if top_p == 1:
            top_p = None
        elif top_p is not None and temperature is not None:
            # Current models take one of the two.
            writer.lose("top_p")
            top_p = None
    for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
        if value is not None:
            body[name] = value
    _stop(conversation, body, writer)
    if conversation.n > 1:
        writer.lose("n")
    for name in (
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "verbosity",
    ):
        value = getattr(conversation, name)
        if value is not None and value not in (0, False, {}):
            writer.lose(name)
    if conversation.seed == 0:
        writer.lose("seed")


def _stop(conversation: Conversation, body: Body, writer: PartWriter) -> None:
    stop = conversation.stop
    if stop is None:
        return
    kept = []
    for index, text in enumerate(stop):
        if writer.native or text.strip():
            kept.append(text)
        else:
            writer.lose(f"stop[{index}]" if len(stop) > 1 else "stop")
    if kept or writer.native:
        body["stop_sequences"] = kept


def _output(conversation: Conversation, body: Body, writer: PartWriter) -> None:
    config: Body = {}
    effort, output = conversation.effort, conversation.output
    if effort is not None and (writer.native or effort != "none"):
        if effort == "minimal" and not writer.native:
            writer.lose("reasoning_effort")
            effort = "low"
        config["effort"] = effort
    if output is not None and output.kind == "schema" and output.schema is not None:
        config["format"] = {"type": "json_schema", "schema": output.schema}
        if output.description is not None:
            writer.lose("response_format.json_schema.description")
    elif output is not None and output.kind != "text":
        writer.lose("response_format")
    if config:
        body["output_config"] = config


def _identity(conversation: Conversation, body: Body, writer: PartWriter) -> None:
    metadata, tier = conversation.metadata, conversation.service_tier
    if writer.native:
        if metadata is not None:
            body["metadata"] = metadata
    else:
        if metadata:
            writer.lose("metadata")
        if conversation.user:
            body["metadata"] = {"user_id": conversation.user}
        if tier is not None:
            if tier not in _TIERS:
                writer.lose("service_tier")
            tier = _TIERS.get(tier)
    if tier is not None:
        body["service_tier"] = tier
    if conversation.cache is not None:
        body["cache_control"] = conversation.cache
