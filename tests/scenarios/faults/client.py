"""A client on a raw socket, and what the two dialects' answers say, read with none of the gateway's own code."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

PATHS = {"openai_chat": "/v1/chat/completions", "anthropic": "/v1/messages"}
PATIENCE = 10.0
"""Seconds after which a call counts as hung."""


class Got(NamedTuple):
    """What came: status 0 where nothing did; ``whole`` where the body ended as HTTP says that it should."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Said(NamedTuple):
    """What an answer or an error says. ``error`` is its inner object; ``marker`` that the stream's last event came."""

    text: str = ""
    finish: str = ""
    marker: bool = False
    error: dict[str, Any] | None = None
    starts: int = 0
    after_error: int = 0
    comments: int = 0


def request(wire: str, model: str, prompt: str, *, stream: bool) -> bytes:
    """Returns one request's bytes."""
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": model, "max_tokens": 500, "stream": stream, "messages": messages}).encode()
    head = f"POST {PATHS[wire]} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)


async def ask(port: int, data: bytes) -> Got:
    """Sends a request and reads to the connection's end, however it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(65536):
                received += piece
    except (TimeoutError, ConnectionError):
        return _parse(received)._replace(whole=False)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return _parse(received)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> float:
    """Waits until something holds that other tasks bring about; returns for how long (s)."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < seconds, "it did not come to hold"
        await asyncio.sleep(0.001)
    return loop.time() - began


def _parse(received: bytes) -> Got:
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return Got(0, {}, b"", False)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    status = int(first.split(" ")[1])
    if headers.get("transfer-encoding") != "chunked":
        return Got(status, headers, rest, len(rest) == int(headers.get("content-length", -1)))
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return Got(status, headers, body, rest == b"\r\n")
        body, rest = body + rest[:length], rest[length + 2 :]
    return Got(status, headers, body, False)


def read(wire: str, body: bytes, *, stream: bool) -> Said:
    """Returns what a body says; ``stream`` where it is an event stream."""
    if stream:
        return _openai_stream(body) if wire == "openai_chat" else _anthropic_stream(body)
    value = json.loads(body)
    if "error" in value:
        assert wire == "openai_chat" or value["type"] == "error"
        return Said(error=value["error"])
    if wire == "openai_chat":
        (choice,) = value["choices"]
        return Said(choice["message"]["content"] or "", choice["finish_reason"], True, starts=1)
    text = "".join(block["text"] for block in value["content"])
    return Said(text, value["stop_reason"], True, starts=1)


def _openai_stream(body: bytes) -> Said:
    text, finish, error, starts, late, comments, done = "", "", None, 0, 0, 0, False
    for block in _blocks(body):
        if block.startswith(":"):
            comments += 1
            continue
        late += error is not None
        assert not done, f"after [DONE]: {block}"
        data = block.removeprefix("data: ")
        if data == "[DONE]":
            done = True
            continue
        event = json.loads(data)
        error = event.get("error") or error
        for choice in event.get("choices", ()):
            starts += choice["delta"].get("role") is not None
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    return Said(text, finish, done, error, starts, late, comments)


def _anthropic_stream(body: bytes) -> Said:
    text, finish, error, starts, late, comments, done = "", "", None, 0, 0, 0, False
    for block in _blocks(body):
        if block.startswith(":"):
            comments += 1
            continue
        name, _, data = block.partition("\n")
        event = json.loads(data.removeprefix("data: "))
        kind = event["type"]
        assert name == f"event: {kind}"
        late += error is not None
        assert not done, f"after message_stop: {block}"
        starts += kind == "message_start"
        if kind == "error":
            error = event["error"]
        elif kind == "content_block_delta":
            text += event["delta"]["text"]
        elif kind == "message_delta":
            finish = event["delta"]["stop_reason"] or finish
        done = kind == "message_stop"
    return Said(text, finish, done, error, starts, late, comments)


def _blocks(body: bytes) -> list[str]:
    """The events of a stream, which must end with a whole one."""
    text = body.decode()
    assert not text or text.endswith("\n\n"), f"ends inside an event: {text[-80:]!r}"
    return text.split("\n\n")[:-1]
