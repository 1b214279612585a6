"""Reads the messages of an OpenAI chat request into the neutral conversation."""

from __future__ import annotations

from typing import Any

from headgate.core.message import AnyPart, Message, Other, Refusal, Role, Thinking, ToolCall, ToolResult
from headgate.dialects.openai_chat.read_parts import left_over, read_content
from headgate.dialects.openai_chat.wire import NAME
from headgate.dialects.shapes import get_object, get_text, want_list, want_object, want_text, wrong

_ROLES: dict[str, Role] = {"system": "system", "developer": "developer", "user": "user"}


def read_messages(value: Any) -> list[Message]:
    """Returns the turns; results of tools that follow one another become one ``tool`` message.

    Raises:
        BadRequest: a message has the wrong shape; ``param`` is its path.
    """
    messages: list[Message] = []
    legacy_ids: dict[str, str] = {}
    for index, item in enumerate(want_list(value, "messages")):
        path = f"messages[{index}]"
        data = want_object(item, path)
        role = data.get("role")
        if role == "tool" or role == "function":
            result = _result(data, path, legacy_ids if role == "function" else None)
            if messages and messages[-1].role == "tool":
                messages[-1].parts.append(result)
            else:
                messages.append(Message("tool", [result]))
        elif role == "assistant":
            messages.append(_assistant(data, path, legacy_ids))
        elif isinstance(role, str) and role in _ROLES:
            if data.get("content") is None:
                raise wrong(f"{path}.content", "a string or an array of content parts")
            parts = read_content(data["content"], f"{path}.content")
            _keep(parts, left_over(data, "role", "content", "name"))
            messages.append(Message(_ROLES[role], parts, get_text(data, "name", path)))
        else:
            raise wrong(f"{path}.role", "'system', 'developer', 'user', 'assistant' or 'tool'")
    return messages


def _assistant(data: dict[str, Any], path: str, legacy_ids: dict[str, str]) -> Message:
    parts: list[AnyPart] = []
    known = ["role", "content", "name", "refusal", "tool_calls", "function_call"]
    for key in ("reasoning_content", "reasoning"):
        if isinstance(data.get(key), str):
            known.append(key)
            if data[key] and not parts:
                parts.append(Thinking(text=data[key]))
    parts += read_content(data.get("content"), f"{path}.content")
    refusal = get_text(data, "refusal", path)
    if refusal:
        parts.append(Refusal(text=refusal))
    for number, call in enumerate(want_list(data.get("tool_calls") or [], f"{path}.tool_calls")):
        parts.append(_call(call, f"{path}.tool_calls[{number}]"))
    legacy = get_object(data, "function_call", path)
    if legacy is not None:
        name = want_text(legacy.get("name"), f"{path}.function_call.name")
        arguments = want_text(legacy.get("arguments"), f"{path}.function_call.arguments")
        legacy_ids[name] = f"call_function_{len(legacy_ids)}"
        parts.append(ToolCall(id=legacy_ids[name], name=name, arguments=arguments))
    _keep(parts, left_over(data, *known))
    return Message("assistant", parts, get_text(data, "name", path))


def _call(value: Any, path: str) -> AnyPart:
    call = want_object(value, path)
    if call.get("type", "function") != "function":
        return Other(data=call, origin=NAME)
    function = want_object(call.get("function"), f"{path}.function")
    return ToolCall(
        id=want_text(call.get("id"), f"{path}.id"),
        name=want_text(function.get("name"), f"{path}.function.name"),
        arguments=want_text(function.get("arguments"), f"{path}.function.arguments"),
        cache=get_object(call, "cache_control", path),
        extra=left_over(call, "id", "type", "function", "index", "cache_control"),
    )


def _result(data: dict[str, Any], path: str, legacy_ids: dict[str, str] | None) -> ToolResult:
    """``legacy_ids`` gives the made-up id of the call that a ``function`` message answers by name."""
    if legacy_ids is None:
        id = want_text(data.get("tool_call_id"), f"{path}.tool_call_id")
        extra = left_over(data, "role", "content", "tool_call_id", "cache_control")
    else:
        name = want_text(data.get("name"), f"{path}.name")
        id = legacy_ids.get(name, f"call_function_{name}")
        extra = left_over(data, "role", "content", "name", "cache_control")
    return ToolResult(
        id=id,
        parts=list(read_content(data.get("content"), f"{path}.content")),
        cache=get_object(data, "cache_control", path),
        extra=extra,
    )


def _keep(parts: list[AnyPart], extra: dict[str, Any]) -> None:
    """What a message says beside its parts goes with the first of them."""
    if not extra:
        return
    if not parts:
        parts.append(Other(data=extra, origin=NAME))
    else:
        parts[0].extra = {**parts[0].extra, **extra}
