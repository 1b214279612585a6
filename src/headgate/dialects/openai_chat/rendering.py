"""What both encoders share: usage and tool calls in OpenAI's shape, and how they say what they can not express."""

from __future__ import annotations

import secrets
import time
from typing import Any

from headgate.core.event import (
    Citation,
    Event,
    OtherBlock,
    ReasoningSignature,
    RedactedReasoning,
    Start,
    ToolCallStart,
)
from headgate.core.usage import Usage
from headgate.dialects.openai_chat.calls import CUSTOM, LEGACY
from headgate.dialects.openai_chat.wire import NAME


def head_of(start: Start, kind: str, model: str) -> dict[str, Any]:
    """Returns the fields that open an answer; what the answering wire has none of is made up.

    Args:
        start: the event that opened it.
        kind: ``chat.completion`` or ``chat.completion.chunk``.
        model: what the caller asked for.
    """
    head: dict[str, Any] = {
        "id": start.id or f"chatcmpl-{secrets.token_hex(14)}",
        "object": kind,
        "created": start.created or int(time.time()),
        "model": start.model or model,
    }
    for key in ("service_tier", "system_fingerprint"):
        value = start.extra.get(key)
        if isinstance(value, str) and (key != "service_tier" or value in _TIERS):
            head[key] = value
    return head


_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


def usage_object(usage: Usage) -> dict[str, Any]:
    """Returns usage in OpenAI's shape: cached tokens inside the prompt, reasoning inside the completion."""
    prompt = {"cached_tokens": usage.cached, "audio_tokens": usage.audio_input}
    written = usage.cache_write + usage.cache_write_1h
    if written:
        prompt["cache_write_tokens"] = written
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": usage.accepted_prediction,
            "rejected_prediction_tokens": usage.rejected_prediction,
        },
    }


def call_object(start: ToolCallStart, arguments: str) -> dict[str, Any]:
    """Returns a tool call in OpenAI's shape, without its index."""
    if start.extra.get(CUSTOM):
        call: dict[str, Any] = {"id": start.id, "type": "custom", "custom": {"name": start.name, "input": arguments}}
    else:
        function = {"name": start.name, "arguments": arguments}
        call = {"id": start.id, "type": "function", "function": function}
    if "extra_content" in start.extra:
        call["extra_content"] = start.extra["extra_content"]
    return call


def is_legacy(start: ToolCallStart) -> bool:
    """Whether the call belongs to the old ``functions`` interface."""
    return bool(start.extra.get(LEGACY))


def annotation_of(event: Citation) -> dict[str, Any] | None:
    """Returns a citation that OpenAI's wire can carry, or None."""
    return event.data if event.data.get("type") == "url_citation" else None


def audio_of(event: OtherBlock) -> dict[str, Any] | None:
    """Returns the audio in a block of our own wire, or None."""
    audio = event.data.get("audio") if event.origin == NAME else None
    return audio if isinstance(audio, dict) else None


class Losses:
    """Names of what an answer held that OpenAI's wire has no place for, each once, in order."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, event: Event) -> None:
        """Notes an event that goes nowhere; events that carry nothing are not losses."""
        if isinstance(event, ReasoningSignature):
            self._names["thinking.signature"] = None
        elif isinstance(event, RedactedReasoning):
            self._names["redacted_thinking"] = None
        elif isinstance(event, Citation):
            self._names["citations"] = None
        elif isinstance(event, OtherBlock):
            self._names[str(event.data.get("type") or event.origin)[:100]] = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self._names)
