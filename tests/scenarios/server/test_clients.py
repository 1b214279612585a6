"""Clients that leave, take nothing, read slowly, come in numbers, or wait through a silence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time

import pytest
from tests.scenarios.conftest import ASK, Gateway

from .stage import BIG, FLOOD_EVENTS, STEADY, Client, Stage, connected, lingering, memory, wait, words


def test_a_client_that_leaves_mid_stream_stops_the_upstream(gate: Gateway, stage: Stage) -> None:
    """Closing the connection in mid-stream closes the upstream's, and is recorded as cancelled."""
    stage.ended.clear()
    client = Client(gate, "endless")
    call_id = client.begin().headers["x-headgate-id"]
    client.answer.read(200)
    client.close()
    wait(lambda: stage.ended)
    record = gate.record(call_id)
    assert (record["outcome"], record["attempts"][0]["outcome"]) == ("cancelled", "cancelled")


def test_a_client_that_leaves_a_pipeline_stops_the_upstream(gate: Gateway, stage: Stage) -> None:
    """The same where another request was sent behind the stream, on the same connection."""
    stage.ended.clear()
    client = Client(gate, "endless")
    call_id = client.begin().headers["x-headgate-id"]
    body = json.dumps({**ASK, "model": "fast"}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {gate.key}\r\n"
    client.socket.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    client.answer.read(200)
    client.close()
    wait(lambda: stage.ended)
    assert gate.record(call_id)["outcome"] == "cancelled"
    assert "Traceback" not in "".join(gate.log), "".join(gate.log)


def test_a_refusal_waits_for_the_answer_before_it(gate: Gateway) -> None:
    """A request that is too large, sent behind a stream, is refused after the stream's end, not in its middle."""
    client = Client(gate, "steady")
    got = client.socket.recv(65536)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 999999999\r\n\r\n"
    client.socket.sendall(head.encode())
    with contextlib.closing(client):
        while piece := client.socket.recv(65536):
            got += piece
    stream, end, refusal = got.partition(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert (words(stream), end != b"") == (STEADY, True)
    assert refusal.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in refusal


def test_a_client_that_takes_nothing_is_cut(gate: Gateway, stage: Stage) -> None:
    """After ``slow_client_seconds`` without a byte taken the upstream is stopped and the client's connection gone."""
    stage.ended.clear()
    client = Client(gate, "flood", buffer=4096)
    wait(lambda: connected(gate.port) > 0)
    wait(lambda: stage.ended)
    with contextlib.closing(client):
        wait(lambda: connected(gate.port) == 0)
        wait(lambda: lingering(gate.port) == 0, 20)
    wait(lambda: gate.records()[0]["error"] == "slow_client")
    record = gate.records()[0]
    assert (record["outcome"], record["error"], record["fault"]) == ("cancelled", "slow_client", "caller")
    assert gate.chat(model="fast")[0] == 200


def test_a_client_that_takes_nothing_of_a_whole_answer_is_cut(gate: Gateway) -> None:
    """A large unary answer that nobody reads is not held in memory beyond ``slow_client_seconds``."""
    with contextlib.closing(Client(gate, "flood", buffer=4096, stream=False)) as client:
        client.socket.recv(1)
        wait(lambda: connected(gate.port) == 0)


def test_back_pressure_keeps_memory_flat(gate: Gateway, stage: Stage) -> None:
    """A fast upstream waits for a slow reader: 220 MB pass through three streams, and the worker does not grow."""
    before, sent = memory(gate.process.pid), stage.flooded
    clients = [Client(gate, "flood") for _ in range(3)]
    time.sleep(0.3)
    held = stage.flooded - sent
    assert held < 3 * 16 * 1024 * 1024, "the gateway took what nobody had read"
    got: list[bytes] = []

    def read(client: Client) -> None:
        client.begin()
        total, last = 0, b""
        while piece := client.answer.read(1 << 20):
            total, last = total + len(piece), (last + piece)[-64:]
        got.append(last)
        assert total > FLOOD_EVENTS * len(BIG)
        client.close()

    threads = [threading.Thread(target=read, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [last.endswith(b"data: [DONE]\n\n") for last in got] == [True] * 3
    assert stage.flooded - sent > 200_000_000
    assert memory(gate.process.pid) - before < 48 * 1024 * 1024


async def test_two_hundred_streams_at_once(gate: Gateway) -> None:
    """Two hundred slow streams on one worker: every one of them whole."""

    async def one() -> bytes:
        body = json.dumps({**ASK, "model": "steady", "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {gate.key}\r\n"
        head += f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(head.encode() + body)
        data = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        return data

    answers = await asyncio.wait_for(asyncio.gather(*(one() for _ in range(200))), 120)
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == 200
    assert sum(answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for answer in answers) == 200
    assert all(answer.count(b'"content": "') == 11 for answer in answers)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_silence_is_broken_and_a_late_failure_told_in_band(gate: Gateway, path: str) -> None:
    """Before any content comes, comments keep the connection warm; then the error is an event, without a marker."""
    client = Client(gate, "late-fail", path=path)
    with contextlib.closing(client):
        answer = client.begin()
        body = client.rest()
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert body.startswith(b": ") or b"event: ping" in body[:40]
        assert (b"gone fishing" in body) or (b"overloaded" in body)
        assert b"error" in body
        assert b"[DONE]" not in body
        assert b"message_stop" not in body
        assert b"finish_reason" not in body
        record = gate.record(answer.headers["x-headgate-id"])
    assert (record["outcome"], record["error"], record["status"]) == ("failed", "overloaded", 200)


def test_fallback_is_still_possible_after_heartbeats(gate: Gateway) -> None:
    """A comment commits to nothing: the next deployment's answer comes whole, with one preamble."""
    client = Client(gate, "rescued")
    with contextlib.closing(client):
        client.begin()
        body = client.rest()
    comments, _, events = body.partition(b"data: ")
    assert comments.count(b"\n\n") >= 1
    assert (words(b"data: " + events), body.endswith(b"data: [DONE]\n\n")) == (STEADY, True)
    assert body.count(b'"role"') == 1
