"""Neutral events rendered as a stream of chat.completion chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headgate.core.errors import UpstreamError
from headgate.core.event import (
    Citation,
    ErrorEvent,
    Event,
    Finish,
    Logprobs,
    OtherBlock,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.base import Encoder
from headgate.dialects.openai_chat.refusals import error_frame
from headgate.dialects.openai_chat.rendering import (
    Losses,
    annotation_of,
    audio_of,
    call_object,
    head_of,
    is_legacy,
    usage_object,
)
from headgate.dialects.openai_chat.wire import finish_word

_encode = msgspec.json.encode


class ChatStreamEncoder(Encoder):
    """One streamed answer: one id, the role first in each choice, usage last if asked for, then ``[DONE]``."""

    def __init__(self, model: str, include_usage: bool) -> None:
        """Args:
        model: what the caller asked for.
        include_usage: whether the caller wants the usage chunk.
        """
        self._model = model
        self._include_usage = include_usage
        self._head = b""
        self._roles: set[int] = set()
        self._calls: dict[tuple[int, int], ToolCallStart] = {}
        self._legacy: set[int] = set()
        self._usage: Usage | None = None
        self._losses = Losses()

    @property
    def lost(self) -> tuple[str, ...]:
        """See ``Encoder.lost``."""
        return self._losses.names

    def feed(self, events: Sequence[Event]) -> bytes:
        """See ``Encoder.feed``."""
        out: list[dict[str, Any]] = []
        tail = b""
        for event in events:
            if isinstance(event, Start):
                self._open(event)
            elif isinstance(event, UsageReport):
                self._usage = event.usage
            elif isinstance(event, ErrorEvent):
                error = UpstreamError(event.message, status=500, code=event.code, kind=event.kind)
                tail += error_frame(error)
            else:
                self._choice(out, event)
        return b"".join(map(self._chunk, out)) + tail

    def end(self) -> bytes:
        """See ``Encoder.end``."""
        if not self._include_usage or self._usage is None:
            return b"data: [DONE]\n\n"
        if not self._head:
            self._open(Start())
        usage = _encode(usage_object(self._usage))
        return b'data: %b"choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % (self._head, usage)

    def _open(self, start: Start) -> None:
        self._head = _encode(head_of(start, "chat.completion.chunk", self._model))[:-1] + b","

    def _choice(self, out: list[dict[str, Any]], event: Event) -> None:
        """Appends the choices that an event says; logprobs join the text that they belong to."""
        if isinstance(event, Logprobs):
            data = {"content": event.data.get("content"), "refusal": event.data.get("refusal")}
            if not out or out[-1]["index"] != event.choice or out[-1]["finish_reason"] is not None:
                self._add(out, event.choice, {}, None)
            out[-1]["logprobs"] = data
        elif isinstance(event, Finish):
            self._role(out, event.choice, "")
            word = finish_word(event.reason, event.choice in self._legacy)
            out.append({"index": event.choice, "delta": {}, "logprobs": None, "finish_reason": word})
        else:
            self._delta(out, event)

    def _delta(self, out: list[dict[str, Any]], event: Event) -> None:
        if isinstance(event, TextDelta):
            self._add(out, event.choice, {"content": event.text}, "")
        elif isinstance(event, ReasoningDelta):
            self._add(out, event.choice, {"reasoning_content": event.text}, None)
        elif isinstance(event, RefusalDelta):
            self._add(out, event.choice, {"refusal": event.text}, None)
        elif isinstance(event, ToolCallStart):
            self._call(out, event)
        elif isinstance(event, ToolCallDelta):
            self._arguments(out, event)
        elif isinstance(event, Citation) and (annotation := annotation_of(event)) is not None:
            self._add(out, event.choice, {"annotations": [annotation]}, None)
        elif isinstance(event, OtherBlock) and (audio := audio_of(event)) is not None:
            self._add(out, event.choice, {"audio": audio}, None)
        else:
            self._losses.add(event)

    def _call(self, out: list[dict[str, Any]], event: ToolCallStart) -> None:
        self._calls[event.choice, event.index] = event
        call = call_object(event, "")
        if is_legacy(event):
            self._legacy.add(event.choice)
            self._add(out, event.choice, {"function_call": call["function"]}, None)
        else:
            self._add(out, event.choice, {"tool_calls": [{"index": event.index, **call}]}, None)

    def _arguments(self, out: list[dict[str, Any]], event: ToolCallDelta) -> None:
        start = self._calls.get((event.choice, event.index))
        if start is not None and is_legacy(start):
            self._add(out, event.choice, {"function_call": {"arguments": event.arguments}}, None)
            return
        piece: dict[str, Any] = {"index": event.index, "function": {"arguments": event.arguments}}
        if start is not None and start.extra.get("custom"):
            piece = {"index": event.index, "custom": {"input": event.arguments}}
        self._add(out, event.choice, {"tool_calls": [piece]}, None)

    def _add(self, out: list[dict[str, Any]], choice: int, delta: dict[str, Any], content: str | None) -> None:
        self._role(out, choice, content)
        out.append({"index": choice, "delta": delta, "logprobs": None, "finish_reason": None})

    def _role(self, out: list[dict[str, Any]], choice: int, content: str | None) -> None:
        """Opens a choice with its role, as OpenAI does."""
        if choice not in self._roles:
            self._roles.add(choice)
            delta = {"role": "assistant", "content": content, "refusal": None}
            out.append({"index": choice, "delta": delta, "logprobs": None, "finish_reason": None})

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        if not self._head:
            self._open(Start())
        usage = b',"usage":null' if self._include_usage else b""
        return b'data: %b"choices":[%b]%b}\n\n' % (self._head, _encode(choice), usage)
