#!/usr/bin/env python3
"""Proves that budgets hold: what an upstream bills is never above them, whatever is cancelled, fails, or is killed.

Streamed calls of many sizes, a third of them cancelled by their client and a third failing upstream, against $1.00: on
one worker's memory, on four workers with SQLite, and on two servers with one Postgres. What was spent is what the
simulator's own meter has billed. Beside it LiteLLM's proxy with its own budget on a key, kept in its worker's memory
(its database client needs an engine from a host of its own). Then workers and recorders are killed under load, Postgres
is stopped under load, and a worker's round trips to it are counted under many limits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import peer_budget, report
from harness.procs import BenchError
from harness.spending import Gate, Load, Sim, stand, stop
from harness.trips import TripCounter
from tests.postgres import Postgres

from headgate.stores.rows import COLUMNS, to_record

TITLE = "Budgets that hold: never over, nothing leaks, outages"
BUDGET = 1_000_000_000
TRIPS = 5.0
"""Round trips to the store that a worker may make each second, first uses and the ends of limits excepted."""


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
        over = max(0, billed - BUDGET) / 1e9
        row |= {"billed $": billed / 1e9, "settled $": ledger / 1e9, "overshoot $": over}
        return row | {"billed": billed, "settled": ledger}


def peer(args: argparse.Namespace) -> dict[str, Any]:
    """The same against LiteLLM's proxy, for as long as it takes."""
    with tempfile.TemporaryDirectory(prefix="headgate-spend-") as folder:
        row = peer_budget.spend(pathlib.Path(folder), args.calls, args.peer, args.seed)
    if "absent" in row:
        print(f"LiteLLM's proxy could not take part: {row['absent']}", file=sys.stderr)
        return row
    return row | {"overshoot $": max(0, row["billed"] - BUDGET) / 1e9}


def trips(args: argparse.Namespace, users: int) -> dict[str, Any]:
    """Counts one worker's round trips to Postgres while many users, each with a budget and a rate, make calls."""
    limits = [
        {"scope": "user", "amount": 1000, "per": "month"},
        {"scope": "user", "amount": 6000, "unit": "requests", "per": "minute"},
    ]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-spend-")))
        server = stack.enter_context(Postgres(fsync="on"))
        sim = Sim(folder, failing=False)
        stack.callback(stop, sim.proc)
        counter = TripCounter(server.port)
        stack.callback(counter.close)
        gate = Gate(folder, "trips", sim.port, 1, counter.url(server.new_database()), limits=limits)
        key = gate.run("keys", "create", "--name", "rich", "--budget", "100000", "--per", "month", "--quiet")
        gate.start()
        stack.callback(gate.stop)
        load, turn = Load([gate.port], key, random.Random(args.seed), cancel=0.0), iter(range(10**9))
        load.user = lambda: f"user {next(turn) % users}"

        async def count() -> tuple[int, float, int]:
            # First uses are excepted: everybody has called before anything is counted.
            await load.run(args.callers, lambda: load.ends["200"] < 2 * users + 50)
            crew, began, calls = gate.serving(), time.monotonic(), load.ends["200"]
            before = counter.trips(crew)
            await load.run(args.callers, lambda: time.monotonic() < began + args.count)
            return counter.trips(crew) - before, time.monotonic() - began, load.ends["200"] - calls

        made, seconds, calls = asyncio.run(count())
        if not made:
            raise BenchError("no round trip was seen: the worker is not connected through the relay")
        row = {"part": f"round trips, {2 * users} limits", "calls at once": args.callers, "ended": dict(load.ends)}
        return row | {"calls a second": calls / seconds, "round trips a second": made / seconds}


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
    rows = gate.rows(f"SELECT {', '.join(COLUMNS)} FROM calls WHERE cost > 0")
    attempts = [attempt for row in rows for attempt in to_record(dict(zip(COLUMNS, row, strict=True))).attempts]
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
        if "absent" in row or "LiteLLM" in part:
            continue
        if part.startswith("round trips"):
            rate = row["round trips a second"]
            found.append(report.bar(f"{part}: of one worker, a second", f"≤ {TRIPS:g}", f"{rate:.2f}", rate <= TRIPS))
            continue
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
    "litellm": peer,
    "rates": rates,
    "kills": kills,
    "outage": outage,
    "trips-few": lambda args: trips(args, 5),
    "trips-many": lambda args: trips(args, 250),
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
    args.peer, args.count, args.callers = (300.0, 15.0, 20) if args.quick else (1200.0, 75.0, 20)
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
