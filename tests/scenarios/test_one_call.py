"""One call, end to end, over real sockets: what goes up, what comes down, what is recorded."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable

import pytest
from tests.receivers import eventually

from .conftest import ASK, CONFIG, SSE_HEAD, Gateway, Script, Upstream, Write, completion, delta, response, sse

Start = Callable[[Script], Upstream]
Gate = Callable[..., Gateway]

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


async def unary(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    await write(response(completion("Paris."), headers=b"content-type: application/json\r\nx-request-id: req-9\r\n"))


async def streamed(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    events = [delta({"role": "assistant", "content": ""}), delta({"content": "Pa"}), delta({"content": "ris."})]
    usage = {**delta({}, usage=USAGE), "choices": []}
    await write(SSE_HEAD + sse(*events, delta({}, "stop"), usage, b"[DONE]") + b"0\r\n\r\n")


def test_a_unary_answer_goes_through_byte_for_byte(upstream: Start, gateway: Gate) -> None:
    """Same dialect in and out: the client gets the upstream's bytes, and the record tells the story."""
    up = upstream(unary)
    gate = gateway(up, first_start=True)
    status, headers, body = gate.chat()
    assert (status, body) == (200, completion("Paris."))
    assert headers["x-headgate-deployment"] == "up/m-1"
    assert headers["x-headgate-attempts"] == "1"
    record = gate.record(headers["x-headgate-id"])
    assert (record["outcome"], record["status"], record["finish"]) == ("completed", 200, "stop")
    assert (record["usage"]["input"], record["usage"]["output"]) == (10, 5)
    assert record["key_name"] == "test"
    attempt = record["attempts"][0]
    assert (attempt["deployment"], attempt["status"], attempt["outcome"]) == ("up/m-1", 200, "completed")
    assert attempt["upstream_id"] == "req-9"
    assert 0 <= attempt["started_us"] <= attempt["first_content_us"] <= record["duration_us"]


def test_what_goes_upstream(upstream: Start, gateway: Gate) -> None:
    """The provider's key goes up and the caller's does not; max_tokens is always there; headers cross by allow-list."""
    up = upstream(unary)
    gate = gateway(up)
    ask = {key: value for key, value in ASK.items() if key != "max_tokens"}
    gate.post("/v1/chat/completions", ask, headers={"x-secret": "1", "cookie": "a=b", "openai-organization": "org-1"})
    path, head, body = up.requests[0]
    assert path == "/v1/chat/completions"
    lines = {line.split(b":")[0].lower(): line.split(b": ", 1)[-1] for line in head.split(b"\r\n")[1:] if line}
    assert lines[b"authorization"] == b"Bearer sk-upstream-secret"
    assert lines[b"openai-organization"] == b"org-1"
    assert gate.key.encode() not in head + body
    assert not {b"x-secret", b"cookie", b"x-headgate-id"} & set(lines)
    sent = json.loads(body)
    assert sent["max_tokens"] == 4096
    assert sent["model"] == "m-1"
    assert sent["messages"] == ASK["messages"]


def test_a_stream_comes_through_event_for_event(upstream: Start, gateway: Gate) -> None:
    """A caller who asks for usage sees every event's bytes as the upstream sent them."""
    up = upstream(streamed)
    gate = gateway(up)
    status, headers, body = gate.chat(stream=True, stream_options={"include_usage": True})
    events = [delta({"role": "assistant", "content": ""}), delta({"content": "Pa"}), delta({"content": "ris."})]
    usage = {**delta({}, usage=USAGE), "choices": []}
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert body == sse(*events, delta({}, "stop"), usage, b"[DONE]", chunked=False)
    record = gate.record(headers["x-headgate-id"])
    assert (record["outcome"], record["usage"]["output"], record["stream"]) == ("completed", 5, True)


def test_usage_is_asked_for_and_hidden_where_nobody_asked(upstream: Start, gateway: Gate) -> None:
    """Every stream is counted; the usage chunk shows only for those who want it."""
    up = upstream(streamed)
    gate = gateway(up)
    _, headers, body = gate.chat(stream=True)
    assert json.loads(up.requests[0][2])["stream_options"] == {"include_usage": True}
    assert b'"choices": []' not in body
    assert body.endswith(b"data: [DONE]\n\n")
    assert gate.record(headers["x-headgate-id"])["usage"]["output"] == 5


@pytest.mark.parametrize("stream", [False, True])
def test_an_anthropic_client_of_an_openai_upstream(upstream: Start, gateway: Gate, stream: bool) -> None:
    """The answer is rendered in the caller's dialect, one preamble and one id, usage and stop reason right."""
    gate = gateway(upstream(streamed if stream else unary))
    ask = {"model": "fast", "max_tokens": 50, "messages": [{"role": "user", "content": "?"}], "stream": stream}
    status, headers, body = gate.post("/v1/messages", {**ask, "top_k": 5})
    assert status == 200, body
    assert headers["x-headgate-lost"] == "top_k"
    if stream:
        names = re.findall(rb"^event: (.*)$", body, re.M)
        assert names[0] == b"message_start"
        assert names[-1] == b"message_stop"
        assert names.count(b"message_start") == 1
        assert "".join(part.decode() for part in re.findall(rb'"text_delta","text":"([^"]*)"', body)) == "Paris."
    else:
        answer = json.loads(body)
        assert (answer["content"], answer["stop_reason"]) == ([{"type": "text", "text": "Paris."}], "end_turn")
        assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (10, 5)
    assert gate.record(headers["x-headgate-id"])["attempts"][0]["lost"] == ["top_k"]


