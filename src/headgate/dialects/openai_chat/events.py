"""Neutral events out of decoded OpenAI chunks and answers; called only when somebody asks for events."""

from __future__ import annotations

from typing import Any

from headgate.core.event import (
    Citation,
    End,
    Event,
    Finish,
    Logprobs,
    OtherBlock,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    UsageReport,
)
from headgate.dialects.openai_chat.calls import CallTracker
from headgate.dialects.openai_chat.wire import (
    NAME,
    Answer,
    AnswerChoice,
    Chunk,
    Delta,
    FirstChunk,
    WireUsage,
    finish_reason,
    text_of,
)


def chunk_events(chunk: Chunk) -> list[Event]:
    """Returns the events of a chunk without tool calls."""
    return _chunk_events(chunk, {})


def full_events(wire: tuple[Chunk, dict[int, list[Event]], bool]) -> list[Event]:
    """Returns the events of a chunk with its tool call events by choice; True where it is the answer's first."""
    chunk, calls, first = wire
    events = _chunk_events(chunk, calls)
    if first and isinstance(chunk, FirstChunk):
        events.insert(0, start_event(chunk))
    return events


def start_event(chunk: FirstChunk | Answer) -> Start:
    """Returns the event that opens the answer."""
    extra: dict[str, Any] = {}
    if chunk.service_tier:
        extra["service_tier"] = chunk.service_tier
    if chunk.system_fingerprint:
        extra["system_fingerprint"] = chunk.system_fingerprint
    return Start(chunk.id or "", chunk.model or "", int(chunk.created or 0), extra)


def usage_of(chunk: Chunk) -> WireUsage | None:
    """Returns the usage in a chunk, wherever its provider puts it."""
    if chunk.usage is not None:
        return chunk.usage
    for choice in chunk.choices or ():
        if choice.usage is not None:
            return choice.usage
    return None if chunk.x_groq is None else chunk.x_groq.usage


def _chunk_events(chunk: Chunk, calls: dict[int, list[Event]]) -> list[Event]:
    events: list[Event] = []
    for choice in chunk.choices or ():
        index = choice.index or 0
        if choice.delta is not None:
            _delta_events(events, choice.delta, index)
        if index in calls:
            events += calls[index]
        if choice.logprobs:
            events.append(Logprobs(choice.logprobs, index))
        if choice.finish_reason:
            reason = finish_reason(choice.finish_reason, choice.stop_reason)
            stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
            events.append(Finish(reason, index, choice.finish_reason, stop))
    usage = usage_of(chunk)
    if usage is not None:
        events.append(UsageReport(usage.neutral(chunk.service_tier)))
    return events


def _delta_events(events: list[Event], delta: Delta, choice: int) -> None:
    """Appends what a delta or a whole message says, its tool calls apart."""
    text, thought = text_of(delta.content)
    thought += delta.reasoning_content or delta.reasoning or delta.thinking or ""
    if thought:
        events.append(ReasoningDelta(thought, choice))
    if text:
        events.append(TextDelta(text, choice))
    if delta.refusal:
        events.append(RefusalDelta(delta.refusal, choice))
    for annotation in delta.annotations or ():
        events.append(Citation(annotation, choice))
    if delta.audio:
        events.append(OtherBlock({"type": "audio", "audio": delta.audio}, NAME, choice))


def answer_events(answer: Answer) -> list[Event]:
    """Returns the events of a whole unary answer."""
    events: list[Event] = [start_event(answer)]
    tracker = CallTracker(answer.id or "")
    for position, choice in enumerate(answer.choices or ()):
        index = position if choice.index is None else choice.index
        message = choice.message
        if message is not None:
            _delta_events(events, message, index)
            for number, call in enumerate(message.tool_calls or ()):
                call.index = number
            if message.tool_calls:
                events += tracker.pieces(index, message.tool_calls)
            if message.function_call is not None:
                events += tracker.legacy(index, message.function_call)
        if choice.logprobs:
            events.append(Logprobs(choice.logprobs, index))
        word = answer_finish(choice)
        stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
        events.append(Finish(finish_reason(word, choice.stop_reason), index, word, stop))
    if answer.usage is not None:
        events.append(UsageReport(answer.usage.neutral(answer.service_tier)))
    events.append(End())
    return events


def answer_finish(choice: AnswerChoice) -> str:
    """Returns the wire's word for why a choice of a unary answer ended."""
    if choice.finish_reason:
        return choice.finish_reason
    return "" if choice.finish_details is None else choice.finish_details.type or ""
