#!/usr/bin/env python3
"""Proves that no record is lost: workers and recorders are killed under load, and every answer's record is counted.

Two workers before a simulator, and clients that ask without pause, half of them for streams. In the first part a
worker is killed with SIGKILL at a random moment, again and again; in the second the recorder. A client notes the id of
every answer that it has received whole, and the tokens in it. At the end the server is stopped, and the store must
hold each of these calls exactly once, as completed, with the right tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, report
from harness.procs import (
    GATE_CORE,
    LOAD_CORE,
    BenchError,
    command_line,
    free_port,
    pin_self,
    spawn,
    stop,
    tail,
    tree,
    wait_gone,
    wait_port,
    with_words,
)

TITLE = "Fifty killed workers and fifty killed recorders, nothing lost"
WORDS = 12
_CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
models:
  words: {{route: [up/words-{words}]}}
"""


class Client:
    """One connection after another, one call after another; remembers what came whole.

    Attributes:
        whole: tokens by id, of every answer received whole.
        broken: calls that ended otherwise.
        refused: connections that were not accepted.
    """

    whole: dict[str, int] = {}
    broken: Counter[str] = Counter()
    refused = 0

    def __init__(self, port: int, key: str, *, stream: bool) -> None:
        self.port, self.stream = port, stream
        ask: dict[str, Any] = {"model": "words", "messages": [{"role": "user", "content": "Go on."}], "stream": stream}
        if stream:
            ask["stream_options"] = {"include_usage": True}
        body = json.dumps(ask).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body

    async def run(self, going: Callable[[], bool]) -> None:
        """Asks until told to stop; a broken connection is replaced."""
        while going():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                Client.refused += 1
                await asyncio.sleep(0.02)
                continue
            try:
                while going():
                    writer.write(self.request)
                    await self.answer(reader)
            except (OSError, EOFError, ValueError) as error:
                Client.broken[f"{'stream' if self.stream else 'unary'}: {type(error).__name__}"] += 1
            finally:
                writer.close()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Reads one answer; raises where it is not whole."""
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
        if b" 200 " not in lines[0] + b" ":
            body = await reader.readexactly(int(headers.get(b"content-length", 0)))
            Client.broken[f"status {lines[0].split()[1].decode()}: {body[:80]!r}"] += 1
            return
        call_id, streamed = headers[b"x-headgate-id"].decode(), b"content-length" not in headers
        if streamed:
            usage = await self.events(reader)
        else:
            usage = json.loads(await reader.readexactly(int(headers[b"content-length"])))["usage"]
        if call_id in Client.whole:
            raise BenchError(f"two answers have the id {call_id}")
        Client.whole[call_id] = usage["completion_tokens"]
        if streamed:  # its client is served already; should the connection break now, the record must be there
            await reader.readexactly(len(b"0\r\n\r\n"))

    @staticmethod
    async def events(reader: asyncio.StreamReader) -> dict[str, int]:
        """Reads a chunked event stream to its closing marker; returns the usage told in it."""
        data = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            data += (await reader.readexactly(size + 2))[:-2]
            if data.endswith(b"data: [DONE]\n\n"):
                told = [event for event in data.split(b"\n\n") if b'"prompt_tokens"' in event]
                usage: dict[str, int] = json.loads(told[-1].removeprefix(b"data: "))["usage"]
                return usage
        raise EOFError


class Gate:
    """The server under test, with a data directory of its own."""

    def __init__(self, folder: pathlib.Path, upstream: int, workers: int) -> None:
        self.binary, self.data, self.port = contestants.headgate_binary(), folder / "data", free_port()
        self.env = {**os.environ, "UP_KEY": "sk-upstream"}
        config = folder / "headgate.yaml"
        config.write_text(_CONFIG.format(port=upstream, words=WORDS))
        make = [self.binary, "keys", "create", "--name", "load", "--data", self.data, "--quiet"]
        self.key = subprocess.run(make, env=self.env, capture_output=True, text=True, check=True).stdout.strip()
        self.log = folder / "gate.log"
        cmd = [self.binary, "serve", "--config", config, "--port", self.port, "--data", self.data, "--workers", workers]
        self.proc = spawn(cmd, core=GATE_CORE, log=self.log, env={"UP_KEY": "sk-upstream"})
        end = time.monotonic() + 20
        while "ready" not in tail(self.log, 10_000):
            if self.proc.poll() is not None or time.monotonic() > end:
                raise BenchError(f"the server is not ready: {tail(self.log)}")
            time.sleep(0.02)
        self.workers = workers

    def recorders(self) -> list[int]:
        """The recorder's process, as long as there is one."""
        return with_words("headgate.stores.recorder_process", str(self.data))

    def crew(self) -> list[int]:
        """The worker processes."""
        if self.proc.poll() is not None:
            raise BenchError(f"the server has ended: {tail(self.log)}")
        recorders = self.recorders()
        found = [pid for pid in tree(self.proc.pid)[1:] if pid not in recorders and "serve" in command_line(pid)]
        return found if self.workers > 1 else [self.proc.pid]

    def stop(self) -> None:
        """Ends the server, and waits until its last recorder has gone by itself."""
        stop(self.proc, 30)
        wait_gone(self.recorders, 60)


