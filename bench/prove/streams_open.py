#!/usr/bin/env python3
"""Proof: two thousand concurrent slow streams through one worker, every one whole, none with an error.

All streams are opened, held open together, and read to their end. The upstream is ``headgate sim`` at a slow token
speed. The gateway is started under the usual soft limit of 1,024 open files, which it has to raise itself.
Saves ``bench/results/streams_open.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, measure, report, upstreams
from harness.procs import LOAD_CORE, cpu_seconds, free_port, memory_mb, pin_self, spawn, stop, wait_port

TITLE = "Two thousand concurrent open streams on one worker"
_CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
models:
  words-{words}: {{route: [up/words-{words}]}}
"""


class Stream(asyncio.Protocol):
    """One client with one streamed call; counts what arrives without decoding it.

    Attributes:
        tokens: content events seen.
        problem: why it is not whole, "" when it is.
    """

    open_now = open_most = 0

    def __init__(self, request: bytes, words: int) -> None:
        self.request, self.words = request, words
        self.head = self.tail = b""
        self.tokens = 0
        self.started = time.monotonic()
        self.first_s = self.last_s = self.longest_gap_s = 0.0
        self.problem = "cut before its end"
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic() - self.started
        text = self.tail + data
        self.tokens += len(re.findall(rb'"content": ?"[^"]', text))
        if self.tokens and not self.first_s:
            self.first_s = self.last_s = now
            Stream.open_now += 1
            Stream.open_most = max(Stream.open_most, Stream.open_now)
        elif self.first_s:
            self.longest_gap_s, self.last_s = max(self.longest_gap_s, now - self.last_s), now
        # What follows the last event's end may be half an event; it is counted once it is whole.
        self.head, self.tail = self.head or data[:15], text[text.rfind(b"\n\n") + 2 :] if b"\n\n" in text else text
        if b"data: [DONE]" in text:
            self.finish(text)

    def finish(self, text: bytes) -> None:
        """Judges a stream that has its closing marker."""
        status = self.head.split(b" ")[1] if b" " in self.head else b"?"
        if status != b"200":
            self.problem = f"status {status.decode()}"
        elif b'"error"' in text:
            self.problem = "an error event"
        elif self.tokens != self.words:
            self.problem = f"{self.tokens} tokens instead of {self.words}"
        else:
            self.problem = ""
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc:
            self.problem = repr(exc)
        if self.head and not self.head.startswith(b"HTTP/1.1 200"):
            self.problem = self.head.decode(errors="replace")
        Stream.open_now -= bool(self.first_s)
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, key: str, count: int, words: int, opening_s: float, limit_s: float) -> list[Stream]:
    """Opens the streams evenly over ``opening_s`` seconds, reads all to the end and returns them."""
    ask = {"model": f"words-{words}", "stream": True, "messages": [{"role": "user", "content": "Go on, slowly."}]}
    body = json.dumps(ask).encode()
    request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
    request += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    streams = []
    loop, start = asyncio.get_running_loop(), time.monotonic()
    for i in range(count):
        _, stream = await loop.create_connection(lambda: Stream(request.encode() + body, words), "127.0.0.1", port)
        streams.append(stream)
        await asyncio.sleep(max(0.0, start + (i + 1) * opening_s / count - time.monotonic()))
    await asyncio.wait([s.done for s in streams], timeout=limit_s)
    for s in streams:
        if not s.done.done():
            s.problem = "no end within the limit"
    return streams


def sim(binary: pathlib.Path, port: int, speed: float, folder: pathlib.Path) -> subprocess.Popen[bytes]:
    """Starts the slow upstream on the load's core."""
    cmd = [binary, "sim", "--port", port, "--speed", speed, "--first-token-ms", "200"]
    proc = spawn(cmd, core=LOAD_CORE, log=folder / "sim.log")
    wait_port(port, proc, 20, folder / "sim.log")
    return proc


class Gate(contestants.Headgate):
    """The gateway before the slow upstream."""

    def __init__(self, folder: pathlib.Path, config: str) -> None:
        super().__init__(upstreams.Upstreams(folder), folder, "full", contestants.headgate_binary())
        self.source = folder / "streams.yaml"
        self.source.write_text(config)

    def probe(self) -> None:
        """The load itself is the probe."""

    @property
    def secret(self) -> str:
        """The key that the load uses."""
        return self.headers["Authorization"].removeprefix("Bearer ")


def records(gate: Gate) -> dict[str, int]:
    """Returns how many records say what outcome."""
    cmd = [str(gate.binary), "records", "--data", str(gate.data), "--format", "jsonl"]
    done = subprocess.run(cmd, capture_output=True, text=True, env={**os.environ, "UP_KEY": "sk-upstream"})
    counts: dict[str, int] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            outcome = str(json.loads(line).get("outcome"))
            counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def measured(gate: Gate, args: argparse.Namespace) -> report.Row:
    """Runs the load and returns what it cost and how it went."""
    idle = gate.memory()
    before, start = cpu_seconds(gate.pids()), time.monotonic()
    limit = args.words / args.speed * 3 + 60
    streams = asyncio.run(load(gate.port, gate.secret, args.streams, args.words, args.opening, limit))
    seconds, after = time.monotonic() - start, cpu_seconds(gate.pids())
    peak = max(memory_mb(p, "VmHWM") for p in gate.pids())
    problems: dict[str, int] = {}
    for s in streams:
        if s.problem:
            problems[s.problem] = problems.get(s.problem, 0) + 1
    row: dict[str, Any] = {
        "key": "streams",
        "name": f"{args.streams} streams of {args.words} tokens at {args.speed:g} tokens/s",
        "streams": args.streams,
        "open_at_once": Stream.open_most,
        "whole": sum(not s.problem for s in streams),
        "errors": sum(bool(s.problem) for s in streams),
        "problems": problems,
        "memory_idle_mb": idle,
        "memory_peak_mb": peak,
        "kb_per_stream": (peak - idle) * 1000 / args.streams,
        "cpu_seconds": sum(after) - sum(before),
        "core_share": (sum(after) - sum(before)) / seconds,
        "first_content_p99_s": sorted(s.first_s for s in streams)[int(len(streams) * 0.99)],
        "longest_gap_s": max(s.longest_gap_s for s in streams),
        "seconds": seconds,
    }
    gate.settle()
    row["records"] = records(gate)
    return row


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--words", type=int, default=120, help="length of an answer in tokens")
    parser.add_argument("--speed", type=float, default=4.0, help="tokens a second in each stream")
    parser.add_argument("--opening", type=float, default=8.0, help="seconds over which the streams are opened")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "streams_open.json")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    pin_self()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder, port = pathlib.Path(name), free_port()
        gate = Gate(folder, _CONFIG.format(port=port, words=args.words))
        upstream = sim(gate.binary, port, args.speed, folder)
        try:
            gate.set_up()
            measure.started(gate, measure.Plan(starts=1))
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            row = measured(gate, args)
        finally:
            gate.stop()
            stop(upstream)
    together, errors = row["open_at_once"], row["errors"]
    bars = [
        report.bar(
            "streams open at the same time on one worker", f"≥ {args.streams}", f"{together}", together >= args.streams
        ),
        report.bar("streams that were not whole", "0", f"{errors} of {args.streams}", errors == 0),
    ]
    print("\n".join(f"{k}: {round(v, 3) if isinstance(v, float) else v}" for k, v in row.items()))
    print(report.bar_lines(bars))
    report.save("streams_open", TITLE, [row], bars, args.output)
    return int(not all(b["holds"] for b in bars))


if __name__ == "__main__":
    sys.exit(main())
