"""The life of a server: drains, workers, foreign ASGI servers, keys, heartbeats, slow and leaving clients."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headgate.stores.data import DataDir

from .conftest import (
    ASK,
    CONFIG,
    SSE_HEAD,
    Gateway,
    Script,
    Upstream,
    Write,
    completion,
    delta,
    free_port,
    response,
    sse,
)

Start = Callable[[Script], Upstream]
Gate = Callable[..., Gateway]

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIG = "x" * 8192
FLOOD_EVENTS = 6000
"""Events of ``BIG`` in one flood: about 50 MB, under the cap of one stream."""


class Stage:
    """An upstream whose models each behave in their own way, and what it has seen.

    Attributes:
        flooded: bytes that its floods have sent.
        ended: when a connection was last seen to be closed by the gateway.
    """

    def __init__(self) -> None:
        self.flooded = 0
        self.ended: list[float] = []

    async def play(self, path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str | None:
        """The script: does what the model's name says."""
        ask = json.loads(body)
        if not ask.get("stream"):
            await asyncio.sleep(0.3 if ask["model"] == "steady" else 0)
            if ask["model"] == "flood":
                await write(response(completion(BIG * 2000)))
                return None
            await write(response(completion("Paris.")))
            return None
        return str(await getattr(self, ask["model"].replace("-", "_"))(write, writer) or "") or None

    async def steady(self, write: Write, writer: asyncio.StreamWriter) -> None:
        """Ten words in half a second."""
        await write(SSE_HEAD + sse(delta({"role": "assistant", "content": ""})))
        for number in range(10):
            await write(sse(delta({"content": f"{number} "})))
            await asyncio.sleep(0.05)
        await write(sse(delta({}, "stop"), b"[DONE]") + b"0\r\n\r\n")

    async def endless(self, write: Write, writer: asyncio.StreamWriter) -> str:
        """Words until the other side leaves."""
        await write(SSE_HEAD)
        try:
            while not writer.transport.is_closing():
                await write(sse(delta({"content": "more "})))
                await asyncio.sleep(0.01)
        finally:
            self.ended.append(time.monotonic())
        return "close"

    async def late_fail(self, write: Write, writer: asyncio.StreamWriter) -> None:
        """Silence, then a refusal."""
        await asyncio.sleep(0.5)
        await write(response(b'{"error":{"message":"gone fishing"}}', b"503 Service Unavailable"))

    async def late(self, write: Write, writer: asyncio.StreamWriter) -> None:
        """Silence, then an answer."""
        await asyncio.sleep(0.3)
        await self.steady(write, writer)

    async def flood(self, write: Write, writer: asyncio.StreamWriter) -> str | None:
        """As many bytes as the other side takes, up to 50 MB."""
        event = sse(delta({"content": BIG}))
        await write(SSE_HEAD)
        try:
            for _ in range(FLOOD_EVENTS):
                await write(event)
                self.flooded += len(event)
            await write(sse(delta({}, "stop"), b"[DONE]") + b"0\r\n\r\n")
        except ConnectionError:
            self.ended.append(time.monotonic())
            return "close"
        return None


MODELS = "".join(
    f"  {name}: {{{{route: [up/{name}]}}}}\n" for name in ("steady", "endless", "late-fail", "flood", "late")
)
LIVELY = (
    CONFIG.rstrip() + "\n" + MODELS + "  rescued: {{route: [up/late-fail, up/late]}}\n"
    "server: {{heartbeat_seconds: 0.1, slow_client_seconds: 0.6, drain_seconds: 1}}\n"
)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def up(stage: Stage) -> Iterator[Upstream]:
    """One upstream for the whole file."""
    one = Upstream(stage.play)
    yield one
    one.close()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """Makes folders for gateways, their schema there already: making it anew takes longer than most tests here."""
    migrated = tmp_path_factory.mktemp("migrated")
    DataDir(migrated / "data").prepare()
    return lambda name: shutil.copytree(migrated, tmp_path_factory.mktemp(name), dirs_exist_ok=True)


