"""The Anthropic wire as typed structs: only the fields that somebody here reads, decoded in one pass."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.event import FinishReason
from headgate.core.usage import Usage, priced_tier

NAME = "anthropic"


class CacheCreation(msgspec.Struct, gc=False):
    """Cache writes by lifetime."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class OutputDetails(msgspec.Struct, gc=False):
    """What of the output was thinking."""

    thinking_tokens: int | None = 0


class ServerToolUse(msgspec.Struct, gc=False):
    """Calls of provider-side tools."""

    web_search_requests: int | None = 0


class WireUsage(msgspec.Struct, gc=False):
    """Token counts as Anthropic writes them: cache reads and writes stand beside ``input_tokens``.

    In a stream ``message_delta`` repeats counts cumulatively; what it leaves out stays as ``message_start`` said.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: Any = None
    speed: Any = None

    def over(self, earlier: WireUsage) -> WireUsage:
        """Returns these counts with what is missing taken from ``earlier``."""
        return WireUsage(
            earlier.input_tokens if self.input_tokens is None else self.input_tokens,
            earlier.output_tokens if self.output_tokens is None else self.output_tokens,
            _first(self.cache_creation_input_tokens, earlier.cache_creation_input_tokens),
            _first(self.cache_read_input_tokens, earlier.cache_read_input_tokens),
            self.cache_creation or earlier.cache_creation,
            self.output_tokens_details or earlier.output_tokens_details,
            self.server_tool_use or earlier.server_tool_use,
            self.service_tier or earlier.service_tier,
            self.speed or earlier.speed,
        )

    def neutral(self) -> Usage:
        """Returns the counts in the neutral convention: the whole prompt as ``input``."""
        read = self.cache_read_input_tokens or 0
        long = short = 0
        detail = self.cache_creation
        if detail is not None:
            long, short = detail.ephemeral_1h_input_tokens, detail.ephemeral_5m_input_tokens
        total = self.cache_creation_input_tokens
        if total is not None and total != long + short:
            # The two disagree (the total is reported again at the end, its parts are not): the total rules.
            long = min(long, total)
            short = total - long
        details, server = self.output_tokens_details, self.server_tool_use
        return Usage(
            (self.input_tokens or 0) + read + long + short,
            self.output_tokens or 0,
            read,
            short,
            long,
            0 if details is None else details.thinking_tokens or 0,
            searches=0 if server is None else server.web_search_requests or 0,
            tier=priced_tier(self.speed) or priced_tier(self.service_tier),
        )


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


def wire_usage(usage: Usage) -> dict[str, Any]:
    """Returns neutral counts in the shape of a unary body's or ``message_start``'s ``usage``."""
    written = usage.cache_write + usage.cache_write_1h
    wire: dict[str, Any] = {
        "input_tokens": max(0, usage.input - usage.cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.searches:
        wire["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    return wire


class WireError(msgspec.Struct):
    """The inside of an error body or event."""

    type: str = ""
    message: str = ""


class AnswerBlock(msgspec.Struct, gc=False):
    """As much of a unary answer's block as its size needs."""

    type: str
    text: str | None = None
    thinking: str | None = None
    input: msgspec.Raw = msgspec.Raw()

    @property
    def size(self) -> int:
        """Characters that a person or a tool would see."""
        return len(self.text or self.thinking or self.input)


class StartMessage(msgspec.Struct):
    """The message of ``message_start``."""

    id: str = ""
    model: str = ""
    content: list[AnswerBlock] = []
    stop_reason: str | None = None
    usage: WireUsage | None = None


class Delta(msgspec.Struct, gc=False):
    """The ``delta`` of ``content_block_delta`` and of ``message_delta``, in one struct: one decoder for all."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    signature: str = ""
    citation: msgspec.Raw = msgspec.Raw()
    stop_reason: str | None = None


class StreamEvent(msgspec.Struct, gc=False):
    """Any stream event. What is raw here is decoded only when somebody asks for the neutral event."""

    type: str
    index: int = 0
    delta: Delta | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    message: StartMessage | None = None
    usage: WireUsage | None = None
    error: WireError | None = None


class BlockHead(msgspec.Struct, gc=False):
    """As much of a ``content_block`` as tells what it is and whether anybody sees it yet."""

    type: str
    text: str = ""
    thinking: str = ""


class Answer(msgspec.Struct, gc=False):
    """A unary answer, or the error that stands in its place."""

    type: str = ""
    id: str = ""
    model: str = ""
    content: list[AnswerBlock] | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    error: WireError | None = None


decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_head = msgspec.json.Decoder(BlockHead).decode
decode_answer = msgspec.json.Decoder(Answer).decode
decode_object = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.encode

FINISH_OF_WIRE: dict[str, FinishReason] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSE,
    "refusal": FinishReason.REFUSAL,
    "model_context_window_exceeded": FinishReason.CONTEXT_LENGTH,
}

WIRE_OF_FINISH: dict[FinishReason, str] = {
    FinishReason.STOP: "end_turn",
    FinishReason.STOP_SEQUENCE: "stop_sequence",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.REFUSAL: "refusal",
    FinishReason.PAUSE: "pause_turn",
    FinishReason.MALFORMED_CALL: "end_turn",
    FinishReason.CONTEXT_LENGTH: "model_context_window_exceeded",
    FinishReason.OTHER: "end_turn",
}

FINISH_EXTRAS = ("stop_details", "container", "context_management")
"""Keys that ride on the finish and have no neutral form."""


def finish_of(wire: str) -> FinishReason:
    """Returns the neutral reason for Anthropic's word; ``OTHER`` for one that is not known (``compaction``…)."""
    return FINISH_OF_WIRE.get(wire, FinishReason.OTHER)
