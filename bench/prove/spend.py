#!/usr/bin/env python3
"""Proves that budgets hold: what an upstream bills is never above them, whatever is cancelled, fails, or is killed.

Streamed calls of many sizes, a third of them cancelled by their client and a third failing upstream, against $1.00: on
one worker's memory, on four workers with SQLite, and on two servers with one Postgres. What was spent is what the
simulator's own meter has billed. Then workers and recorders are killed under load, and Postgres is stopped under load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, report
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
    wait_port,
    with_words,
)
from tests.postgres import Postgres

from headgate.stores.rows import billed_attempts

TITLE = "Budgets that hold: never over, nothing leaks, outages"
INPUT, OUTPUT = 2_000, 10_000
"""Nano-dollars a token."""
BUDGET = 1_000_000_000
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
        self, folder: pathlib.Path, name: str, upstream: int, workers: int, url: str = "", leases: str = "database"
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
        return with_words("headgate.stores.recorder", str(self.data))

    def crew(self) -> list[int]:
        """The worker processes."""
        mine = self.recorders()
        return [pid for pid in tree(self.proc.pid)[1:] if pid not in mine and "serve" in command_line(pid)]

    def stop(self) -> None:
        """Ends the server, and waits until its last recorder has gone by itself."""
        stop(self.proc, 40)
        end = time.monotonic() + 90
        while self.recorders() and time.monotonic() < end:
            time.sleep(0.1)
        if self.recorders():
            raise BenchError("the recorder did not go")

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
    """

    def __init__(self, ports: Sequence[int], key: str, chance: random.Random, cancel: float) -> None:
        self.ports, self.key, self.chance, self.cancel = ports, key, chance, cancel
        self.ends: Counter[str] = Counter()
        self.whole: dict[str, int] = {}
        self.late: list[float] = []

    async def call(self) -> str:
        """Makes one streamed call; returns how it ended."""
        size = self.chance.randrange(10, 210, 10)
        stops = self.chance.uniform(0.0, 0.6) if self.chance.random() < self.cancel else 30.0
        try:
            end = await asyncio.wait_for(self._call(size), stops)
        except TimeoutError:
            end = "cancelled" if stops < 30 else "hung"
        except (OSError, EOFError, ValueError, IndexError):
            end = "broken"
        self.ends[end] += 1
        return end

    async def _call(self, size: int) -> str:
        text = " ".join(["word"] * self.chance.randrange(1, 60))
        ask = {"model": f"w{size}", "max_tokens": size, "messages": [{"role": "user", "content": text}]}
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
            usage = json.loads(told[-1].removeprefix(b"data: "))["usage"]
            cost = usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT
            self.whole[ids[0].decode()] = cost
            return "200"
        return status if status != "200" else "failed in mid-stream"

    async def run(self, many: int, going: Callable[[], bool]) -> None:
        """Keeps so many calls under way for as long as told."""

        async def one() -> None:
            while going():
                end = await self.call()
                if end in ("402", "429", "broken", "503"):
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


