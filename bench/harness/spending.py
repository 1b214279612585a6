"""What the proofs about money stand on: a simulator that bills, servers before it, callers, and what they saw."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.postgres import Postgres

from harness import contestants
from harness.procs import (
    GATE_CORE,
    LOAD_CORE,
    BenchError,
    command_line,
    free_port,
    spawn,
    stop,
    tail,
    tree,
    wait_gone,
    wait_port,
    with_words,
)

INPUT, OUTPUT = 2_000, 10_000
"""Nano-dollars a token."""
REFUSED = ("402", "422", "429")
"""How a call over a budget is refused, here and by a peer."""
FAULTS = ("503", "reset-before-headers", "cut", "reset-mid-stream", "error-event")


class Sim:
    """The upstream, and what it has billed by its own meter."""

    def __init__(self, folder: pathlib.Path, *, failing: bool) -> None:
        self.port = free_port()
        faults = [{"fault": name, "when": {"probability": 0.07}} for name in FAULTS] if failing else []
        scenario = folder / f"scenario-{self.port}.yaml"
        scenario.write_text(json.dumps({"name": "spend", "faults": faults}))
        cmd = [contestants.headgate_binary(), "sim", "--port", self.port, "--scenario", scenario]
        cmd += ["--speed", "400", "--first-token-ms", "20"]
        self.proc = spawn(cmd, core=LOAD_CORE, log=folder / "sim.log")
        wait_port(self.port, self.proc, 30, folder / "sim.log")

    def meter(self) -> dict[str, Any]:
        """What it has seen and billed."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/sim/meter", timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def billed(self) -> int:
        """Nano-dollars."""
        meter = self.meter()
        return int(meter["input_tokens"]) * INPUT + int(meter["output_tokens"]) * OUTPUT


