#!/usr/bin/env python3
"""Proof: after half an hour of chaos and then quiet, nothing is left of it: no connection, no task, no memory.

Three upstreams play the shipped scenario `chaos` (one call in three fails: before, during or after its content; hangs,
resets, torn bodies, 429s, closed ports), one of them in Anthropic's dialect. Through one worker go streamed and unary
calls in both dialects, at random times and in bursts, with retries, fallbacks, hedges, breakers, a group balanced by
latency and a narrow deployment with a queue of two classes; one client in seven leaves before its answer's end. Then
all is quiet for a minute. Left out of the scenario are faults of a stream that nobody can see from outside.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pathlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import report, rig, traffic
from harness.procs import memory_mb, pin_self
from harness.traffic import Ask, Traffic, words

TITLE = "Chaos, then quiet: what is left of it"
BOUND_S = 60.0
_CONFIG = """
providers:
  one: {{dialect: openai_chat, url: "http://127.0.0.1:{one}/v1", keys: ["env:UP_KEY", "env:UP_KEY_2"]}}
  two: {{dialect: openai_chat, url: "http://127.0.0.1:{two}/v1", key: "env:UP_KEY"}}
  three: {{dialect: anthropic, url: "http://127.0.0.1:{three}/v1", key: "env:UP_KEY"}}
defaults:
  timeouts: {{connect: 1s, headers: 2s, first_content: 2s, idle: 2s, total: 10s}}
models:
  balanced:
    route: [{{of: [one/echo, two/echo], balance: latency, sticky: true}}, three/echo]
    on: {{context_length: [three/echo]}}
    hedge: {{quantile: 0.9, budget: 0.1, min_delay: 20ms}}
  retried:
    route: [two/again, one/again]
    retry: {{attempts: 3, base: 50ms, cap: 500ms, budget: 0.5, eager: true}}
  narrow:
    route: [three/narrow]
    limit: {{concurrency: 3, queue: 12, wait: 300ms, batch_wait: 2s}}
    retry: {{attempts: 1, base: 50ms}}
"""
UPSTREAMS = ("one", "two", "three")
MODELS = ("balanced", "balanced", "balanced", "retried", "narrow")


def calls(rate: float, seconds: float) -> Iterator[tuple[float, Ask]]:
    """Yields calls at random times; each tenth second has three times the rate."""
    chance = random.Random(3)
    at, number = 0.0, 0
    while True:
        at += chance.expovariate(rate * (3.0 if int(at) % 10 == 9 else 0.8))
        if at >= seconds:
            return
        number += 1
        yield (
            at,
            Ask(
                f"{number} {words(chance.randrange(1, 60), chance)}",
                model=chance.choice(MODELS),
                stream=chance.random() < 0.6,
                wire="anthropic" if chance.random() < 0.3 else "openai",
                leave_s=chance.uniform(0.001, 0.4) if chance.random() < 1 / 7 else 0.0,
                headers={"x-headgate-class": "batch"} if chance.random() < 0.2 else {},
            ),
        )


class Watch:
    """Looks at the gateway from outside (``/proc``, the upstreams' meters) and at its insides.

    Attributes:
        samples: all that was seen, in order.
    """

    def __init__(self, gate: rig.Gate, sims: list[rig.Sim]) -> None:
        self.gate, self.sims = gate, sims
        self.samples: list[report.Row] = []
        self.began = time.monotonic()

    def sample(self, when: str) -> report.Row:
        """Takes one sample."""
        pid = self.gate.worker
        client, upstream = sockets(pid, self.gate.port, {sim.port for sim in self.sims})
        # Before our own questions open more of them at the simulators.
        inside = self.gate.watch()
        row = {
            "when": when,
            "second": round(time.monotonic() - self.began),
            "memory_mb": memory_mb(pid),
            "connections_from_clients": client,
            "connections_to_upstreams": upstream,
            "open_files": len(os.listdir(f"/proc/{pid}/fd")),
            "tasks": inside["tasks"],
            "calls_at_upstreams": sum(sim.meter()["live_calls"] for sim in self.sims),
            "in_flight": sum(one["in_flight"] for one in inside["deployments"].values()),
            "waiting": sum(one["waiting"] for one in inside["deployments"].values()),
        }
        self.samples.append(row | {"inside": inside})
        return row

    async def watch(self, every: float) -> None:
        """Takes samples until cancelled."""
        while True:
            await asyncio.sleep(every)
            row = await asyncio.to_thread(self.sample, "chaos")
            print("  " + " ".join(f"{key}={value:.0f}" for key, value in row.items() if key != "when"), flush=True)


def sockets(pid: int, port: int, upstreams: set[int]) -> tuple[int, int]:
    """Returns how many TCP connections a process has: those to its own port, and those to the upstreams' ports."""
    own = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.startswith("socket:["):
            own.add(target[8:-1])
    client = upstream = 0
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] not in own or fields[3] == "0A":
            continue
        client += int(fields[1].rpartition(":")[2], 16) == port
        upstream += int(fields[2].rpartition(":")[2], 16) in upstreams
    return client, upstream


