"""The load: one request, sent by wrk or by a plain socket, and what a right answer to it looks like."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import socket
import statistics
import subprocess
import time
from collections.abc import Mapping

from harness.procs import LOAD_CORE, BenchError

REQUEST_BYTES, ANSWER_BYTES, STREAM_TOKENS = 450, 765, 100
STREAM_EVENTS = STREAM_TOKENS + 3  # the role, the finish and [DONE]; a usage chunk is not counted
PATH = "/v1/chat/completions"
_QUESTION = "What is the capital of France, and what should a visitor with one free afternoon see first? "
_ANSWER = "The capital of France is Paris. Start at the river and walk along the quays towards the cathedral. "


def request_body(*, stream: bool = False, tokens: int = STREAM_TOKENS) -> bytes:
    """Returns the chat completion request, exactly ``REQUEST_BYTES`` long."""
    ask: dict[str, object] = {
        "model": "gpt-4o-mini-stream" if stream else "gpt-4o-mini",
        "messages": [{"role": "system", "content": "You are a helpful guide."}, {"role": "user", "content": ""}],
        "temperature": 0.2,
        "max_tokens": tokens,
    }
    if stream:
        ask["stream"] = True
    room = REQUEST_BYTES - len(json.dumps(ask))
    ask["messages"][1]["content"] = (_QUESTION * 5)[:room]  # type: ignore[index]
    return json.dumps(ask).encode()


def answer_body() -> bytes:
    """Returns the upstream's fixed unary answer, exactly ``ANSWER_BYTES`` long, with usage."""
    answer = {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion",
        "created": 1750000000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 75, "completion_tokens": 85, "total_tokens": 160},
    }
    room = ANSWER_BYTES - len(json.dumps(answer))
    answer["choices"][0]["message"]["content"] = (_ANSWER * 8)[:room]  # type: ignore[index]
    return json.dumps(answer).encode()


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one run of load saw. Latencies in µs, of whole answers; ``received`` in bytes on the wire."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int
    received: int


_DONE = """
done = function(s, l, r)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", s.requests, s.duration, l:percentile(50), l:percentile(99),
    s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout, s.bytes))
end
"""


def wrk(
    port: int, headers: Mapping[str, str], connections: int, seconds: float, folder: pathlib.Path, *, stream: bool
) -> Sample:
    """Loads a gateway with wrk from the load's core and returns what it saw."""
    lines = [f'wrk.headers["{k}"]="{v}"' for k, v in {"Content-Type": "application/json", **headers}.items()]
    body = request_body(stream=stream).decode()
    script = folder / f"load-{port}-{'stream' if stream else 'unary'}.lua"
    script.write_text('wrk.method="POST"\n' + "\n".join(lines) + f"\nwrk.body=[==[{body}]==]\n{_DONE}")
    cmd = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    cmd += ["--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{port}{PATH}"]
    done = subprocess.run(cmd, capture_output=True, text=True, timeout=seconds + 60)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if not found:
        raise BenchError(f"wrk said: {(done.stderr or done.stdout)[-200:]}")
    n, took, p50, p99, errors, received = map(int, found.groups())
    return Sample(n, took / 1e6, p50, p99, errors, received)


class Client:
    """A plain blocking HTTP/1.1 client on one kept-alive connection; cheap, and shows when bytes arrive."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        self.head += "".join(f"{k}: {v}\r\n" for k, v in headers.items())

    def ask(self, body: bytes) -> tuple[int, bytes, float]:
        """Returns the status, the whole answer as it came on the wire, and the seconds to its first content event."""
        start, first, got = time.perf_counter(), 0.0, b""
        self.socket.sendall(self.head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while not self._whole(got):
            data = self.socket.recv(65536)
            if not data:
                break
            got += data
            if not first and re.search(rb'"content": ?"[^"]', got):
                first = time.perf_counter() - start
        return int(got.split(b" ", 2)[1]) if got else 0, got, first

    @staticmethod
    def _whole(got: bytes) -> bool:
        head, end, body = got.partition(b"\r\n\r\n")
        if not end:
            return False
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        return len(body) >= int(length.group(1)) if length else body.endswith(b"0\r\n\r\n")

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()


def probe_unary(port: int, headers: Mapping[str, str]) -> None:
    """Raises unless a gateway answers the unary request with the upstream's own text."""
    client = Client(port, headers)
    try:
        status, got, _ = client.ask(request_body())
    finally:
        client.close()
    if status != 200 or (_ANSWER * 8)[:200].encode() not in got:
        raise BenchError(f"unary answer is not the upstream's: {got[:300]!r}")


def probe_stream(port: int, headers: Mapping[str, str]) -> int:
    """Raises unless a gateway relays the whole stream; returns its size on the wire in bytes."""
    client = Client(port, headers)
    try:
        status, got, _ = client.ask(request_body(stream=True))
    finally:
        client.close()
    events = got.count(b"data: {")
    tokens = len(re.findall(rb'"content": ?"[^"]', got))
    if status != 200 or tokens != STREAM_TOKENS or b"data: [DONE]" not in got:
        raise BenchError(f"stream is not whole: status {status}, {events} events, {tokens} tokens: {got[:300]!r}")
    return len(got)


def first_content(port: int, headers: Mapping[str, str], seconds: float) -> tuple[float, float]:
    """Returns the p50 and p99 of the time to a stream's first content, in µs, at one connection."""
    client, times = Client(port, headers), []
    body, end = request_body(stream=True, tokens=2), time.monotonic() + seconds
    try:
        while time.monotonic() < end or len(times) < 20:
            status, _, first = client.ask(body)
            if status != 200 or not first:
                raise BenchError(f"first content: status {status}")
            times.append(first * 1e6)
    finally:
        client.close()
    times = times[len(times) // 10 :]
    return statistics.median(times), sorted(times)[int(len(times) * 0.99)]