class Gate:
    """One server with a data directory of its own."""

    def __init__(
        self,
        folder: pathlib.Path,
        name: str,
        upstream: int,
        workers: int,
        url: str = "",
        leases: str = "database",
        limits: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.data, self.port, self.workers = folder / f"data-{name}", free_port(), workers
        self.env = {**os.environ, **({"HEADGATE_DATABASE_URL": url} if url else {})}
        self.url = url
        config = folder / f"{name}.yaml"
        prices = {"*": {"input": INPUT / 1000, "output": OUTPUT / 1000}}
        up = {"dialect": "openai_chat", "url": f"http://127.0.0.1:{upstream}/v1", "prices": prices}
        up |= {"retry": {"attempts": 0}, "breaker": {"enabled": False}}
        words = {f"w{n}": {"route": [f"up/words-{n}"]} for n in range(10, 210, 10)}
        settings = {"providers": {"up": up}, "models": words, "leases": {"store": leases}}
        settings |= {"limits": list(limits)} if limits else {}
        config.write_text(json.dumps(settings))
        self.log = folder / f"{name}.log"
        self.command = [contestants.headgate_binary(), "serve", "--config", config, "--port", self.port]
        self.command += ["--data", self.data, "--workers", workers]

    def run(self, *words: object) -> str:
        """Runs a verb on its data directory."""
        cmd = [str(word) for word in (contestants.headgate_binary(), *words, "--data", self.data)]
        done = subprocess.run(cmd, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(cmd)}: {done.stderr[-300:]}")
        return done.stdout.strip()

    def start(self) -> None:
        """Starts it; returns once it answers."""
        env = {"HEADGATE_DATABASE_URL": self.url} if self.url else {}
        self.proc = spawn(self.command, core=GATE_CORE, log=self.log, env=env)
        end = time.monotonic() + 60
        while "ready" not in tail(self.log, 10_000):
            if self.proc.poll() is not None or time.monotonic() > end:
                raise BenchError(f"the server is not ready: {tail(self.log)}")
            time.sleep(0.05)

    def recorders(self) -> list[int]:
        """The recorder's process, as long as there is one."""
        return with_words("headgate.stores.recorder_process", str(self.data))

    def crew(self) -> list[int]:
        """The worker processes."""
        mine = self.recorders()
        return [pid for pid in tree(self.proc.pid)[1:] if pid not in mine and "serve" in command_line(pid)]

    def serving(self) -> list[int]:
        """The processes that serve: one alone, or workers and who looks after them."""
        mine = self.recorders()
        return [pid for pid in tree(self.proc.pid) if pid not in mine]

    def stop(self) -> None:
        """Ends the server, and waits until its last recorder has gone by itself."""
        stop(self.proc, 40)
        wait_gone(self.recorders, 90)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Asks its store."""
        if self.url:
            import psycopg

            with contextlib.closing(psycopg.connect(self.url.replace("+psycopg", ""))) as connection:
                return connection.execute(sql).fetchall()  # type: ignore[call-overload, no-any-return]
        with contextlib.closing(sqlite3.connect(self.data / "headgate.db")) as file:
            return file.execute(sql).fetchall()


class Load:
    """Calls under way, and what became of them.

    Attributes:
        ends: how they ended: status, or ``cancelled`` or ``broken``.
        whole: cost in nano-dollars, by id, of answers received to their end with their usage.
        model: what models are called, by how many words they answer with.
        patience: seconds after which a call is given up.
        user: who calls; "" for nobody by name.
    """

    def __init__(self, ports: Sequence[int], key: str, chance: random.Random, cancel: float) -> None:
        self.ports, self.key, self.chance, self.cancel = ports, key, chance, cancel
        self.ends: Counter[str] = Counter()
        self.whole: dict[str, int] = {}
        self.model, self.patience = "w{}", 30.0
        self.user: Callable[[], str] = lambda: ""

    async def call(self) -> str:
        """Makes one streamed call; returns how it ended."""
        size = self.chance.randrange(10, 210, 10)
        cancelled = self.chance.random() < self.cancel
        stops = self.chance.uniform(0.0, 0.6) if cancelled else self.patience
        try:
            end = await asyncio.wait_for(self._call(size), stops)
        except TimeoutError:
            end = "cancelled" if cancelled else "hung"
        except (OSError, EOFError, ValueError, IndexError):
            end = "broken"
        self.ends[end] += 1
        return end

    async def _call(self, size: int) -> str:
        text = " ".join(["word"] * self.chance.randrange(1, 60))
        ask = {"model": self.model.format(size), "max_tokens": size, "messages": [{"role": "user", "content": text}]}
        if name := self.user():
            ask["user"] = name
        body = json.dumps(ask | {"stream": True, "stream_options": {"include_usage": True}}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n"
        head += f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.chance.choice(self.ports))
        try:
            writer.write(head.encode() + body)
            data = await reader.read(-1)
        finally:
            writer.close()
        top, _, rest = data.partition(b"\r\n\r\n")
        status = top.split()[1].decode()
        if status == "200" and b"data: [DONE]" in rest:
            ids = [line.split(b": ")[1] for line in top.lower().split(b"\r\n") if line.startswith(b"x-headgate-id")]
            told = [line for line in rest.split(b"\n") if b'"prompt_tokens"' in line]
            for id in ids:  # a peer has none
                usage = json.loads(told[-1].removeprefix(b"data: "))["usage"]
                self.whole[id.decode()] = usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT
            return "200"
        return status if status != "200" else "failed in mid-stream"

    async def run(self, many: int, going: Callable[[], bool]) -> None:
        """Keeps so many calls under way for as long as told."""

        async def one() -> None:
            while going():
                end = await self.call()
                if end in REFUSED or end in ("broken", "503"):
                    await asyncio.sleep(self.chance.uniform(0.05, 0.5))

        await asyncio.gather(*(one() for _ in range(many)))


@contextlib.contextmanager
def stand(args: argparse.Namespace, kind: str, *, failing: bool = True) -> Iterator[tuple[Sim, list[Gate], Any]]:
    """A simulator and servers before it, not started yet: ``memory``, ``sqlite`` or ``postgres`` (two servers)."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-spend-")))
        server = stack.enter_context(Postgres(fsync="on")) if kind == "postgres" else None
        sim = Sim(folder, failing=failing)
        stack.callback(stop, sim.proc)
        if server is None:
            leases = "memory" if kind == "memory" else "database"
            gates = [Gate(folder, "one", sim.port, 1 if kind == "memory" else args.workers, leases=leases)]
        else:
            url = server.new_database()
            gates = [Gate(folder, name, sim.port, 1, url) for name in ("one", "two")]
        for gate in gates:
            stack.callback(lambda gate=gate: stop(gate.proc) if hasattr(gate, "proc") else None)
        yield sim, gates, server
