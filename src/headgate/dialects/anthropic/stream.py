"""The decoder of one streamed Anthropic answer: one typed decode per event, neutral events only on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headgate.core.errors import HeadgateError, UpstreamBroken
from headgate.core.event import (
    BlockEnd,
    Citation,
    End,
    ErrorEvent,
    Event,
    Frame,
    Kind,
    OtherBlock,
    ReasoningDelta,
    ReasoningSignature,
    Start,
    Summary,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from headgate.core.usage import Usage
from headgate.dialects.anthropic.blocks import block_events, finish_event, message_events, tool_arguments
from headgate.dialects.anthropic.errors import error_of_type
from headgate.dialects.anthropic.wire import (
    NAME,
    StartMessage,
    StreamEvent,
    WireError,
    WireUsage,
    decode_event,
    decode_head,
    decode_object,
    finish_of,
)
from headgate.dialects.base import StreamDecoder
from headgate.dialects.sse import SseSplitter, parse_block

_CONTENT, _PREAMBLE = Kind.CONTENT, Kind.PREAMBLE
_NO_EVENTS: tuple[Event, ...] = ()


class _Block:
    """A content block that has started. ``kind`` is text, thinking, tool, whole or other."""

    __slots__ = ("closed", "kind", "parts", "raw", "seen", "tool")

    def __init__(self, kind: str, tool: int, raw: msgspec.Raw) -> None:
        self.kind = kind
        self.tool = tool
        self.raw = raw
        self.seen = False
        self.closed = False
        self.parts: list[bytes] = []


class AnthropicStream(StreamDecoder):
    """Splits an Anthropic stream into frames.

    Strict where going on would corrupt the answer (a second message spliced in, arguments without their tool
    call, a tool call that never closes), tolerant of what does no harm (unknown events and deltas, a repeated
    ``message_start``, text blocks that nobody closes).
    """

    __slots__ = ("_blocks", "_splitter", "_started", "_tools", "_usage", "error", "summary")

    def __init__(self) -> None:
        self.summary = Summary()
        self.error: HeadgateError | None = None
        self._splitter = SseSplitter()
        self._blocks: dict[int, _Block] = {}
        self._usage = WireUsage()
        self._tools = 0
        self._started = False

    def feed(self, data: bytes) -> list[Frame]:
        """Returns the whole frames that ``data`` completes.

        An error behind good frames in one chunk stands in ``error`` and is raised by the next call, so that
        how bytes are chunked never changes which frames come out.

        Raises:
            UpstreamBroken: ``malformed_event``, ``event_too_large``, or ``stream_cut`` for a marker without a finish.
            UpstreamError: an error event came earlier.
        """
        if self.error is not None:
            raise self.error
        frames: list[Frame] = []
        add, get, summary = frames.append, self._blocks.get, self.summary
        try:
            for raw, _, payload in self._splitter.feed(data):
                try:
                    event = decode_event(payload)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    event = _odd(payload, error)
                if event.type == "content_block_delta":
                    part, block = event.delta, get(event.index)
                    if block is not None and part is not None and part.type == "text_delta" and block.kind == "text":
                        summary.content_chars += len(part.text)
                        add(Frame(_CONTENT, raw, event, _text))
                    else:
                        add(self._delta(raw, event, payload))
                    continue
                add(self._rare(raw, event, payload))
                if self.error is not None:
                    break
        except UpstreamBroken as error:
            self.error = error
            if not frames:
                raise
        return frames

    def end(self) -> list[Frame]:
        """The body is at its clean end: returns what is left.

        Raises:
            UpstreamBroken: ``stream_cut`` where ``message_delta`` with a reason and ``message_stop`` did not both
                come; or what ``feed`` had found.
            UpstreamError: an error event came earlier.
        """
        if self.error is not None:
            raise self.error
        frames: list[Frame] = []
        rest = self._splitter.rest()
        if rest.strip():
            raw, _, payload = parse_block(rest)
            try:
                event = decode_event(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise _cut() from None
            known = self._delta if event.type == "content_block_delta" else self._rare
            frames.append(known(raw, event, payload))
        elif rest:
            frames.append(Frame(_PREAMBLE, rest))
        if not self.summary.complete and self.error is None:
            raise _cut()
        return frames

    def _delta(self, raw: bytes, event: StreamEvent, payload: bytes) -> Frame:
        delta, block = event.delta, self._blocks.get(event.index)
        if delta is None:
            raise _malformed("a content_block_delta without its delta")
        if block is None:
            block = self._unopened(event.index, delta.type)
        kind = delta.type
        if kind == "text_delta" and block.kind == "text":
            self.summary.content_chars += len(delta.text)
            return Frame(_CONTENT, raw, event, _text)
        if kind == "input_json_delta":
            arguments = delta.partial_json
            self.summary.content_chars += len(arguments)
            if block.kind == "tool" and not block.closed:
                if not arguments:
                    return Frame(_CONTENT, raw)
                block.seen = True
                return Frame(_CONTENT, raw, (block.tool, arguments), _arguments)
        elif kind == "thinking_delta" and block.kind == "thinking":
            self.summary.content_chars += len(delta.thinking)
            return Frame(_CONTENT, raw, event, _thinking)
        elif kind == "signature_delta" and block.kind == "thinking":
            return Frame(_CONTENT, raw, event, _signature)
        elif kind == "citations_delta" and block.kind == "text":
            return Frame(_CONTENT, raw, event, _citation)
        if block.closed or block.kind == "tool":
            raise _malformed(f"a {kind[:40]} for a content block that can not take it")
        block.seen = True
        if block.kind == "other":
            block.parts.append(payload)
        return Frame(_CONTENT, raw)

    def _unopened(self, index: int, kind: str) -> _Block:
        """Text and thinking make sense without their block's start; arguments without their tool do not."""
        if kind in ("text_delta", "thinking_delta") and self._started and not self.summary.complete:
            block = self._blocks[index] = _Block("text" if kind == "text_delta" else "thinking", -1, msgspec.Raw())
            return block
        raise _malformed(f"a {kind[:40]} for a content block that never started")

    def _rare(self, raw: bytes, event: StreamEvent, payload: bytes) -> Frame:
        kind = event.type
        if kind == "content_block_start":
            return self._open(raw, event)
        if kind == "content_block_stop":
            return self._close(raw, event.index)
        if kind == "message_delta":
            return self._finish(raw, event, payload)
        if kind == "message_start":
            return self._start(raw, event, payload)
        if kind == "message_stop":
            if self.summary.finish is None:
                raise _cut()
            self.summary.complete = True
            self._blocks.clear()
            return Frame(Kind.MARKER, raw, events=(End(),))
        if kind == "error":
            return self._fail(raw, event, payload)
        return Frame(_PREAMBLE, raw)

    def _start(self, raw: bytes, event: StreamEvent, payload: bytes) -> Frame:
        message, summary = event.message, self.summary
        if message is None:
            raise _malformed("a message_start without its message")
        if self._started:
            if message.id == summary.id and not self._blocks:
                return Frame(_PREAMBLE, raw)
            raise _malformed("a second message_start in the middle of an answer")
        self._started = True
        summary.id, summary.model = message.id, message.model
        if message.usage is not None:
            self._usage = message.usage
            summary.usage = message.usage.neutral()
        if message.content or message.stop_reason is not None:
            return self._whole_start(raw, message, payload)
        return Frame(_PREAMBLE, raw, (message.id, message.model, summary.usage), _start_events)

    def _whole_start(self, raw: bytes, message: StartMessage, payload: bytes) -> Frame:
        """A message_start that brings blocks, even the finish (seen where a container goes on working)."""
        summary, wire = self.summary, message.stop_reason
        for index, block in enumerate(message.content):
            done = self._blocks[index] = _Block("whole", -1, msgspec.Raw())
            done.closed = True
            self._tools += block.type == "tool_use"
            summary.content_chars += block.size
        if wire is not None:
            summary.finish, summary.wire_finish = finish_of(wire), wire
        kind = _CONTENT if message.content else Kind.FINISH
        return Frame(kind, raw, (payload, summary.usage), _whole_start_events)

    def _open(self, raw: bytes, event: StreamEvent) -> Frame:
        index = event.index
        if not self._started or self.summary.complete:
            raise _malformed("a content block outside the message")
        if index in self._blocks:
            raise _malformed(f"content block {index} twice")
        try:
            head = decode_head(event.content_block)
        except msgspec.DecodeError:
            raise _malformed("a content_block_start without its block") from None
        kind = head.type
        shown = len(head.text) + len(head.thinking)
        self.summary.content_chars += shown
        if kind in ("text", "thinking"):
            self._blocks[index] = _Block(kind, -1, event.content_block)
            if not shown and kind == "text":
                return Frame(_PREAMBLE, raw)
            return Frame(_CONTENT if shown else _PREAMBLE, raw, (event.content_block, index), _whole)
        if kind == "tool_use":
            self._blocks[index] = _Block("tool", self._tools, event.content_block)
            self._tools += 1
            return Frame(_CONTENT, raw, (event.content_block, index, self._tools - 1), _tool)
        if kind == "redacted_thinking":
            self._blocks[index] = _Block("whole", -1, event.content_block)
            return Frame(_CONTENT, raw, (event.content_block, index), _whole)
        self._blocks[index] = _Block("other", -1, event.content_block)
        return Frame(_CONTENT, raw)

    def _close(self, raw: bytes, index: int) -> Frame:
        block = self._blocks.get(index)
        if block is None or block.closed:
            return Frame(_PREAMBLE, raw)
        block.closed = True
        if block.kind == "other":
            return Frame(_CONTENT, raw, (block, index), _other)
        if block.kind == "tool" and not block.seen:
            # A call without arguments streams none: its start says so, and {} must still come out.
            return Frame(_CONTENT, raw, (block, index), _unseen_arguments)
        return Frame(_PREAMBLE, raw, events=(BlockEnd(block=index),))

    def _finish(self, raw: bytes, event: StreamEvent, payload: bytes) -> Frame:
        summary = self.summary
        if event.usage is not None:
            self._usage = event.usage.over(self._usage)
            summary.usage = self._usage.neutral()
        wire = event.delta.stop_reason if event.delta is not None else None
        if wire is None:
            usage = summary.usage
            return Frame(Kind.USAGE, raw, events=_NO_EVENTS if usage is None else (UsageReport(usage),))
        if any(not block.closed and block.kind in ("tool", "other") for block in self._blocks.values()):
            raise _malformed("a finish while a tool call was still open")
        summary.finish, summary.wire_finish = finish_of(wire), wire
        return Frame(Kind.FINISH, raw, (payload, wire, summary.usage), _finish_events)

    def _fail(self, raw: bytes, event: StreamEvent, payload: bytes) -> Frame:
        error = self.error = error_of_type(event.error or WireError(), payload)
        return Frame(Kind.ERROR, raw, events=(ErrorEvent(error.message, error.code, error.kind),))


