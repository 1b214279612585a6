"""Reads an OpenAI chat request into the neutral conversation."""

from __future__ import annotations

from typing import Any

from headgate.core.errors import BadRequest
from headgate.core.message import Conversation, OutputFormat, Tool, ToolChoice
from headgate.dialects.base import View
from headgate.dialects.fields import decode_fields
from headgate.dialects.openai_chat.read_messages import read_messages
from headgate.dialects.openai_chat.read_parts import left_over
from headgate.dialects.openai_chat.wire import NAME
from headgate.dialects.shapes import (
    get_bool,
    get_count,
    get_number,
    get_object,
    get_text,
    want_list,
    want_object,
    want_text,
    wrong,
)

_KNOWN = (
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "n",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "thinking",
    "user",
    "metadata",
    "service_tier",
    "verbosity",
)


def read_request(view: View) -> Conversation:
    """See ``Dialect.read_request``."""
    data = decode_fields(view.fields)
    if "messages" not in data:
        raise BadRequest("'messages' is missing.", code="missing_field", param="messages")
    conversation = Conversation(model=view.model, messages=read_messages(data["messages"]), origin=NAME)
    conversation.stream = view.stream
    conversation.include_usage = view.include_usage
    conversation.max_tokens = view.max_tokens
    conversation.n = view.n
    conversation.extra = left_over(data, *_KNOWN)
    _sampling(conversation, data)
    _tools(conversation, data)
    _tool_choice(conversation, data)
    _output(conversation, data)
    _options(conversation, data)
    return conversation


def _sampling(conversation: Conversation, data: dict[str, Any]) -> None:
    conversation.temperature = get_number(data, "temperature")
    conversation.top_p = get_number(data, "top_p")
    conversation.top_k = get_count(data, "top_k") if data.get("top_k") != -1 else None
    conversation.frequency_penalty = get_number(data, "frequency_penalty")
    conversation.presence_penalty = get_number(data, "presence_penalty")
    seed = data.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise wrong("seed", "a whole number")
    conversation.seed = seed
    conversation.logprobs = get_bool(data, "logprobs", "")
    conversation.top_logprobs = get_count(data, "top_logprobs")
    bias = get_object(data, "logit_bias", "")
    for token, value in (bias or {}).items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise wrong(f"logit_bias.{token[:50]}", "a number")
    conversation.logit_bias = bias
    stop = data.get("stop")
    if isinstance(stop, str):
        conversation.stop = [stop]
    elif stop is not None:
        if not isinstance(stop, list):
            raise wrong("stop", "a string or an array of strings")
        conversation.stop = [want_text(text, f"stop[{index}]") for index, text in enumerate(stop)]


def _tools(conversation: Conversation, data: dict[str, Any]) -> None:
    tools: list[Tool] = []
    for index, value in enumerate(want_list(data.get("tools") or [], "tools")):
        path = f"tools[{index}]"
        tool = want_object(value, path)
        kind = want_text(tool.get("type"), f"{path}.type")
        if kind == "function":
            function = want_object(tool.get("function"), f"{path}.function")
            tools.append(_function(function, f"{path}.function"))
            tools[-1].cache = get_object(tool, "cache_control", path)
            tools[-1].extra |= left_over(tool, "type", "function", "cache_control")
        else:
            named = tool.get(kind)
            name = named.get("name") if isinstance(named, dict) else None
            tools.append(Tool(name if isinstance(name, str) else kind, other=tool, origin=NAME))
    for index, value in enumerate(want_list(data.get("functions") or [], "functions")):
        tools.append(_function(want_object(value, f"functions[{index}]"), f"functions[{index}]"))
    conversation.tools = tools


def _function(function: dict[str, Any], path: str) -> Tool:
    return Tool(
        want_text(function.get("name"), f"{path}.name"),
        get_text(function, "description", path),
        get_object(function, "parameters", path),
        get_bool(function, "strict", path),
        extra=left_over(function, "name", "description", "parameters", "strict"),
    )


def _tool_choice(conversation: Conversation, data: dict[str, Any]) -> None:
    conversation.parallel_tool_calls = get_bool(data, "parallel_tool_calls", "")
    choice, path = data.get("tool_choice"), "tool_choice"
    if choice is None:
        choice, path = data.get("function_call"), "function_call"
        if isinstance(choice, dict):
            choice = {"type": "function", "function": choice}
    if choice is None:
        return
    if choice in ("auto", "none"):
        conversation.tool_choice = ToolChoice(choice)
    elif choice == "required" or choice == "any":
        conversation.tool_choice = ToolChoice("any")
    elif isinstance(choice, dict):
        kind = want_text(choice.get("type"), f"{path}.type")
        if kind == "function":
            function = want_object(choice.get("function"), f"{path}.function")
            conversation.tool_choice = ToolChoice("one", want_text(function.get("name"), f"{path}.function.name"))
        elif (allowed := _allowed(choice)) is not None:
            conversation.tool_choice = allowed
        else:
            conversation.extra = {**conversation.extra, path: choice}
    else:
        raise wrong(path, "'none', 'auto', 'required' or an object that names a tool")


def _allowed(choice: dict[str, Any]) -> ToolChoice | None:
    """Returns a choice narrowed to some functions; None for anything that is not just that."""
    allowed = choice.get("allowed_tools") if choice.get("type") == "allowed_tools" else None
    if not isinstance(allowed, dict) or not isinstance(allowed.get("tools"), list):
        return None
    names: list[str] = []
    for tool in allowed["tools"]:
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            return None
        names.append(name)
    return ToolChoice("any" if allowed.get("mode") == "required" else "auto", allowed=names)


def _output(conversation: Conversation, data: dict[str, Any]) -> None:
    form = get_object(data, "response_format", "")
    if form is None:
        return
    kind = want_text(form.get("type"), "response_format.type")
    if kind == "text":
        conversation.output = OutputFormat("text")
    elif kind == "json_object":
        conversation.output = OutputFormat("json")
    elif kind == "json_schema":
        path = "response_format.json_schema"
        schema = want_object(form.get("json_schema"), path)
        conversation.output = OutputFormat(
            "schema",
            get_text(schema, "name", path),
            get_object(schema, "schema", path),
            get_bool(schema, "strict", path),
            get_text(schema, "description", path),
        )
    else:
        conversation.extra = {**conversation.extra, "response_format": form}


def _options(conversation: Conversation, data: dict[str, Any]) -> None:
    conversation.effort = get_text(data, "reasoning_effort", "")
    conversation.user = get_text(data, "user", "")
    if conversation.user is None and "safety_identifier" in conversation.extra:
        conversation.user = want_text(conversation.extra.pop("safety_identifier"), "safety_identifier")
    conversation.metadata = get_object(data, "metadata", "")
    conversation.service_tier = get_text(data, "service_tier", "")
    conversation.verbosity = get_text(data, "verbosity", "")
    extra: dict[str, Any] = {}
    options = left_over(get_object(data, "stream_options", "") or {}, "include_usage")
    if options:
        extra["stream_options"] = options
    thinking = get_object(data, "thinking", "")
    if thinking is not None:
        kind = thinking.get("type")
        budget = get_count(thinking, "budget_tokens", "thinking")
        if kind in ("enabled", "adaptive", "disabled"):
            conversation.thinking, conversation.thinking_tokens = kind, budget
            left = left_over(thinking, "type", "budget_tokens")
        else:
            left = thinking
        if left:
            extra["thinking"] = left
    if extra:
        conversation.extra = {**conversation.extra, **extra}
