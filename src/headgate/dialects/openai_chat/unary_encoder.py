"""Neutral events rendered as one chat.completion body."""

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
from headgate.dialects.openai_chat.refusals import error_body
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


class _Choice:
    """One answer as it is put together."""

    __slots__ = ("annotations", "arguments", "audio", "calls", "finish", "logprobs", "reasoning", "refusal", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.audio: dict[str, Any] | None = None
        self.calls: dict[int, ToolCallStart] = {}
        self.arguments: dict[int, list[str]] = {}
        self.logprobs: dict[str, list[Any] | None] | None = None
        self.finish: Finish | None = None

    def add(self, event: Event) -> bool:
        """Takes an event in; False where OpenAI's wire has no place for it."""
        if isinstance(event, TextDelta):
            self.texts.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self.reasoning.append(event.text)
        elif isinstance(event, RefusalDelta):
            self.refusal.append(event.text)
        elif isinstance(event, ToolCallStart):
            self.calls[event.index] = event
        elif isinstance(event, ToolCallDelta):
            self.arguments.setdefault(event.index, []).append(event.arguments)
        elif isinstance(event, Finish):
            self.finish = event
        elif isinstance(event, Logprobs):
            self._add_logprobs(event.data)
        elif isinstance(event, Citation) and (annotation := annotation_of(event)) is not None:
            self.annotations.append(annotation)
        elif isinstance(event, OtherBlock) and (audio := audio_of(event)) is not None:
            self._add_audio(audio)
        else:
            return False
        return True

    def render(self, index: int) -> dict[str, Any]:
        """Returns the choice in OpenAI's shape."""
        refusal = "".join(self.refusal) or None
        spoken = bool(self.calls or refusal or self.audio)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.texts) if self.texts or not spoken else None,
            "refusal": refusal,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.annotations:
            message["annotations"] = self.annotations
        if self.audio is not None:
            message["audio"] = self.audio
        legacy = False
        for number, start in sorted(self.calls.items()):
            call = call_object(start, "".join(self.arguments.get(number, ())))
            if is_legacy(start):
                legacy = True
                message["function_call"] = call["function"]
            else:
                message.setdefault("tool_calls", []).append(call)
        word = "stop" if self.finish is None else finish_word(self.finish.reason, legacy)
        return {"index": index, "message": message, "logprobs": self.logprobs, "finish_reason": word}

    def _add_logprobs(self, data: dict[str, Any]) -> None:
        if self.logprobs is None:
            self.logprobs = {"content": None, "refusal": None}
        for key in ("content", "refusal"):
            if isinstance(data.get(key), list):
                self.logprobs[key] = [*(self.logprobs[key] or ()), *data[key]]

    def _add_audio(self, audio: dict[str, Any]) -> None:
        if self.audio is None:
            self.audio = dict(audio)
            return
        for key, value in audio.items():
            joined = key in ("data", "transcript") and isinstance(value, str)
            self.audio[key] = self.audio.get(key, "") + value if joined else value


class ChatUnaryEncoder(Encoder):
    """One unary answer; everything goes out at its end."""

    def __init__(self, model: str) -> None:
        """Args:
        model: what the caller asked for.
        """
        self._model = model
        self._start = Start()
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._error: UpstreamError | None = None
        self._losses = Losses()

    @property
    def lost(self) -> tuple[str, ...]:
        """See ``Encoder.lost``."""
        return self._losses.names

    def feed(self, events: Sequence[Event]) -> bytes:
        """See ``Encoder.feed``."""
        for event in events:
            if isinstance(event, Start):
                self._start = event
            elif isinstance(event, UsageReport):
                self._usage = event.usage
            elif isinstance(event, ErrorEvent):
                self._error = UpstreamError(event.message, status=500, code=event.code, kind=event.kind)
            elif (index := getattr(event, "choice", None)) is not None and not self._choice(index).add(event):
                self._losses.add(event)
        return b""

    def end(self) -> bytes:
        """See ``Encoder.end``."""
        if self._error is not None:
            return error_body(self._error)
        body = head_of(self._start, "chat.completion", self._model)
        body["choices"] = [choice.render(index) for index, choice in sorted(self._choices.items())]
        if self._usage is not None:
            body["usage"] = usage_object(self._usage)
        return msgspec.json.encode(body)

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice
