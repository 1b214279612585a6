"""Renders neutral events for an Anthropic client: what both kinds of answer share, and the unary one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headgate.core.event import (
    BlockEnd,
    Citation,
    End,
    ErrorEvent,
    Event,
    Finish,
    FinishReason,
    Logprobs,
    OtherBlock,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.anthropic.wire import FINISH_EXTRAS, NAME, WIRE_OF_FINISH, encode, wire_usage
from headgate.dialects.base import Encoder

_CITATIONS = frozenset(
    {
        "char_location",
        "page_location",
        "content_block_location",
        "web_search_result_location",
        "search_result_location",
    }
)
_TOOL_EXTRAS = frozenset({"caller", "toolset_name"})
_TOOL_MARKS = frozenset({"function_call"})
"""How another wire wrote the call, which is nothing that this one could lose."""
_decode = msgspec.json.Decoder().decode

VALUE_OF_DELTA = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
    "citations_delta": "citation",
}


class Block:
    """A content block under way. ``deltas`` are (type, value) pairs not yet sent; ``key`` its neutral number."""

    __slots__ = ("arguments", "closed", "deltas", "head", "key", "kind", "open", "tool")

    def __init__(self, kind: str, key: int, head: dict[str, Any], tool: int = -1) -> None:
        self.kind = kind
        self.key = key
        self.head = head
        self.tool = tool
        self.open = False
        self.closed = False
        self.deltas: list[tuple[str, Any]] = []
        self.arguments: list[str] = []

    def parsed(self) -> dict[str, Any] | None:
        """Returns a tool call's arguments as an object, ``{}`` for none at all, None where they are not one."""
        text = "".join(self.arguments)
        if not text.strip():
            return {}
        try:
            value = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class Gathering(Encoder):
    """Sorts events into Anthropic's content blocks; a subclass says what to do with them.

    Anthropic has one answer (other choices are lost), no place for log-probabilities, and none for a model's own
    refusal apart from text: its words are text, that they stood apart is lost. (The finish ``refusal`` is what a
    classifier says; clients drop the turn on it.) An id is made up only where the answer has none.
    """

    def __init__(self, model: str) -> None:
        self._id = ""
        self._model = model
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._tools: dict[int, Block] = {}
        self._last: Block | None = None
        self._lost: dict[str, None] = {}

    @property
    def lost(self) -> tuple[str, ...]:
        """What of the answer this dialect can not express, by name."""
        return tuple(self._lost)

    def _add(self, block: Block) -> None:
        """A new block comes after all others."""
        raise NotImplementedError

    def _say(self, block: Block, kind: str, value: Any) -> None:
        """A block goes on."""
        raise NotImplementedError

    def _shut(self, block: Block) -> None:
        """A block is known to be whole."""
        block.closed = True

    def _take(self, event: Event) -> None:
        choice = getattr(event, "choice", 0)
        if choice:
            self._lost[f"choices[{choice}]"] = None
            return
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _at(self, kind: str, key: int, head: dict[str, Any]) -> Block:
        last = self._last
        if last is None or last.closed or last.kind != kind or last.key != key:
            last = self._last = Block(kind, key, head)
            self._add(last)
        return last

    def _start(self, event: Any) -> None:
        self._id = self._id or event.id
        self._model = event.model or self._model

    def _text(self, event: Any) -> None:
        if event.text:
            self._say(self._at("text", event.block, _TEXT), "text_delta", event.text)

    def _refusal(self, event: Any) -> None:
        if event.text:
            self._lost["refusal"] = None
            self._say(self._at("text", -1, _TEXT), "text_delta", event.text)

    def _reasoning(self, event: Any) -> None:
        if event.text:
            self._say(self._at("thinking", event.block, _THINKING), "thinking_delta", event.text)

    def _signature(self, event: Any) -> None:
        self._say(self._at("thinking", event.block, _THINKING), "signature_delta", event.signature)

    def _citation(self, event: Any) -> None:
        if event.data.get("type") not in _CITATIONS:
            self._lost["annotations"] = None
            return
        self._say(self._at("text", event.block, _TEXT), "citations_delta", event.data)

    def _redacted(self, event: Any) -> None:
        self._whole(event.block, {"type": "redacted_thinking", "data": event.data})

    def _other(self, event: Any) -> None:
        if event.origin != NAME:
            self._lost[str(event.data.get("type", "other"))] = None
            return
        self._whole(event.block, event.data)

    def _whole(self, key: int, head: dict[str, Any]) -> None:
        block = self._last = Block("whole", key, head)
        self._add(block)
        self._shut(block)

    def _tool(self, event: Any) -> None:
        head = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
        for key, value in event.extra.items():
            if key in _TOOL_EXTRAS:
                head[key] = value
            elif key not in _TOOL_MARKS:
                self._lost[f"tool_calls[{event.index}].{key}"] = None
        block = self._last = self._tools[event.index] = Block("tool", event.block, head, event.index)
        self._add(block)

    def _arguments(self, event: Any) -> None:
        if not event.arguments:
            return
        block = self._tools.get(event.index)
        if block is None or block.closed:
            if event.arguments.strip():
                self._lost[f"tool_calls[{event.index}].arguments"] = None
            return
        block.arguments.append(event.arguments)
        self._say(block, "input_json_delta", event.arguments)

    def _logprobs(self, event: Any) -> None:
        self._lost["logprobs"] = None

    def _end_block(self, event: Any) -> None:
        last = self._last
        if last is not None and last.key == event.block and not last.closed:
            self._shut(last)

    def _set_finish(self, event: Any) -> None:
        self._finish = event

    def _set_usage(self, event: Any) -> None:
        self._usage = event.usage

    def _end(self, event: Any) -> None:
        """The closing marker; a stream acts on it."""

    def _error(self, event: Any) -> None:
        """An error in band; only a stream has a place for it, a unary answer is never rendered then."""

    def _message(self) -> dict[str, Any]:
        """The envelope, with nothing known of the end."""
        return {
            "id": self._id or f"msg_{uuid.uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": wire_usage(self._usage or Usage()),
        }

    def _ending(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns what belongs into a finish's ``delta``, and what stands beside it."""
        finish = self._finish
        if finish is None:
            return {"stop_reason": None, "stop_sequence": None}, {}
        reason = finish.reason
        if reason is FinishReason.STOP and finish.stop is not None:
            reason = FinishReason.STOP_SEQUENCE
        word = WIRE_OF_FINISH[reason]
        if reason is FinishReason.OTHER and finish.wire == "compaction":
            word = finish.wire
        elif reason in (FinishReason.OTHER, FinishReason.MALFORMED_CALL):
            self._lost["finish_reason"] = None
        delta: dict[str, Any] = {"stop_reason": word, "stop_sequence": finish.stop}
        beside: dict[str, Any] = {}
        for key in FINISH_EXTRAS:
            if key in finish.extra:
                (beside if key == "context_management" else delta)[key] = finish.extra[key]
        return delta, beside

    def _check(self, block: Block) -> dict[str, Any]:
        """Returns a tool call's input; what is no object is lost, loudly: this wire has no place for it."""
        parsed = block.parsed()
        if parsed is None:
            self._lost[f"tool_calls[{block.tool}].arguments"] = None
            return {}
        return parsed


_TEXT: dict[str, Any] = {"type": "text", "text": ""}
_THINKING: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}

