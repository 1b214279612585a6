"""The stream decoder: chat.completion chunks in, frames out, one typed decode per event."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from headgate.core.errors import HeadgateError, UpstreamBroken
from headgate.core.event import End, ErrorEvent, Event, Finish, FinishReason, Frame, Kind, Summary
from headgate.dialects.base import StreamDecoder
from headgate.dialects.openai_chat.calls import CallTracker
from headgate.dialects.openai_chat.errors import read_stream_error
from headgate.dialects.openai_chat.events import chunk_events, full_events, usage_of
from headgate.dialects.openai_chat.wire import Chunk, Delta, FirstChunk, finish_reason, text_of
from headgate.dialects.sse import SseSplitter, parse_block

_decode = msgspec.json.Decoder(Chunk).decode
_decode_first = msgspec.json.Decoder(FirstChunk).decode
_PREAMBLE, _CONTENT, _FINISH, _USAGE = Kind.PREAMBLE, Kind.CONTENT, Kind.FINISH, Kind.USAGE


class ChatStreamDecoder(StreamDecoder):
    """Decodes one streamed answer.

    Termination contract: a finish reason for every choice seen, then ``[DONE]``. Some servers (OpenRouter,
    LiteLLM with ``n`` > 1) forget finish reasons: their ``[DONE]`` counts only if it follows the final usage.

    An id that has stayed the same must stay so to the end: content under another one is another answer's.
    Servers that number every chunk anew are let be.
    """

    def __init__(self) -> None:
        self.summary = Summary()
        self._splitter = SseSplitter()
        self._decode: Any = _decode_first
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._usage_last = False
        self._steady: str | None = None
        self._tracker = CallTracker()

    def feed(self, data: bytes) -> list[Frame]:
        """See ``StreamDecoder.feed``."""
        if self.error is not None:
            raise self.error
        frames: list[Frame] = []
        try:
            for raw, name, payload in self._splitter.feed(data):
                try:
                    chunk: Chunk = self._decode(payload)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    frame = self._odd(raw, name, payload)
                else:
                    frame = self._chunk(raw, chunk) if not name else self._named(raw, name, payload, chunk)
                frames.append(frame)
                if self.error is not None:
                    break
        except HeadgateError as error:
            self.error = error
            if not frames:
                raise
        return frames

    def end(self) -> list[Frame]:
        """See ``StreamDecoder.end``. A last event without its blank line counts."""
        frames: list[Frame] = []
        rest = b"" if self.error is not None else self._splitter.rest()
        if rest:
            try:
                frames += self._rest(rest)
            except UpstreamBroken:
                self.error = _cut("the body ended inside an event")
        if self.error is None and not self.summary.complete:
            self.error = _cut("the body ended before [DONE]")
        if self.error is not None:
            raise self.error
        return frames

    def _rest(self, rest: bytes) -> list[Frame]:
        """The last event, where its blank line is missing."""
        raw, name, payload = parse_block(rest)
        try:
            return [self._named(raw, name, payload, self._decode(payload))]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [self._odd(raw, name, payload)]

    def _odd(self, raw: bytes, name: bytes, payload: bytes) -> Frame:
        """What is no chunk at first sight: the marker, comments, what follows the marker, unusual types."""
        text = payload.strip()
        if text == b"[DONE]":
            return self._marker(raw)
        if not text or self.summary.complete:
            return Frame(_PREAMBLE, raw)
        return self._named(raw, name, payload, _lenient(payload, name))

    def _named(self, raw: bytes, name: bytes, payload: bytes, chunk: Chunk) -> Frame:
        """An event with a name, which may say that it is an error."""
        failure = self._failure(raw, name, payload) if name == b"error" else None
        return failure or self._chunk(raw, chunk, payload)

    def _chunk(self, raw: bytes, chunk: Chunk, payload: bytes | None = None) -> Frame:
        """Tells what a chunk is and takes from it what the summary needs. ``payload`` where it is not ``raw``'s."""
        choices = chunk.choices
        if chunk.error is not None or choices is None:
            failure = self._failure(raw, b"", payload or parse_block(raw)[2])
            if failure is not None:
                return failure
        first = self._first(chunk) if self._decode is _decode_first else False
        kind = _PREAMBLE
        calls: dict[int, list[Event]] | None = None
        chars = 0
        for choice in choices or ():
            index = choice.index or 0
            if index not in self._seen:
                self._seen.add(index)
            delta = choice.delta
            if delta is not None:
                content = delta.content
                if content:
                    kind = _CONTENT
                    chars += len(content) if isinstance(content, str) else _length(content)
                thought = delta.reasoning_content or delta.reasoning or delta.thinking
                if thought:
                    kind = _CONTENT
                    chars += len(thought)
                if delta.tool_calls or delta.function_call is not None:
                    if calls is None:
                        calls = {}
                    if self._calls(calls, index, delta):
                        kind = _CONTENT
                if delta.refusal or delta.audio or delta.annotations:
                    kind = _CONTENT
                    chars += len(delta.refusal or "")
            if choice.finish_reason:
                if kind is _PREAMBLE:
                    kind = _FINISH
                self._finish(index, choice.finish_reason, choice.stop_reason)
        if kind is _CONTENT:
            if chunk.id != self._steady and not first:
                self._check_id(chunk.id)
            self._usage_last = False
            self.summary.content_chars += chars
        if chunk.usage is not None or chunk.x_groq is not None or kind is not _CONTENT:
            kind = self._usage(chunk, kind)
        if calls is None and not first:
            return Frame(kind, raw, chunk, chunk_events)
        return Frame(kind, raw, (chunk, calls or {}, first), full_events)

    def _first(self, chunk: Chunk) -> bool:
        """Whether this chunk opens the answer: Azure's own first chunk tells nothing yet, not even the id."""
        if not isinstance(chunk, FirstChunk) or not (chunk.id or chunk.choices):
            return False
        self._decode = _decode
        self.summary.id = chunk.id or ""
        self.summary.model = chunk.model or ""
        self._tracker = CallTracker(self.summary.id)
        return True

    def _check_id(self, id: str | None) -> None:
        """Takes the first chunk's id for the stream's once it comes again. Raises UpstreamBroken for another then."""
        if not id:
            return
        if self._steady is not None:
            raise UpstreamBroken(
                "The upstream mixed an event of another answer into its stream.", code="malformed_event", sent=True
            )
        if id == self.summary.id:
            self._steady = id

    def _usage(self, chunk: Chunk, kind: Kind) -> Kind:
        usage = usage_of(chunk)
        if usage is None:
            return kind
        self.summary.usage = usage.neutral(chunk.service_tier)
        self._usage_last = True
        # A chunk with a choice (a role, OpenRouter's last one) is more than usage: it is not to be hidden.
        return _USAGE if kind is _PREAMBLE and not chunk.choices else kind

    def _calls(self, calls: dict[int, list[Event]], index: int, delta: Delta) -> bool:
        """Numbers the tool calls at once: later pieces refer to earlier ones. Returns whether there was anything."""
        events: list[Event] = []
        if delta.tool_calls:
            events += self._tracker.pieces(index, delta.tool_calls)
        if delta.function_call is not None:
            events += self._tracker.legacy(index, delta.function_call)
        for event in events:
            self.summary.content_chars += len(getattr(event, "arguments", ""))
        calls.setdefault(index, []).extend(events)
        return bool(events)

    def _finish(self, index: int, word: str, stop: str | int | None) -> None:
        self._finished.add(index)
        if index == 0 or self.summary.finish is None:
            self.summary.finish = finish_reason(word, stop)
            self.summary.wire_finish = word

    def _marker(self, raw: bytes) -> Frame:
        """Raises UpstreamBroken where ``[DONE]`` closes an answer that had not finished."""
        summary = self.summary
        missing = sorted(self._seen - self._finished)
        if not self._seen or (missing and not self._usage_last):
            raise _cut("[DONE] came without a finish_reason")
        events: list[Event] = []
        for index in missing:
            reason = FinishReason.TOOL_CALLS if self._tracker.calls(index) else FinishReason.OTHER
            events.append(Finish(reason, index))
            if index == 0 or summary.finish is None:
                summary.finish = reason
        self._finished.update(missing)
        summary.complete = True
        self._decode = _decode_nothing
        events.append(End())
        return Frame(Kind.MARKER, raw, events=events)

    def _failure(self, raw: bytes, name: bytes, payload: bytes) -> Frame | None:
        """Returns an error event's frame and sets ``error``; None for a chunk that only looked like one."""
        error = read_stream_error(payload, named=name == b"error")
        if error is None:
            return None
        self.error = error
        return Frame(Kind.ERROR, raw, events=(ErrorEvent(error.message, error.code, error.kind),))