@pytest.fixture(scope="module")
def gate(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """One gateway for all tests that leave it as it was."""
    one = Gateway(fresh("gateway"), LIVELY.format(port=up.port))
    yield one
    one.stop(signal.SIGKILL)


class Client:
    """One streamed request on a socket of its own, read as slowly as one likes."""

    def __init__(
        self,
        gate: Gateway,
        model: str,
        *,
        path: str = "/v1/chat/completions",
        buffer: int = 0,
        port: int = 0,
        stream: bool = True,
    ) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port or gate.port))
        body = json.dumps({**ASK, "model": model, "stream": stream}).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {gate.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        self.answer = http.client.HTTPResponse(self.socket, method="POST")

    def begin(self) -> http.client.HTTPResponse:
        """Waits for the response head."""
        self.answer.begin()
        return self.answer

    def rest(self) -> bytes:
        """Reads to the end of the body, which must be framed whole."""
        return self.answer.read()

    def close(self) -> None:
        self.answer.close()
        self.socket.close()


def wait(condition: Callable[[], object], seconds: float = 5.0) -> float:
    """Waits until something holds; returns for how long."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come to hold"
        time.sleep(0.005)
    return time.monotonic() - began


def connected(port: int) -> int:
    """How many connections the server holds: the kernel's table, without what no process owns any more."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(row[1].endswith(f":{port:04X}") and row[3] != "0A" and row[9] != "0" for row in rows)


def lingering(port: int) -> int:
    """How many closed connections of the server still hold bytes that nobody takes (FIN_WAIT1, LAST_ACK, CLOSING)."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] in ("04", "09", "0B") for row in rows)


def recorders(data: pathlib.Path) -> list[int]:
    """The recorders of a data directory, found as a user would: by their command line."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes()
            if b"recorder" in line and os.fsencode(data) in line:
                found.append(int(process.name))
    return found


def children(pid: int) -> list[int]:
    """The worker processes of a server."""
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [
        int(child) for child in text.split() if b"recorder" not in pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def memory(pid: int) -> int:
    """A process's highest resident memory so far, in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def words(body: bytes) -> str:
    """The text of a streamed answer."""
    events = [line[6:] for line in body.decode().splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content", "") for event in events for choice in json.loads(event)["choices"])


STEADY = "".join(f"{number} " for number in range(10))


# --- clients ---------------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_mid_stream_stops_the_upstream(gate: Gateway, stage: Stage) -> None:
    """Closing the connection in mid-stream closes the upstream's within half a second, and is recorded as cancelled."""
    stage.ended.clear()
    client = Client(gate, "endless")
    call_id = client.begin().headers["x-headgate-id"]
    client.answer.read(200)
    client.close()
    left = time.monotonic()
    wait(lambda: stage.ended)
    assert stage.ended[0] - left < 0.5
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
    left = time.monotonic()
    wait(lambda: stage.ended)
    assert stage.ended[0] - left < 0.5
    assert gate.record(call_id)["outcome"] == "cancelled"
    assert "Traceback" not in "".join(gate.log), "".join(gate.log)


def test_a_refusal_waits_for_the_answer_before_it(gate: Gateway) -> None:
    """A request that is too large, sent behind a stream, is refused after the stream's end, not in its middle."""
    client = Client(gate, "steady")
    client.begin()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 999999999\r\n\r\n"
    client.socket.sendall(head.encode())
    with contextlib.closing(client):
        assert words(client.rest()) == STEADY
        client.answer = http.client.HTTPResponse(client.socket, method="POST")
        assert client.begin().status == 413
        assert b"body_too_large" in client.rest()


def test_a_client_that_takes_nothing_is_cut(gate: Gateway, stage: Stage) -> None:
    """After ``slow_client_seconds`` without a byte taken the upstream is stopped and the client's connection gone."""
    stage.ended.clear()
    client = Client(gate, "flood", buffer=4096)
    wait(lambda: connected(gate.port) > 0)
    assert wait(lambda: stage.ended) < 5.0
    with contextlib.closing(client):
        wait(lambda: connected(gate.port) == 0)
        assert lingering(gate.port) == 0
    record = gate.records()[0]
    assert (record["outcome"], record["error"], record["fault"]) == ("cancelled", "slow_client", "caller")
    assert gate.chat(model="fast")[0] == 200


def test_a_client_that_takes_nothing_of_a_whole_answer_is_cut(gate: Gateway) -> None:
    """A large unary answer that nobody reads is not held in memory beyond ``slow_client_seconds``."""
    with contextlib.closing(Client(gate, "flood", buffer=4096, stream=False)) as client:
        client.socket.recv(1)
        wait(lambda: connected(gate.port) == 0, 2)


def test_back_pressure_keeps_memory_flat(gate: Gateway, stage: Stage) -> None:
    """A fast upstream waits for a slow reader: 200 MB pass through four streams, and the worker does not grow."""
    before, sent = memory(gate.process.pid), stage.flooded
    clients = [Client(gate, "flood") for _ in range(4)]
    time.sleep(0.3)
    held = stage.flooded - sent
    assert held < 4 * 16 * 1024 * 1024, "the gateway took what nobody had read"
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
    assert [last.endswith(b"data: [DONE]\n\n") for last in got] == [True] * 4
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

    answers = await asyncio.wait_for(asyncio.gather(*(one() for _ in range(200))), 30)
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == 200
    assert sum(answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for answer in answers) == 200
    assert all(answer.count(b'"content": "') == 11 for answer in answers)


# --- heartbeats ------------------------------------------------------------------------------------------------------


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
    assert (record["outcome"], record["error"]) == ("failed", "overloaded")


def test_fallback_is_still_possible_after_heartbeats(gate: Gateway) -> None:
    """A comment commits to nothing: the next deployment's answer comes whole, with one preamble."""
    client = Client(gate, "rescued")
    with contextlib.closing(client):
        client.begin()
        body = client.rest()
    comments, _, events = body.partition(b"data: ")
    assert comments.count(b"\n\n") >= 3
    assert (words(b"data: " + events), body.endswith(b"data: [DONE]\n\n")) == (STEADY, True)
    assert body.count(b'"role"') == 1


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys_change_while_it_runs(gate: Gateway) -> None:
    """A key works within a second of its making, and no longer a second after it was revoked."""
    secret = gate.run("keys", "create", "--name", "late-key", "--quiet").strip()
    using = {"authorization": f"Bearer {secret}"}
    assert wait(lambda: gate.chat(headers=using)[0] == 200) < 1.5
    gate.run("keys", "revoke", "late-key")
    assert wait(lambda: gate.chat(headers=using)[0] == 401) < 1.5
    assert gate.chat()[0] == 200


# --- drain -----------------------------------------------------------------------------------------------------------


def refused(port: int) -> bool:
    """Whether nobody listens on a port any more."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_drain_lets_streams_finish_within_its_bound(up: Upstream, gateway: Gate) -> None:
    """On SIGTERM nobody new is let in, what can end within ``drain_seconds`` ends whole, and the exit code is 0."""
    gate = gateway(LIVELY.format(port=up.port))
    client = Client(gate, "steady")
    call_id = client.begin().headers["x-headgate-id"]
    unary: list[Any] = []
    thread = threading.Thread(target=lambda: unary.append(gate.chat(model="steady")))
    thread.start()
    time.sleep(0.1)
    gate.process.send_signal(signal.SIGTERM)
    with contextlib.closing(client):
        wait(lambda: refused(gate.port), 2)
        assert gate.process.poll() is None
        body = client.rest()
    assert (words(body), body.endswith(b"data: [DONE]\n\n")) == (STEADY, True)
    thread.join(5)
    assert [answer[0] for answer in unary] == [200]
    assert gate.process.wait(5) == 0
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


# --- workers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crew(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway with three workers."""
    one = Gateway(fresh("crew"), LIVELY.format(port=up.port), workers=3)
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


def answering(gate: Gateway) -> set[str]:
    """The workers that answer: each puts its own eight digits into the ids that it makes."""
    return {gate.chat()[1]["x-headgate-id"][14:22] for _ in range(60)}


def test_a_killed_worker_is_replaced_and_nobody_else_disturbed(crew: Gateway) -> None:
    """All workers answer. One is killed: the streams of the others go on, and soon there are as many as before."""
    workers = children(crew.process.pid)
    assert len(workers) == 3
    assert len(answering(crew)) == 3
    clients = [Client(crew, "steady") for _ in range(12)]
    for client in clients:
        with contextlib.suppress(OSError):
            client.begin()
    os.kill(workers[0], signal.SIGKILL)
    whole = 0
    for client in clients:
        with contextlib.suppress(http.client.HTTPException, OSError):
            whole += client.rest().endswith(b"data: [DONE]\n\n")
        client.close()
    wait(lambda: len(children(crew.process.pid)) == 3 and workers[0] not in children(crew.process.pid))
    survivors = set(workers[1:])
    assert survivors < set(children(crew.process.pid))
    assert whole >= 1
    wait(lambda: len(answering(crew)) == 3, 10)
    records = crew.records()
    lost = sum(record["outcome"] != "completed" for record in records)
    assert lost == 0
    assert sum(record["stream"] for record in records) == whole


def test_there_is_one_recorder(crew: Gateway) -> None:
    """However many workers, one process moves their journals into the store."""
    wait(lambda: len(recorders(crew.data)) == 1)
    time.sleep(0.6)
    assert len(recorders(crew.data)) == 1


def test_sigterm_ends_every_worker(crew: Gateway) -> None:
    """A stream on a worker drains, new connections are refused meanwhile, and nobody is left behind."""
    client = Client(crew, "steady")
    client.begin()
    workers = children(crew.process.pid)
    crew.process.send_signal(signal.SIGTERM)
    with contextlib.closing(client):
        wait(lambda: refused(crew.port), 2)
        assert client.rest().endswith(b"data: [DONE]\n\n")
    assert crew.process.wait(5) == 0
    assert [pid for pid in workers if pathlib.Path(f"/proc/{pid}").exists()] == []
    crew.stop()


def test_workers_do_not_outlive_their_supervisor(crew: Gateway) -> None:
    """Should the supervisor itself be killed, its workers end, so that the port is free for the next."""
    crew.start()
    workers = children(crew.process.pid)
    try:
        crew.process.kill()
        wait(lambda: refused(crew.port), 2)
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        crew.stop()


# --- foreign ASGI servers --------------------------------------------------------------------------------------------

MOUNTED = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from headgate.asgi import app as headgate

@asynccontextmanager
async def lifespan(_):
    await headgate.startup()
    yield
    await headgate.shutdown()

routes = [Route("/mine", lambda request: PlainTextResponse("mine")), Mount("/llm", headgate)]
with_lifespan = Starlette(routes=routes, lifespan=lifespan)
without = Starlette(routes=routes)
"""


@pytest.fixture(scope="module")
def folder(gate: Gateway) -> pathlib.Path:
    """Where the applications under foreign servers lie."""
    (gate.directory / "mounted.py").write_text(MOUNTED)
    return gate.directory


@pytest.mark.parametrize(
    ("command", "prefix"),
    [
        (["uvicorn", "headgate.asgi:app", "--port", "{port}", "--log-level", "warning"], ""),
        (["hypercorn", "headgate.asgi:app", "--bind", "127.0.0.1:{port}"], ""),
        (["uvicorn", "mounted:with_lifespan", "--port", "{port}"], "/llm"),
        (["uvicorn", "mounted:without", "--port", "{port}"], "/llm"),
    ],
    ids=["uvicorn", "hypercorn", "mounted", "mounted-without-lifespan"],
)
def test_any_asgi_server(gate: Gateway, folder: pathlib.Path, command: list[str], prefix: str) -> None:
    """``headgate.asgi:app`` answers whole and streamed, takes keys, records, and ends well under any ASGI server."""
    program = pathlib.Path(sys.executable).with_name(command[0])
    if not program.exists():
        pytest.skip(f"{command[0]} is not installed")
    port = free_port()
    environment = {**gate.env, "HEADGATE_CONFIG": str(gate.config), "HEADGATE_DATA": str(gate.data)}
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            [program, *(word.format(port=port) for word in command[1:])],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(folder)},
            stdout=log,
            stderr=log,
        )
        try:
            wait(lambda: process.poll() is not None or not refused(port), 20)
            foreign = Foreign(gate, port)
            status, headers, body = foreign.chat(f"{prefix}/v1/chat/completions")
            assert (status, body) == (200, completion("Paris."))
            assert gate.record(headers["x-headgate-id"])["key_name"] == "test"
            client = Client(gate, "steady", path=f"{prefix}/v1/chat/completions", port=port)
            with contextlib.closing(client):
                assert client.begin().status == 200
                assert words(client.rest()) == STEADY
            assert foreign.chat(f"{prefix}/v1/chat/completions", key="hg-wrong")[0] == 401
            assert foreign.chat(f"{prefix}/v1/nothing")[0] == 404
            if prefix:
                assert foreign.get("/mine") == (200, b"mine")
            assert foreign.get(f"{prefix}/readyz")[0] == 200
        finally:
            process.terminate()
            code = process.wait(10)
        log.seek(0)
        said = log.read()
    assert "Traceback" not in said, said
    assert code in (0, -signal.SIGTERM)


class Foreign:
    """A client of a server that is not ours."""

    def __init__(self, gate: Gateway, port: int) -> None:
        self._gate, self._port = gate, port

    def chat(self, path: str, key: str = "") -> tuple[int, dict[str, str], bytes]:
        """Posts one unary chat request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        sent = {"content-type": "application/json", "authorization": f"Bearer {key or self._gate.key}"}
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(ASK), sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def get(self, path: str) -> tuple[int, bytes]:
        """Gets one page."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


def test_a_bad_configuration_stops_a_foreign_server_with_a_clear_word(tmp_path: pathlib.Path) -> None:
    """The error names file, line and nearest key; it is the last thing said, and the server does not start."""
    config = tmp_path / "headgate.yaml"
    config.write_text("providers:\n  up: {dialect: openai_chat, url: 'http://127.0.0.1:9/v1', kee: 1}\n")
    program = pathlib.Path(sys.executable).with_name("uvicorn")
    done = subprocess.run(
        [program, "headgate.asgi:app", "--port", str(free_port())],
        env={**os.environ, "HEADGATE_CONFIG": str(config), "HEADGATE_DATA": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert f"{config}:2" in done.stderr
    assert "did you mean" in done.stderr
