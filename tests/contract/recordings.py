"""Recorded exchanges with real providers, as the contract tests and the counting script read them."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Exchange(NamedTuple):
    """One recorded call: who, what was asked, what came back (content-decoded)."""

    name: str
    provider: str
    request: bytes
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    stream: bool


@functools.cache
def exchanges(data: pathlib.Path, path_end: str) -> tuple[Exchange, ...]:
    """Returns the recorded exchanges whose URL's path ends with ``path_end`` and that have a body."""
    found: list[Exchange] = []
    with gzip.open(data / "cassettes" / "recorded_exchanges.jsonl.gz") as lines:
        for line in lines:
            row = json.loads(line)
            request, response = row["request"], row["response"]
            if not urlsplit(request["url"]).path.endswith(path_end):
                continue
            asked = request["body"]
            found.append(
                Exchange(
                    f"{row['file']}#{row['i']}",
                    row["provider"],
                    (asked if isinstance(asked, str) else json.dumps(asked)).encode(),
                    response["status"],
                    {key.lower().encode(): str(value).encode() for key, value in response["headers"].items()},
                    _body(response),
                    row["wire_stream"],
                )
            )
    return tuple(found)


def messages_exchanges(data: pathlib.Path) -> list[Exchange]:
    """Returns the exchanges with Anthropic's messages API."""
    return [one for one in exchanges(data, "/v1/messages") if one.provider == "anthropic"]


def chat_exchanges(data: pathlib.Path) -> list[Exchange]:
    """Returns the exchanges with OpenAI-like chat APIs."""
    return list(exchanges(data, "/chat/completions"))


def anthropic_fixtures(data: pathlib.Path) -> Iterator[tuple[str, bytes, bool]]:
    """Yields name, body and whether it streams; a file with several answers in a row is several."""
    folder = data / "cassettes" / "stream_fixtures" / "anthropic" / "src" / "__fixtures__"
    for path in sorted(folder.glob("*.chunks.txt")):
        stream, number = b"", 0
        for line in path.read_bytes().splitlines():
            if not line.strip():
                continue
            kind = json.loads(line)["type"].encode()
            stream += b"event: %b\ndata: %b\n\n" % (kind, line)
            if kind == b"message_stop":
                yield f"{path.name}#{number}", stream, True
                stream, number = b"", number + 1
    for path in sorted(folder.glob("*.json")):
        body = path.read_bytes()
        if json.loads(body).get("type") == "message":
            yield path.name, body, False


def _body(response: dict[str, Any]) -> bytes:
    if response.get("body_b64"):
        body = base64.b64decode(response["body_b64"])
    else:
        text = response["body"]
        body = (text if isinstance(text, str) else json.dumps(text)).encode()
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