_HANDLERS: dict[type[Event], Callable[[Gathering, Any], None]] = {
    Start: lambda self, event: self._start(event),
    TextDelta: lambda self, event: self._text(event),
    ReasoningDelta: lambda self, event: self._reasoning(event),
    ReasoningSignature: lambda self, event: self._signature(event),
    RedactedReasoning: lambda self, event: self._redacted(event),
    RefusalDelta: lambda self, event: self._refusal(event),
    ToolCallStart: lambda self, event: self._tool(event),
    ToolCallDelta: lambda self, event: self._arguments(event),
    Citation: lambda self, event: self._citation(event),
    Logprobs: lambda self, event: self._logprobs(event),
    OtherBlock: lambda self, event: self._other(event),
    BlockEnd: lambda self, event: self._end_block(event),
    Finish: lambda self, event: self._set_finish(event),
    UsageReport: lambda self, event: self._set_usage(event),
    End: lambda self, event: self._end(event),
    ErrorEvent: lambda self, event: self._error(event),
}


class UnaryEncoder(Gathering):
    """Renders one answer as one ``message`` body."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._blocks: list[Block] = []

    def feed(self, events: Sequence[Event]) -> bytes:
        """Keeps the events; returns nothing yet."""
        for event in events:
            self._take(event)
        return b""

    def end(self) -> bytes:
        """Returns the body."""
        message = self._message()
        message["content"] = [self._render(block) for block in self._blocks]
        delta, beside = self._ending()
        message.update(delta)
        message.update(beside)
        return encode(message)

    def _add(self, block: Block) -> None:
        self._blocks.append(block)

    def _say(self, block: Block, kind: str, value: Any) -> None:
        block.deltas.append((kind, value))

    def _render(self, block: Block) -> dict[str, Any]:
        if block.kind == "tool":
            return {**block.head, "input": self._check(block)}
        data = dict(block.head)
        for kind, value in block.deltas:
            if kind == "citations_delta":
                data["citations"] = [*(data.get("citations") or []), value]
            else:
                name = VALUE_OF_DELTA[kind]
                data[name] = data[name] + value
        return data
