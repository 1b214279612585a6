"""A streaming upstream that costs little: one small write per event, like a model at 250 tokens a second.

``sse_upstream.py PORT``. Sends as many tokens as the request's ``max_tokens`` asks for: the head, the role and the
first token at once, the others one every 4 ms. Streams are served in four groups, so that they do not all move at once.
"""

from __future__ import annotations

import asyncio
import re
import sys

import uvloop

GROUPS, TICK_S = 4, 0.001
_BASE = b'{"id":"chatcmpl-bench0123456789","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4o-mini",'
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_TOKENS = re.compile(rb'tokens": *(\d+)')
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def _chunk(delta: bytes, finish: bytes = b"null") -> bytes:
    return _event(_BASE + b'"choices":[{"index":0,"delta":' + delta + b',"finish_reason":' + finish + b"}]}")


_ROLE = _chunk(b'{"role":"assistant","content":""}')
_TOKEN = _chunk(b'{"content":" river"}')
_FINISH = _chunk(b"{}", b'"stop"')
_USAGE = _event(_BASE + b'"choices":[],"usage":{"prompt_tokens":75,"completion_tokens":100,"total_tokens":175}}')
_END = _event(b"[DONE]") + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one stream under way."""

    groups: list[set[Connection]] = [set() for _ in range(GROUPS)]
    opened = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.group = self.groups[Connection.opened % GROUPS]
        Connection.opened += 1
        self.buffer = b""
        self.left = 0
        self.usage = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.group.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if end else None
        if not end or (length and len(body) < int(length.group(1))):
            return
        self.buffer = b""
        tokens = _TOKENS.search(body)
        self.left = (int(tokens.group(1)) if tokens else 100) - 1
        self.usage = b'"include_usage"' in body
        self.transport.write(_HEAD + _ROLE)
        self.transport.write(_TOKEN)
        self.group.add(self)

    def step(self) -> bool:
        """Sends the stream's next token, or its end; returns whether it ended."""
        if self.left > 0:
            self.left -= 1
            self.transport.write(_TOKEN)
            return False
        self.transport.write(_FINISH + (_USAGE if self.usage else b"") + _END)
        return True


async def main(port: int) -> None:
    """Serves until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    turn, due = 0, loop.time()
    async with server:
        while True:
            due = max(due + TICK_S, loop.time() - 0.1)
            await asyncio.sleep(max(0.0, due - loop.time()))
            group = Connection.groups[turn % GROUPS]
            group.difference_update([c for c in group if c.step()])
            turn += 1


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