def _decode_nothing(payload: bytes) -> Chunk:
    """Stands in once the marker has come: whatever follows has no meaning."""
    raise msgspec.DecodeError


def _length(content: list[Any]) -> int:
    return sum(map(len, text_of(content)))


def _cut(reason: str) -> UpstreamBroken:
    return UpstreamBroken(f"The upstream's stream was cut: {reason}.", code="stream_cut", sent=True)


def _lenient(payload: bytes, name: bytes) -> Chunk:
    """Decodes a chunk with fields of unusual type (numbers as text, NaN in logprobs).

    Raises:
        UpstreamBroken: not a JSON object, or no way to read it as a chunk (``malformed_event``).
    """
    try:
        value = json.loads(payload)
        if isinstance(value, dict):
            return FirstChunk(error=value["error"]) if value.get("error") else _convert(value)
    except (ValueError, RecursionError):
        pass
    if name == b"error":
        return FirstChunk(error=payload.decode(errors="replace"))
    raise UpstreamBroken("The upstream sent an event that is not a JSON chunk.", code="malformed_event", sent=True)


def _convert(value: dict[str, Any]) -> Chunk:
    try:
        return msgspec.convert(value, FirstChunk, strict=False)
    except msgspec.ValidationError as error:
        raise UpstreamBroken(
            f"The upstream sent a chunk of the wrong shape: {error}.", code="malformed_event", sent=True
        ) from None
