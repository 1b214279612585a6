"""Keys made and revoked while it runs, drains, readiness, a busy port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.scenarios.conftest import Gateway, Upstream

from .stage import LIVELY, PATIENT, Client, Stage, refused, wait, words


def test_keys_change_while_it_runs(gate: Gateway) -> None:
    """A key works soon after its making, and no longer soon after it was revoked."""
    secret = gate.run("keys", "create", "--name", "late-key", "--quiet").strip()
    using = {"authorization": f"Bearer {secret}"}
    wait(lambda: gate.chat(headers=using)[0] == 200)
    gate.run("keys", "revoke", "late-key")
    wait(lambda: gate.chat(headers=using)[0] == 401)
    assert gate.chat()[0] == 200


def test_a_drain_lets_streams_finish_within_its_bound(
    up: Upstream, stage: Stage, fresh: Callable[[str], pathlib.Path]
) -> None:
    """On SIGTERM nobody new is let in, what can end within ``drain_seconds`` ends whole, and the exit code is 0."""
    gate = Gateway(fresh("drain"), PATIENT.format(port=up.port))
    stage.let_go.clear()
    before = len(up.requests)
    client = Client(gate, "held")
    call_id = client.begin().headers["x-headgate-id"]
    unary: list[Any] = []
    thread = threading.Thread(target=lambda: unary.append(gate.chat(model="steady")))
    thread.start()
    wait(lambda: len(up.requests) == before + 2)
    gate.process.send_signal(signal.SIGTERM)
    with contextlib.closing(client):
        wait(lambda: refused(gate.port))
        assert gate.process.poll() is None
        stage.let_go.set()
        body = client.rest()
    assert (words(body), body.endswith(b"data: [DONE]\n\n")) == ("held on", True)
    thread.join(60)
    assert [answer[0] for answer in unary] == [200]
    assert gate.process.wait(60) == 0
    assert gate.stop() == 0
    assert gate.record(call_id)["outcome"] == "completed"
    assert "Traceback" not in "".join(gate.log)


class Drained:
    """What became of a stream that outlives the drain: its body, the server's exit code and log, its record."""

    def __init__(self, gate: Gateway) -> None:
        client = Client(gate, "endless")
        call_id = client.begin().headers["x-headgate-id"]
        began = time.monotonic()
        gate.process.send_signal(signal.SIGTERM)
        with contextlib.closing(client):
            self.body = client.rest()
        self.seconds = time.monotonic() - began
        self.code = gate.stop()
        self.log = "".join(gate.log)
        self.record = gate.record(call_id)


@pytest.fixture(scope="module")
def drained(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Drained:
    """One drain that runs into its bound."""
    gate = Gateway(fresh("drained"), LIVELY.format(port=up.port))
    try:
        return Drained(gate)
    finally:
        if gate.process.poll() is None:
            gate.stop(signal.SIGKILL)


def test_a_drain_ends_what_does_not_end_itself(drained: Drained) -> None:
    """A stream that outlives the drain ends with a typed error event, without a marker, its body closed cleanly."""
    assert drained.seconds > 0.9
    assert b"[DONE]" not in drained.body
    last = [line for line in drained.body.decode().splitlines() if line.startswith("data: ")][-1]
    assert json.loads(last[6:])["error"]["code"] == "draining"
    assert drained.code == 0
    assert "Traceback" not in drained.log


def test_the_record_of_a_drained_stream_says_why(drained: Drained) -> None:
    """The client did not leave: the record says failed, and why."""
    assert (drained.record["outcome"], drained.record["error"]) == ("failed", "draining")
    assert drained.record["fault"] == "gateway"
    assert drained.record["attempts"][0]["outcome"] == "cancelled"


def test_readiness_ends_before_the_drain() -> None:
    """From the moment of SIGTERM ``/readyz`` says 503 on connections that are still open; ``/healthz`` stays 200."""
    from headgate.server.app import App
    from headgate.server.guard import Limits

    async def check() -> list[int]:
        async def start() -> Any:
            class Core:
                dialects = dict.fromkeys(("openai_chat", "anthropic", "count_tokens", "embeddings"))

            return Core()

        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        app = App(start, Limits(), False)
        for path in ("/readyz", "/readyz", "/healthz"):
            await app({"type": "http", "path": path, "method": "GET", "headers": []}, receive, send)
            app.draining = True
        return [message["status"] for message in sent if "status" in message]

    assert asyncio.run(check()) == [200, 503, 200]


def test_a_busy_port_is_a_clear_error(gate: Gateway) -> None:
    """``serve`` on a port in use says so in one line, and exits with 2."""
    command = gate._command("serve", "--config", str(gate.config), "--port", str(gate.port))
    done = subprocess.run(command, env=gate.env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"Can not listen on 127.0.0.1:{gate.port}" in line
    assert "--port" in line