def _odd(payload: bytes, error: Exception) -> StreamEvent:
    """An event that the typed decoder refused: harmless if it has nothing to say to us, else broken."""
    if not payload.strip() or payload.strip() == b"[DONE]":
        return StreamEvent("")
    try:
        kind = decode_object(payload).get("type", "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _malformed("an event that is not JSON") from error
    known = ("message_start", "message_delta", "message_stop", "error", "ping")
    if isinstance(kind, str) and kind not in known and not kind.startswith("content_block_"):
        return StreamEvent(kind)
    raise _malformed(f"a {str(kind)[:40]!r} event of the wrong shape") from error


def _text(event: Any) -> Sequence[Event]:
    return (TextDelta(event.delta.text, 0, event.index),)


def _thinking(event: Any) -> Sequence[Event]:
    return (ReasoningDelta(event.delta.thinking, 0, event.index),)


def _signature(event: Any) -> Sequence[Event]:
    return (ReasoningSignature(event.delta.signature, 0, event.index),)


def _citation(event: Any) -> Sequence[Event]:
    return (Citation(decode_object(event.delta.citation), 0, event.index),)


def _arguments(wire: tuple[int, str]) -> Sequence[Event]:
    return (ToolCallDelta(wire[0], wire[1]),)


def _start_events(wire: tuple[str, str, Usage | None]) -> Sequence[Event]:
    start = Start(wire[0], wire[1])
    return (start,) if wire[2] is None else (start, UsageReport(wire[2]))


def _whole_start_events(wire: tuple[bytes, Usage | None]) -> Sequence[Event]:
    return message_events(decode_object(wire[0])["message"], wire[1])


def _whole(wire: tuple[msgspec.Raw, int]) -> Sequence[Event]:
    return block_events(decode_object(wire[0]), wire[1], 0, ends=False)


def _tool(wire: tuple[msgspec.Raw, int, int]) -> Sequence[Event]:
    data = decode_object(wire[0])
    extra = {key: value for key, value in data.items() if key not in ("type", "id", "name", "input")}
    return (ToolCallStart(wire[2], str(data.get("id", "")), str(data.get("name", "")), 0, wire[1], extra),)


def _unseen_arguments(wire: tuple[_Block, int]) -> Sequence[Event]:
    block, index = wire
    arguments = tool_arguments(decode_object(block.raw).get("input"))
    return ToolCallDelta(block.tool, arguments), BlockEnd(block=index)


def _other(wire: tuple[_Block, int]) -> Sequence[Event]:
    """A block of a kind we do not know, put together from its start and its deltas."""
    block, index = wire
    data = decode_object(block.raw)
    json: list[str] = []
    for payload in block.parts:
        for key, value in (decode_object(payload).get("delta") or {}).items():
            if key == "partial_json":
                json.append(value)
            elif key != "type":
                old = data.get(key)
                data[key] = old + value if isinstance(old, str) and isinstance(value, str) else value
    if text := "".join(json):
        try:
            data["input"] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            data["input"] = text
    return OtherBlock(data, NAME, 0, index), BlockEnd(block=index)


def _finish_events(wire: tuple[bytes, str, Usage | None]) -> Sequence[Event]:
    payload, word, usage = wire
    data = decode_object(payload)
    finish = finish_event(word, {**data, **(data.get("delta") or {})})
    return (finish,) if usage is None else (finish, UsageReport(usage))


def _malformed(what: str) -> UpstreamBroken:
    return UpstreamBroken(f"The upstream sent {what}.", code="malformed_event", sent=True)


def _cut() -> UpstreamBroken:
    return UpstreamBroken(
        "The upstream's stream ended before its finish and message_stop.", code="stream_cut", sent=True
    )
