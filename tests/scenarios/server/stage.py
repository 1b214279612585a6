"""What the scenarios of the server play on: an upstream of many tempers, a slow client, looks into /proc."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable

from tests.scenarios.conftest import ASK, CONFIG, SSE_HEAD, Gateway, Write, completion, delta, response, sse

BIG = "x" * 8192
FLOOD_EVENTS = 9000
"""Events of ``BIG`` in one flood: about 75 MB, more than a body that is taken whole may have."""
Gate = Callable[..., Gateway]


class Stage:
    """An upstream whose models each behave in their own way, and what it has seen.

    Attributes:
        flooded: bytes that its floods have sent.
        ended: when a connection was last seen to be closed by the gateway.
        let_go: ends what is ``held``.
    """

    def __init__(self) -> None:
        self.flooded = 0
        self.ended: list[float] = []
        self.let_go = threading.Event()

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

    async def held(self, write: Write, writer: asyncio.StreamWriter) -> None:
        """A word, and the last one once it is let go."""
        await write(SSE_HEAD + sse(delta({"role": "assistant", "content": "held "})))
        while not self.let_go.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        await write(sse(delta({"content": "on"}), delta({}, "stop"), b"[DONE]") + b"0\r\n\r\n")

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
    f"  {name}: {{{{route: [up/{name}]}}}}\n" for name in ("steady", "held", "endless", "late-fail", "flood", "late")
)
LIVELY = (
    CONFIG.rstrip() + "\n" + MODELS + "  rescued: {{route: [up/late-fail, up/late]}}\n"
    "server: {{heartbeat_seconds: 0.1, slow_client_seconds: 0.6, drain_seconds: 1}}\n"
)
PATIENT = LIVELY.replace("drain_seconds: 1", "drain_seconds: 60")
"""For drains that are to end by themselves, however slow the machine."""


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
        self.socket.settimeout(60)
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


def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until something holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come to hold"
        time.sleep(0.02)


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


def refused(port: int) -> bool:
    """Whether nobody listens on a port any more."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False