async def killing(find: Callable[[], list[int]], wanted: int, count: int, chance: random.Random) -> list[int]:
    """Kills one of the processes found, at a random moment once there are as many as wanted, ``count`` times."""
    killed: list[int] = []
    while len(killed) < count:
        end = time.monotonic() + 20
        while len([pid for pid in find() if pid not in killed]) < wanted:
            if time.monotonic() > end:
                raise BenchError(f"nobody took the place of process {killed[-1:]}")
            await asyncio.sleep(0.02)
        await asyncio.sleep(chance.uniform(0.05, 1.0))
        pid = chance.choice([pid for pid in find() if pid not in killed])
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    return killed


async def part(
    gate: Gate, name: str, find: Callable[[], list[int]], wanted: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Loads the server while the processes found are killed; returns what happened. ``ids`` are the whole answers'."""
    Client.whole, Client.broken, Client.refused = {}, Counter(), 0
    going, began = [True], time.monotonic()
    clients = [Client(gate.port, gate.key, stream=bool(number % 2)) for number in range(args.clients)]
    tasks = [asyncio.ensure_future(client.run(lambda: going[0])) for client in clients]
    try:
        killed = await killing(find, wanted, args.kills, random.Random(args.seed))
        await asyncio.sleep(0.5)
    finally:
        going[0] = False
        _, late = await asyncio.wait(tasks, timeout=20)
        for task in late:
            task.cancel()
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
    return {
        "killed": name,
        "times": len(killed),
        "answers received whole": len(Client.whole),
        "calls broken": sum(Client.broken.values()),
        "connections refused": Client.refused,
        "clients hanging": len(late),
        "seconds": time.monotonic() - began,
        "ids": dict(Client.whole),
        "how": dict(Client.broken),
    }


def judge(gate: Gate, rows: list[dict[str, Any]]) -> None:
    """Compares what clients received with what the store holds, read from the database itself."""
    connection = sqlite3.connect(gate.data / "headgate.db")
    stored = connection.execute("SELECT id, outcome, output_tokens FROM calls").fetchall()
    connection.close()
    count = Counter(row[0] for row in stored)
    tokens = {row[0]: row[2] for row in stored}
    done = {row[0] for row in stored if row[1] == "completed"}
    for row in rows:
        ids: dict[str, int] = row.pop("ids")
        row["in the store once"] = sum(count[i] == 1 for i in ids)
        row["missing"] = sum(not count[i] for i in ids)
        row["twice"] = sum(count[i] > 1 for i in ids)
        row["not as completed"] = sum(count[i] > 0 and i not in done for i in ids)
        row["other tokens"] = sum(count[i] > 0 and tokens[i] != ids[i] for i in ids)
    rows[-1]["journal segments left"] = len(list((gate.data / "journal").iterdir()))


def bars(rows: list[dict[str, Any]], kills: int) -> list[dict[str, Any]]:
    """Returns what must hold."""
    found = []
    for row in rows:
        lost = row["missing"] + row["twice"]
        whole, name = row["answers received whole"], row["killed"]
        found += [
            report.bar(f"{name}: killed under load", f"≥ {kills}", str(row["times"]), row["times"] >= kills),
            report.bar(
                f"{name}: whole answers not in the store exactly once",
                "0",
                f"{lost} of {whole}",
                not lost and whole > 0,
            ),
            report.bar(
                f"{name}: records of whole answers that say something else",
                "0",
                str(row["not as completed"] + row["other tokens"]),
                not row["not as completed"] + row["other tokens"],
            ),
        ]
    return found


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of workers, and again of recorders")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "kill_loop.json")
    args = parser.parse_args()
    pin_self()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder, port = pathlib.Path(name), free_port()
        cmd = [contestants.headgate_binary(), "sim", "--port", port, "--speed", "400", "--first-token-ms", "5"]
        upstream = spawn(cmd, core=LOAD_CORE, log=folder / "sim.log")
        gate = None
        try:
            wait_port(port, upstream, 20, folder / "sim.log")
            gate = Gate(folder, port, args.workers)
            rows = [
                asyncio.run(part(gate, "worker", gate.crew, args.workers, args)),
                asyncio.run(part(gate, "recorder", gate.recorders, 1, args)),
            ]
            gate.stop()
            judge(gate, rows)
        finally:
            if gate is not None:
                stop(gate.proc)
            stop(upstream)
    details = [{"killed": row["killed"], "how": row.pop("how")} for row in rows]
    found = bars(rows, args.kills)
    for row, detail in zip(rows, details, strict=True):
        print("\n".join(f"{k}: {round(v, 3) if isinstance(v, float) else v}" for k, v in (row | detail).items()), "\n")
    print(report.bar_lines(found))
    report.save("kill_loop", TITLE, rows, found, args.output, about=(__doc__ or "").split("\n\n")[1], details=details)
    return int(not all(b["holds"] for b in found))


if __name__ == "__main__":
    sys.exit(main())