def never_over(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Loads servers until the budget is gone, then asks one call after the other until one is refused, alone."""
    with stand(args, kind) as (sim, gates, _):
        key = gates[0].run("keys", "create", "--name", "poor", "--budget", "1.00", "--per", "month", "--quiet")
        for gate in gates:
            gate.start()
        load = Load([gate.port for gate in gates], key, random.Random(args.seed), cancel=1 / 3)

        async def all_of_it() -> None:
            end = time.monotonic() + args.seconds
            await load.run(args.calls, lambda: time.monotonic() < end and load.ends["402"] < args.calls)
            load.cancel = 0.0
            await asyncio.sleep(3.0)
            for _ in range(400):
                if await load.call() == "402":
                    break

        asyncio.run(all_of_it())
        billed = sim.billed()
        for gate in gates:
            gate.stop()
        ledger = int(gates[0].rows("SELECT coalesce(sum(cost), 0) FROM calls")[0][0])
        row = {"part": f"$1.00, {kind}", "calls at once": args.calls, "ended": dict(load.ends)}
        return row | {"billed $": billed / 1e9, "settled $": ledger / 1e9, "billed": billed, "settled": ledger}


def rates(args: argparse.Namespace) -> dict[str, Any]:
    """Counts what arrives upstream within one minute, under limits on requests and tokens."""
    requests, tokens = 200, 30_000
    with stand(args, "sqlite", failing=False) as (sim, gates, _):
        gate = gates[0]
        words = ("--limit", f"{requests} requests/minute", "--limit", f"{tokens} tokens/minute")
        key = gate.run("keys", "create", "--name", "quick", *words, "--quiet")
        gate.start()
        load = Load([gate.port], key, random.Random(args.seed), cancel=0.2)
        if time.time() % 60 > 35:
            time.sleep(61 - time.time() % 60)
        end = time.monotonic() + 15
        asyncio.run(load.run(50, lambda: time.monotonic() < end))
        meter = sim.meter()
        used = int(meter["input_tokens"]) + int(meter["output_tokens"])
        row = {"part": "rates, sqlite", "calls at once": 50, "ended": dict(load.ends)}
        return row | {"requests": int(meter["calls"]), "tokens": used, "allowed": [requests, tokens]}


def kills(args: argparse.Namespace) -> dict[str, Any]:
    """Kills workers and recorders at random under load; then compares bills, records and windows."""
    with stand(args, "sqlite") as (sim, gates, _):
        gate, chance = gates[0], random.Random(args.seed)
        key = gate.run("keys", "create", "--name", "rich", "--budget", "100000", "--per", "month", "--quiet")
        gate.start()
        load = Load([gate.port], key, chance, cancel=1 / 3)

        async def kill() -> int:
            done, stopped = 0, [False]
            task = asyncio.ensure_future(load.run(args.load, lambda: not stopped[0]))
            end = time.monotonic() + 20 * args.kills
            while done < args.kills and time.monotonic() < end:
                await asyncio.sleep(chance.uniform(0.2, 1.0))
                found = gate.recorders() if done % 4 == 3 else gate.crew()
                if found:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(found), signal.SIGKILL)
                        done += 1
            await asyncio.sleep(1.0)
            stopped[0] = True
            await task
            await asyncio.sleep(3.0)
            return done

        killed = asyncio.run(kill())
        billed = sim.billed()
        gate.stop()
        settled, held, presumed = gate.rows("SELECT settled, held, presumed FROM lease_windows")[0]
        costs = dict(gate.rows("SELECT id, cost FROM calls"))
        wrong = sum(costs.get(id) != cost for id, cost in load.whole.items())
        ledger = sum(cost or 0 for cost in costs.values())
        margin = estimated_costs(gate)
        row = {"part": "kills, sqlite", "calls at once": args.load, "ended": dict(load.ends), "killed": killed}
        row |= {"billed": billed, "settled": int(settled), "reserved afterwards": int(held), "presumed": int(presumed)}
        return row | {"ledger": ledger, "estimated in it": margin, "whole answers": len(load.whole), "not exact": wrong}


def estimated_costs(gate: Gate) -> int:
    """Nano-dollars of attempts whose usage nobody reported."""
    details = [row[0] for row in gate.rows("SELECT detail FROM calls WHERE cost > 0")]
    attempts = [attempt for detail in details for attempt in billed_attempts(bytes(detail))]
    return sum(attempt.cost or 0 for attempt in attempts if attempt.usage is not None and attempt.usage.estimated)


def outage(args: argparse.Namespace) -> dict[str, Any]:
    """Stops Postgres under load; counts what failed for it, and whether anything is lost or doubled afterwards."""
    with stand(args, "postgres", failing=False) as (sim, gates, server):
        key = gates[0].run("keys", "create", "--name", "rich", "--budget", "100000", "--per", "month", "--quiet")
        for gate in gates:
            gate.start()
        load = Load([gate.port for gate in gates], key, random.Random(args.seed), cancel=0.0)

        async def stopped() -> tuple[Counter[str], float]:
            going = [True]
            task = asyncio.ensure_future(load.run(20, lambda: going[0]))
            await asyncio.sleep(args.warm)
            server.stop()
            before, began, first = Counter(load.ends), time.monotonic(), args.outage
            while time.monotonic() - began < args.outage:
                await asyncio.sleep(0.1)
                if load.ends["503"] > before["503"]:
                    first = min(first, time.monotonic() - began)
            during = load.ends - before
            server.start()
            await asyncio.sleep(5.0)
            going[0] = False
            await task
            return during, first

        during, first = asyncio.run(stopped())
        billed = sim.billed()
        for gate in gates:
            gate.stop()
        rows = gates[0].rows("SELECT id, cost FROM calls")
        settled = int(gates[0].rows("SELECT sum(settled) FROM lease_windows")[0][0])
        costs, count = dict(rows), Counter(row[0] for row in rows)
        lost = sum(count[id] != 1 or costs[id] != cost for id, cost in load.whole.items())
        row = {"part": f"Postgres stopped for {args.outage:g} s", "calls at once": 20, "ended": dict(load.ends)}
        row |= {"while it was away": dict(during), "seconds until a call failed for it": first}
        return row | {"billed": billed, "settled": settled, "whole answers": len(load.whole), "lost or doubled": lost}


def bars(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns what must hold."""
    found = []
    for row in rows:
        part = row["part"]
        if part.startswith("$1.00"):
            billed, settled = row["billed"], row["settled"]
            found.append(report.bar(f"{part}: billed", "≤ $1.00", f"${billed / 1e9:.9f}", billed <= BUDGET))
            text = "settled when a call is refused with nothing under way"
            found.append(report.bar(f"{part}: {text}", "≥ $0.97", f"${settled / 1e9:.9f}", settled >= 0.97 * BUDGET))
        elif part.startswith("rates"):
            for name, allowed in zip(("requests", "tokens"), row["allowed"], strict=True):
                found.append(report.bar(f"{part}: {name}", f"≤ {allowed}", str(row[name]), row[name] <= allowed))
        elif part.startswith("kills"):
            over, most = row["settled"] - row["billed"], row["presumed"] + row["estimated in it"]
            held, wrong = row["reserved afterwards"], row["not exact"]
            found.append(
                report.bar(f"{part}: times", f"≥ {args.kills}", str(row["killed"]), row["killed"] >= args.kills)
            )
            found.append(report.bar(f"{part}: reserved afterwards", "0", str(held), held == 0))
            found.append(report.bar(f"{part}: whole answers not exact", "0", str(wrong), wrong == 0))
            text = f"0 to {most} (presumed and estimated)"
            found.append(report.bar(f"{part}: counted above what was billed", text, str(over), 0 <= over <= most))
        else:
            lost, failed = row["lost or doubled"], row["while it was away"].get("503", 0)
            found.append(report.bar(f"{part}: calls failed for it", "0", str(failed), failed == 0))
            found.append(report.bar(f"{part}: lost or doubled", "0", str(lost), lost == 0))
    return found


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "memory": lambda args: never_over(args, "memory"),
    "sqlite": lambda args: never_over(args, "sqlite"),
    "postgres": lambda args: never_over(args, "postgres"),
    "rates": rates,
    "kills": kills,
    "outage": outage,
}


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer calls, kills and seconds")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="these parts alone")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "spend.json")
    args = parser.parse_args()
    args.calls, args.kills, args.outage = (150, 12, 10.0) if args.quick else (1000, 100, 60.0)
    args.seconds, args.warm, args.load = (60.0, 8.0, 40) if args.quick else (240.0, 20.0, 100)
    rows = []
    for name in args.only or PARTS:
        rows.append(PARTS[name](args))
        print("\n".join(f"{key}: {value}" for key, value in rows[-1].items()), "\n", flush=True)
    found = bars(rows, args)
    print(report.bar_lines(found))
    report.save("spend", TITLE, rows, found, args.output, about=(__doc__ or "").split("\n\n")[1])
    return int(not all(bar["holds"] for bar in found))


if __name__ == "__main__":
    sys.exit(main())