def told_to_be_calm(sims: list[rig.Sim]) -> None:
    """Heals all upstreams."""
    for sim in sims:
        sim.load({"speed": 400})


async def soak(gate: rig.Gate, sims: list[rig.Sim], args: argparse.Namespace) -> tuple[Watch, list[traffic.Result]]:
    """Warms up, looks, makes chaos for so long, is quiet, looks again."""
    watch = Watch(gate, sims)
    load = Traffic(gate.port, gate.headers, bound_s=BOUND_S)
    warm = [
        Ask(f"warm up {n}", model=MODELS[n % 5], stream=n % 2 == 0, wire="anthropic" if n % 3 else "openai")
        for n in range(300)
    ]
    await load.repeat(warm, 8)
    load.close()
    load.results.clear()
    # Until what the warm-up left in the pool has been closed: after quiet it is compared with the same state.
    await asyncio.sleep(args.quiet)
    watch.sample("idle, before")
    for number, sim in enumerate(sims):
        sim.load(rig.scenario("chaos", without=rig.UNSEEN, seed=5 + number))
    watcher = asyncio.create_task(watch.watch(args.every))
    results = await load.play(calls(args.rate, args.minutes * 60))
    watcher.cancel()
    await asyncio.wait({watcher})
    watch.sample("end of chaos")
    load.close()
    told_to_be_calm(sims)
    await asyncio.sleep(args.quiet)
    watch.sample("after quiet")
    return watch, results


def stories(gate: rig.Gate) -> dict[str, Any]:
    """Returns what the Records say happened, in numbers: proof that every layer had work."""
    found: Counter[str] = Counter()
    for story in gate.stories():
        found[f"calls {story['outcome']}"] += 1
        attempts = [attempt for attempt in story["attempts"] if attempt["outcome"] != "skipped"]
        found["attempts"] += len(attempts)
        found["attempts cancelled while the call completed"] += story["outcome"] == "completed" and any(
            attempt["outcome"] == "cancelled" for attempt in attempts
        )
        found["calls with several attempts"] += len(attempts) > 1
        for attempt in story["attempts"]:
            if attempt["outcome"] in ("skipped", "failed"):
                found[f"{attempt['outcome']}: {attempt['error']}"] += 1
    return dict(found.most_common())


