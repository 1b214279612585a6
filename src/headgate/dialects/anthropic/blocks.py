"""Whole parts of an answer as neutral events: a message, a content block, a finish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.core.event import (
    BlockEnd,
    Citation,
    Event,
    Finish,
    OtherBlock,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.anthropic.wire import FINISH_EXTRAS, NAME, finish_of


def tool_arguments(value: Any) -> str:
    """Returns a tool's input as JSON text; ``{}`` where there is none."""
    return "{}" if not value else msgspec.json.encode(value).decode()


def block_events(data: dict[str, Any], index: int, tool: int, *, ends: bool = True) -> list[Event]:
    """Returns the neutral events of one block.

    Args:
        data: the block as on the wire.
        index: its number in the answer.
        tool: the number of the next tool call, for a ``tool_use`` block.
        ends: whether a ``BlockEnd`` closes them.
    """
    kind = data.get("type")
    events: list[Event] = []
    if kind == "text":
        if text := data.get("text"):
            events.append(TextDelta(text, 0, index))
        events += [Citation(citation, 0, index) for citation in data.get("citations") or ()]
    elif kind == "thinking":
        if text := data.get("thinking"):
            events.append(ReasoningDelta(text, 0, index))
        if signature := data.get("signature"):
            events.append(ReasoningSignature(signature, 0, index))
    elif kind == "redacted_thinking":
        events.append(RedactedReasoning(data.get("data", ""), 0, index))
    elif kind == "tool_use":
        extra = {key: value for key, value in data.items() if key not in ("type", "id", "name", "input")}
        events.append(ToolCallStart(tool, data.get("id", ""), data.get("name", ""), 0, index, extra))
        events.append(ToolCallDelta(tool, tool_arguments(data.get("input"))))
    else:
        events.append(OtherBlock(data, NAME, 0, index))
    if ends:
        events.append(BlockEnd(block=index))
    return events


def finish_event(word: str, data: Mapping[str, Any]) -> Finish:
    """Returns the finish for Anthropic's word; ``data`` holds ``stop_sequence`` and what rides along with it."""
    extra = {key: value for key in FINISH_EXTRAS if (value := data.get(key)) is not None}
    return Finish(finish_of(word), 0, word, data.get("stop_sequence"), extra)


def message_events(data: Mapping[str, Any], usage: Usage | None) -> list[Event]:
    """Returns the events of a whole message; its finish only where it has ended."""
    events: list[Event] = [Start(data.get("id", ""), data.get("model", ""))]
    tools = 0
    for index, block in enumerate(data["content"]):
        events += block_events(block, index, tools)
        tools += block.get("type") == "tool_use"
    if (word := data.get("stop_reason")) is not None:
        events.append(finish_event(word, data))
    if usage is not None:
        events.append(UsageReport(usage))
    return events
