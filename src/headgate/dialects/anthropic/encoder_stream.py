"""Renders neutral events as an Anthropic stream, one content block after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from headgate.core.errors import UpstreamError
from headgate.core.event import Event
from headgate.dialects.anthropic.encoder import VALUE_OF_DELTA, Block, Gathering
from headgate.dialects.anthropic.errors import error_frame
from headgate.dialects.anthropic.wire import encode, wire_usage

_FRAME = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%%d,"delta":{"type":"%b","%b":%%b}}\n\n'
)
_DELTA = {kind: _FRAME % (kind.encode(), name.encode()) for kind, name in VALUE_OF_DELTA.items()}
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_STREAMED_INPUT = frozenset({"server_tool_use", "mcp_tool_use"})


class StreamEncoder(Gathering):
    """Renders one answer as server-sent events.

    Anthropic's blocks never interleave, parallel tool calls of other wires do: only the first unfinished block
    is written as it grows, later ones wait. A block makes way once it is closed, or once another one has begun
    and it can not go on: text at once, a tool call when its arguments are whole JSON or the answer ends.
    """

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._out: list[bytes] = []
        self._queue: deque[Block] = deque()
        self._index = 0
        self._seen = False
        self._begun = False
        self._done = False

    def feed(self, events: Sequence[Event]) -> bytes:
        """Returns the bytes that these events make ready to go out."""
        for event in events:
            self._take(event)
        if self._seen and not self._begun:
            self._begin()
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> bytes:
        """Returns the rest, up to ``message_stop``, if the answer's own end has not brought it already."""
        self._end(None)
        out, self._out = self._out, []
        return b"".join(out)

    def _begin(self) -> None:
        """message_start waits for the end of its frame: usage that came with it goes into it."""
        self._begun = True
        self._out.append(_event(b"message_start", {"type": "message_start", "message": self._message()}))

    def _start(self, event: Any) -> None:
        if not self._begun:
            super()._start(event)
            self._seen = True

    def _add(self, block: Block) -> None:
        if not self._begun:
            self._begin()
        self._queue.append(block)
        self._advance()

    def _say(self, block: Block, kind: str, value: Any) -> None:
        queue = self._queue
        if block is not queue[0]:
            block.deltas.append((kind, value))
            return
        self._out.append(_DELTA[kind] % (self._index, encode(value)))
        if len(queue) > 1 and kind == "input_json_delta" and value.rstrip().endswith("}"):
            self._advance()

    def _shut(self, block: Block) -> None:
        block.closed = True
        self._advance()

    def _advance(self) -> None:
        queue = self._queue
        while queue:
            block = queue[0]
            if not block.open:
                self._open(block)
            if not block.closed and (len(queue) == 1 or (block.kind == "tool" and not self._whole_call(block))):
                return
            block.closed = True
            if block.kind == "tool":
                self._check(block)
            self._out.append(_STOP % self._index)
            self._index += 1
            queue.popleft()

    @staticmethod
    def _whole_call(block: Block) -> bool:
        return bool(block.arguments) and bool(block.parsed() or "".join(block.arguments).strip() == "{}")

    def _open(self, block: Block) -> None:
        block.open = True
        head, kind = block.head, block.head.get("type")
        if kind in _STREAMED_INPUT and head.get("input"):
            block.deltas.append(("input_json_delta", encode(head["input"]).decode()))
            head = {**head, "input": {}}
        start = {"type": "content_block_start", "index": self._index, "content_block": head}
        self._out.append(_event(b"content_block_start", start))
        for name, value in block.deltas:
            self._out.append(_DELTA[name] % (self._index, encode(value)))
        block.deltas = []

    def _error(self, event: Any) -> None:
        if not self._begun:
            self._begin()
        self._out.append(error_frame(UpstreamError(event.message, status=500, code=event.code, kind=event.kind), ""))

    def _end(self, event: Any) -> None:
        if self._done:
            return
        self._done = True
        if not self._begun:
            self._begin()
        for block in self._queue:
            block.closed = True
        self._advance()
        delta, beside = self._ending()
        usage: dict[str, Any] = {"output_tokens": 0}
        if self._usage is not None:
            usage = wire_usage(self._usage)
            if not self._usage.cache_write_1h:
                del usage["cache_creation"]
        self._out.append(_event(b"message_delta", {"type": "message_delta", "delta": delta, "usage": usage, **beside}))
        self._out.append(_MESSAGE_STOP)


def _event(name: bytes, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, encode(data))