def judge(watch: Watch, results: list[traffic.Result], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the bars."""
    before, after = watch.samples[0], watch.samples[-1]
    bars = []
    for key, what in (
        ("connections_from_clients", "connections from clients"),
        ("connections_to_upstreams", "connections to upstreams"),
        ("open_files", "open files"),
        ("tasks", "asyncio tasks"),
        ("in_flight", "places taken at deployments"),
        ("waiting", "calls in queues"),
        ("calls_at_upstreams", "calls under way at the upstreams"),
    ):
        bars.append(
            report.bar(f"{what}, after quiet", f"≤ {before[key]} (idle)", str(after[key]), after[key] <= before[key])
        )
    grown = after["memory_mb"] - before["memory_mb"]
    bars.append(
        report.bar(
            "memory after quiet, above idle",
            f"≤ {args.memory:g} MB",
            f"{grown:.1f} MB ({before['memory_mb']:.1f} to {after['memory_mb']:.1f})",
            grown <= args.memory,
        )
    )
    kinds = traffic.count_kinds(results)
    for kind, what in (
        ("wrong", "cut answers closed as if complete"),
        ("untyped", "ends without a typed error"),
        ("hung", "calls that never ended"),
    ):
        bars.append(report.bar(what, "0", f"{kinds.get(kind, 0)} of {len(results)}", not kinds.get(kind)))
    return bars


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of chaos")
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second, about")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds of quiet, before and after")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between samples")
    parser.add_argument("--memory", type=float, default=15.0, help="MB above idle that may remain")
    parser.add_argument("--quick", action="store_true", help="one minute of chaos")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "soak.json")
    args = parser.parse_args()
    if args.quick:
        args.minutes = 1.0
    pin_self()
    os.environ["UP_KEY_2"] = "sk-upstream-2"
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = pathlib.Path(name)
        sims = [rig.Sim(folder, upstream, {"speed": 400}) for upstream in UPSTREAMS]
        config = _CONFIG.format(**{sim.name: sim.port for sim in sims})
        gate = rig.Gate(folder, "soak", config, watched=True)
        try:
            gate.begin()
            watch, results = traffic.run(soak(gate, sims, args))
            told = stories(gate)
        finally:
            gate.stop()
            for sim in sims:
                sim.stop()
    return conclude(watch, results, told, args)


def conclude(watch: Watch, results: list[traffic.Result], told: dict[str, Any], args: argparse.Namespace) -> int:
    """Saves the figures; returns the exit status."""
    shown = [{key: value for key, value in sample.items() if key != "inside"} for sample in watch.samples]
    peak = {
        key: max(sample[key] for sample in shown) if isinstance(shown[0][key], int | float) else "peak"
        for key in shown[0]
    }
    third = max(1, len(shown) // 3)
    rows = [shown[0], *shown[1:-2:third], peak, *shown[-2:]]
    bars = judge(watch, results, args)
    details = [
        {
            "seconds_of_chaos": args.minutes * 60,
            "answers": traffic.count_kinds(results),
            "why": traffic.reasons(results),
            "records": told,
            "tasks_before": watch.samples[0]["inside"]["tasks_by_coroutine"],
            "tasks_after": watch.samples[-1]["inside"]["tasks_by_coroutine"],
            "objects_more_than_before": more(watch.samples[0]["inside"], watch.samples[-1]["inside"]),
            "deployments_after": watch.samples[-1]["inside"]["deployments"],
            "memory_mb_over_time": [[sample["second"], sample["memory_mb"]] for sample in shown],
        }
    ]
    for detail in details:
        print("\n".join(f"{key}: {value}" for key, value in detail.items()))
    for row in rows:
        print(" ".join(f"{k}={round(v, 1) if isinstance(v, float) else v}" for k, v in row.items()))
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    about += (
        f" {args.minutes:g} minutes, {len(results):,} calls. Idle is after a warm-up of 300 calls and as long a quiet. "
        "Memory is the worker's resident set."
    )
    report.save("soak", TITLE, rows, bars, args.output, about=about, details=details)
    return int(not all(bar["holds"] for bar in bars))


def more(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """Returns the objects of this project of which there are more than before."""
    return {
        kind: count - before["objects"].get(kind, 0)
        for kind, count in after["objects"].items()
        if count > before["objects"].get(kind, 0)
    }


if __name__ == "__main__":
    sys.exit(main())
