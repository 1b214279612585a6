"""A secret that callers and upstreams put into every field: then it is nowhere; in strict mode it never was."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import pathlib
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.receivers import Collector, eventually

from .conftest import CONFIG, SSE_HEAD, Gateway, Script, Upstream, Write, completion, delta, response, sse

CANARY = "sk-proj-C4n4ryC4n4ryC4n4ryC4n4ryC4n4ry"
NAMED = f"name-{CANARY}"
HEADERS = {
    **{f"x-headgate-{name}": NAMED for name in ("user", "feature", "prompt", "session", "trace")},
    "x-headgate-tags": f"tag={CANARY},{CANARY}=1",
    "x-request-id": CANARY,
    "user-agent": CANARY,
    "traceparent": f"00-{CANARY}-{CANARY}-01",
}
TOOL = {
    "name": "look",
    "description": CANARY,
    "parameters": {"type": "object", "properties": {CANARY: {"const": CANARY}}},
}
CHAT: dict[str, Any] = {
    "model": "fast",
    "user": CANARY,
    "metadata": {"a": CANARY, CANARY: "b"},
    "stop": [CANARY],
    "unknown": {"deep": [CANARY]},
    "tools": [{"type": "function", "function": TOOL}],
    "messages": [
        {"role": "system", "content": CANARY},
        {"role": "user", "name": "x", "content": [{"type": "text", "text": f"line\n{CANARY}\ttab"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": CANARY, "type": "function", "function": {"name": "look", "arguments": json.dumps({"k": CANARY})}}
            ],
        },
        {"role": "tool", "tool_call_id": CANARY, "content": CANARY},
    ],
}
CLAUDE: dict[str, Any] = {
    "model": "fast",
    "max_tokens": 20,
    "system": [{"type": "text", "text": CANARY}],
    "metadata": {"user_id": CANARY},
    "tools": [{"name": "look", "description": CANARY, "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": CANARY}]}],
}
CALLS = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/chat/completions", {**CHAT, "model": "broken"}),
    ("/v1/chat/completions", {**CHAT, "model": CANARY}),
    ("/v1/chat/completions", {**CHAT, "model": f"up/{CANARY}"}),
    ("/v1/messages", CLAUDE),
    ("/v1/messages", {**CLAUDE, "stream": True}),
    ("/v1/messages", {**CLAUDE, "model": "broken"}),
    ("/v1/embeddings", {"model": "fast", "input": [CANARY, CANARY], "user": CANARY}),
]


async def play(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    """Answers with the secret: whole, split over a stream's pieces, or in an error."""
    asked = json.loads(body)
    if asked["model"] == "m-2":
        error = {"error": {"message": f"bad key {CANARY}", "type": "x", "code": CANARY, "param": CANARY}}
        await write(response(json.dumps(error).encode(), b"400 Bad Request"))
    elif path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
        answer = {"object": "list", "data": [vector], "model": CANARY, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        await write(response(json.dumps(answer).encode()))
    elif asked.get("stream"):
        text = f"It is {CANARY}, is it?"
        pieces = [delta({"content": text[at : at + 4]}) for at in range(0, len(text), 4)]
        finish = delta({}, "stop", {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10})
        await write(SSE_HEAD + sse(delta({"role": "assistant"}), *pieces, finish, b"[DONE]") + b"0\r\n\r\n")
    else:
        headers = b"content-type: application/json\r\nx-request-id: %s\r\n" % CANARY.encode()
        await write(response(completion(f"It is {CANARY}."), headers=headers))


def hidden(text: bytes) -> bool:
    """Whether the secret is in it, in whatever case, or in hex."""
    text = text.lower()
    return CANARY.lower().encode() in text or CANARY.encode().hex().encode() in text


def traces(data: pathlib.Path) -> list[str]:
    """Returns the files below a data directory, and rows of its tables, that hold the secret."""
    found = []
    for path in data.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and hidden(path.read_bytes()):
                found.append(str(path.relative_to(data)))
    connection = sqlite3.connect(f"file:{data}/headgate.db?mode=ro", uri=True)
    with contextlib.closing(connection):
        words = "SELECT count(*) FROM payload_words WHERE payload_words MATCH 'c4n4ry*'"
        found += ["payload_words"] * connection.execute(words).fetchone()[0]
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'payload_words'"
        for (table,) in connection.execute(tables).fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    with contextlib.suppress(zlib.error):
                        raw += zlib.decompress(raw)
                    if hidden(raw):
                        found.append(f"table {table}")
    return found


def get(gate: Gateway, path: str) -> bytes:
    """Returns a page's body, whatever its status."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"authorization": f"Bearer {gate.key}"})
        return connection.getresponse().read()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Takes traces."""
    with Collector() as one:
        yield one


@pytest.fixture(params=["recorder", "worker"])
def gate(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, upstream: Callable[[Script], Upstream], collector: Collector
) -> Iterator[Gateway]:
    """A gateway that keeps payloads redacted, by its recorder or by its worker, and exports them as traces."""
    up = upstream(play)
    config = CONFIG.format(port=up.port).rstrip() + "\n  broken: {route: [up/m-2]}\n"
    config += f"data: {{payloads: redacted, redact: {request.param}}}\n"
    config += f"traces: {{endpoint: '{collector.url}', content: true, every: 0.1, compression: none}}\n"
    one = Gateway(tmp_path, config)
    one.strict = request.param == "worker"  # type: ignore[attr-defined]
    yield one
    one.stop()


def test_a_secret_in_every_field_is_nowhere(gate: Gateway, collector: Collector) -> None:
    """No table, file, log, metric, trace or page knows it once it is stored; in strict mode no file ever does."""
    strict = gate.strict  # type: ignore[attr-defined]
    answers = []
    for path, body in CALLS:
        status, headers, raw = gate.post(path, body, headers=HEADERS)
        answers.append((status, headers.get("x-headgate-id", "")))
        assert status in (200, 400, 403, 404), raw
        if strict:
            assert traces(gate.data) == [], (path, body["model"])
    assert [status for status, _ in answers if status == 200], answers
    gate.post("/v1/chat/completions", b'{"model": "fast", "messages": "' + CANARY.encode(), headers=HEADERS)
    feedback = {"id": answers[0][1], "score": 1, "label": "fine", "comment": f"told me {CANARY}"}
    assert gate.post("/v1/feedback", feedback)[0] in (200, 201, 202)
    stories = gate.records()
    assert len(stories) >= len(CALLS)
    kept = [story for story in stories if story["payloads"] == "redacted"]
    assert len(kept) >= 8
    pages = [get(gate, path) for path in ("/metrics", "/healthz", "/admin/v1/records?limit=100", "/console")]
    pages += [get(gate, f"/admin/v1/records/{story['id']}") for story in stories]
    pages += [gate.run("record", kept[0]["id"]).encode(), "".join(gate.log).encode()]
    assert [page for page in pages if hidden(page)] == []
    body = json.loads(get(gate, f"/admin/v1/records/{answers[1][1]}"))["data"]["response_body"]
    said = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in _events(body))
    assert said.startswith("It is [OPENAI_KEY:")
    assert said.endswith("], is it?")
    eventually(lambda: len([span for span in collector.spans if span.kind == 2]) >= len(stories), 30)
    assert b"gen_ai.output.messages" in b"".join(collector.bodies)
    assert [body for body in collector.bodies if hidden(body)] == []
    gate.stop()
    end = time.monotonic() + 60
    while list((gate.data / "journal").glob("*.*")) and time.monotonic() < end:
        time.sleep(0.05)
    assert traces(gate.data) == []


def _events(stream: str) -> Iterator[str]:
    for line in stream.splitlines():
        if line.startswith("data: {") and json.loads(line[6:])["choices"]:
            yield line
