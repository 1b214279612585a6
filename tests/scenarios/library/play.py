"""Upstreams for the scenarios of the library, and looks at what became of their calls."""

from __future__ import annotations

import asyncio
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

from tests.scenarios.conftest import SSE_HEAD, Script, Upstream, Write, completion, delta, response, sse, stored_records

from headgate import Gateway
from headgate.stores.data import DataDir

Start = Callable[[Script], Upstream]
Make = Callable[..., Gateway]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
ASK = [{"role": "user", "content": "What is the capital of France?"}]


async def either(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    """Answers as it is asked: whole or streamed."""
    if json.loads(body).get("stream"):
        events = [delta({"role": "assistant", "content": ""}), delta({"content": "Pa"}), delta({"content": "ris."})]
        usage = {**delta({}, usage=USAGE), "choices": []}
        await write(SSE_HEAD + sse(*events, delta({}, "stop"), usage, b"[DONE]") + b"0\r\n\r\n")
    else:
        await write(response(completion("Paris.")))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until something holds that another thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def gone(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side of a connection has left, be it by FIN or by RST."""
    protocol: Any = writer.transport.get_protocol()
    return writer.transport.is_closing() or protocol._stream_reader.at_eof()


async def silent(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    """Answers a unary request never; streams to others until they leave."""
    if json.loads(body).get("stream"):
        return await endless(path, body, write, writer)
    await until(lambda: gone(writer))
    return "close"


async def endless(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    """Streams until the other side leaves."""
    await write(SSE_HEAD)
    while not gone(writer):
        await write(sse(delta({"content": "more "})))
        await asyncio.sleep(0.005)
    return "close"


def stored(data: pathlib.Path) -> list[dict[str, Any]]:
    """What ``headgate records`` shows."""
    return stored_records(DataDir(data))


async def until_closed(up: Upstream, seconds: float = 60.0) -> None:
    """Waits until the upstream has no connection open."""
    began = time.monotonic()
    while up.open:
        assert time.monotonic() - began < seconds, "the upstream connection stayed open"
        await asyncio.sleep(0.005)