def test_strict_translation_refuses_what_would_be_lost(upstream: Start, gateway: Gate) -> None:
    """Strict mode answers 400 and names the field; nothing goes upstream."""
    up = upstream(unary)
    gate = gateway(CONFIG.format(port=up.port) + "server: {strict_translation: true}\n")
    ask = {"model": "fast", "max_tokens": 5, "messages": [{"role": "user", "content": "?"}], "top_k": 5}
    status, _, body = gate.post("/v1/messages", ask)
    assert status == 400
    assert b"top_k" in body
    assert up.requests == []


def test_the_next_deployment_answers_before_the_commit_point(upstream: Start, gateway: Gate) -> None:
    """A stream that dies after its role frame costs the caller nothing: one preamble, one id, the second's."""

    async def dies(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
        await write(SSE_HEAD + sse({**delta({"role": "assistant", "content": ""}), "id": "chatcmpl-lost"}))
        return "close"

    first, second = upstream(dies), upstream(streamed)
    config = f"""
providers:
  a: {{dialect: openai_chat, url: "http://127.0.0.1:{first.port}/v1"}}
  b: {{dialect: openai_chat, url: "http://127.0.0.1:{second.port}/v1"}}
models:
  fast: {{route: [a/m-1, b/m-2]}}
"""
    gate = gateway(config)
    status, headers, body = gate.chat(stream=True)
    assert (status, headers["x-headgate-deployment"], headers["x-headgate-attempts"]) == (200, "b/m-2", "2")
    assert b"chatcmpl-lost" not in body
    record = gate.record(headers["x-headgate-id"])
    assert [(attempt["deployment"], attempt["outcome"]) for attempt in record["attempts"]] == [
        ("a/m-1", "failed"),
        ("b/m-2", "completed"),
    ]
    assert record["winner"] == 1


@pytest.mark.parametrize(("upstream_status", "told"), [(b"401 Unauthorized", 502), (b"403 Forbidden", 502)])
def test_our_credentials_trouble_is_not_the_callers(
    upstream: Start, gateway: Gate, upstream_status: bytes, told: int
) -> None:
    """An upstream that refuses our key is a bad gateway, and its words about the key stay here."""

    async def refuses(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await write(response(b'{"error":{"message":"Incorrect API key: sk-upst...cret"}}', upstream_status))

    status, _, body = gateway(upstream(refuses)).chat()
    assert status == told
    assert b"sk-upst" not in body


def test_a_refusal_is_recorded(upstream: Start, gateway: Gate) -> None:
    """A known caller's bad request leaves a record; an unknown caller's leaves none."""
    gate = gateway(upstream(unary))
    status, headers, _ = gate.post("/v1/chat/completions", b'{"model": "nope", "messages": []}')
    assert status == 404
    record = gate.record(headers["x-headgate-id"])
    assert (record["outcome"], record["error"], record["status"]) == ("refused", "model_not_found", 404)
    status, _, body = gate.chat(headers={"authorization": "Bearer hg-wrong"})
    assert (status, json.loads(body)["error"]["type"]) == (401, "authentication_error")
    assert len(gate.records()) == 1


def test_per_call_settings(upstream: Start, gateway: Gate) -> None:
    """Headers set the call's deadline and say what it belongs to."""

    async def slow(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    gate = gateway(upstream(slow))
    told = {"x-headgate-timeout-ms": "150", "x-headgate-class": "batch", "x-headgate-trace": "t1"}
    status, headers, body = gate.chat(headers={**told, "x-headgate-session": "s1", "x-headgate-tags": "a=1"})
    assert status == 504, body
    record = gate.record(headers["x-headgate-id"])
    assert (record["error"], record["priority"], record["trace"]) == ("deadline_exceeded", "batch", "t1")
    assert (record["session"], record["tags"]) == ("s1", {"a": "1"})


def test_a_client_that_leaves_stops_the_upstream(upstream: Start, gateway: Gate) -> None:
    """Closing the connection cancels a unary call too: the upstream sees it, the record says cancelled."""

    async def silent(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    up = upstream(silent)
    gate = gateway(up)
    body = json.dumps(ASK).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gate.port), 30) as connection:
        connection.sendall(head.encode() + body)
        eventually(lambda: up.requests != [])
        assert up.left == []
    eventually(lambda: up.left != [])
    eventually(lambda: [record["outcome"] for record in gate.records()] == ["cancelled"])
