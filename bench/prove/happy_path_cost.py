#!/usr/bin/env python3
"""Proof: what all that meets failing upstreams costs while none fails.

CPU per unary request of the worker: with every layer on (two retries, a breaker, an adaptive limit, a group balanced by
latency, hedging, routes by kind of failure, a static answer), with each of them configured off, and of nginx as plain
proxy; the same upstream and load (wrk, 64 connections), in turns, so that a drifting machine drifts under all three.
The upstream answers at once, so nothing is ever retried or hedged.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, measure, report, rig, traffic
from harness.procs import BenchError, need, pin_self
from harness.traffic import Ask, Traffic
from harness.upstreams import Upstreams

TITLE = "What retries, fallbacks, breakers, limits and hedges cost while nothing fails"
_HEAD = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{unary}/v1", key: "env:UP_KEY"}}
  too: {{dialect: openai_chat, url: "http://127.0.0.1:{unary}/v1", key: "env:UP_KEY"}}
  sse: {{dialect: openai_chat, url: "http://127.0.0.1:{sse}/v1", key: "env:UP_KEY"}}
data: {{journal: {{fsync: interval}}}}
"""
OFF = """
defaults:
  retry: {attempts: 0}
  breaker: {enabled: false}
  limit: {adaptive: false, concurrency: 0}
models:
  gpt-4o-mini: {route: [up/gpt-4o-mini, sse/gpt-4o-mini]}
  gpt-4o-mini-stream: {route: [sse/gpt-4o-mini]}
"""
ON = """
defaults:
  retry: {attempts: 2}
  breaker: {enabled: true, slow: 5s}
  limit: {adaptive: true, concurrency: 1000}
models:
  gpt-4o-mini:
    route: [{of: [up/gpt-4o-mini, too/gpt-4o-mini], balance: latency}, sse/gpt-4o-mini]
    on: {context_length: [up/gpt-4o], content_filter: [sse/gpt-4o]}
    hedge: {quantile: 0.95, budget: 0.05}
    answer: "We are overloaded; please try again in a minute."
  gpt-4o-mini-stream:
    route: [{of: [sse/gpt-4o-mini, sse/gpt-4o], balance: latency}, up/gpt-4o-mini]
    hedge: {quantile: 0.95, budget: 0.05}
"""
DEFAULTS = """
models:
  gpt-4o-mini-stream: {route: [sse/gpt-4o-mini]}
  gpt-4o-mini: {route: [up/gpt-4o-mini, sse/gpt-4o-mini]}
"""


def _more(text: str) -> str:
    return DEFAULTS.rstrip().removesuffix("}") + text + "\n"


APART = {
    "limit": "defaults: {limit: {concurrency: 1000}}\n" + DEFAULTS,
    "hedge": _more(", hedge: {quantile: 0.95, budget: 0.05}}"),
    "answer": _more(", answer: Please wait.}"),
    "group": DEFAULTS.replace("up/gpt-4o-mini,", "{of: [up/gpt-4o-mini, too/gpt-4o-mini], balance: latency},"),
}
"""One thing more than as it comes, each by itself; see ``--apart``."""


class Gate(rig.Gate):
    """The gateway over the benchmark's own upstreams."""

    def __init__(self, ups: Upstreams, folder: pathlib.Path, name: str, title: str, layers: str) -> None:
        super().__init__(folder, name, _HEAD.format(unary=ups.unary, sse=ups.sse) + layers, watched=True)
        self.title = title


async def cycles(gate: Gate, *, stream: bool, calls: int = 500) -> float:
    """Returns how many objects of a call only the cycle collector can free; each one costs, and keeps others alive."""
    load = Traffic(gate.port, gate.headers)
    model = "gpt-4o-mini-stream" if stream else "gpt-4o-mini"
    asks = [Ask("What is the capital of France?", model=model, stream=stream, max_tokens=10)] * calls
    await load.repeat(asks[:50], 8)
    gate.watch()
    await load.repeat(asks, 8)
    found = gate.watch()["unreachable"] / calls
    load.close()
    return float(found)


def turns(field: list[contestants.Contestant], rounds: int, seconds: float) -> list[list[float]]:
    """Returns what a request cost each contestant, in µs, round by round; every second round in the opposite order."""
    found = []
    for number in range(rounds):
        order = list(enumerate(field))
        costs = [0.0] * len(field)
        for index, contestant in order if number % 2 == 0 else reversed(order):
            costs[index] = measure.cost(contestant, measure.CONNECTIONS, seconds).us
        print("  " + "  ".join(f"{c.title}: {us:.1f} µs" for c, us in zip(field, costs, strict=True)), flush=True)
        found.append(costs)
    return found


def main() -> int:
    """Measures and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each sample")
    parser.add_argument("--apart", action="store_true", help="measure some of the layers by themselves, too")
    parser.add_argument("--quick", action="store_true", help="three rounds of 2 s")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "happy_path_cost.json")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 2.0
    if missing := need("nginx", "wrk", "taskset"):
        raise SystemExit(f"happy_path_cost: {missing}")
    pin_self()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = pathlib.Path(name)
        ups = Upstreams(folder)
        floor = contestants.Nginx(ups, folder)
        gates = [
            Gate(ups, folder, "off", "Headgate, configured off", OFF),
            Gate(ups, folder, "default", "Headgate, as it comes, two steps", DEFAULTS),
            *(Gate(ups, folder, k, f"Headgate, with {k}", v) for k, v in APART.items() if args.apart),
            Gate(ups, folder, "on", "Headgate, everything on", ON),
        ]
        try:
            ups.start()
            floor.start()
            for gate in gates:
                gate.begin()
                contestants.load.probe_unary(*gate.target(stream=False))
                gate.sample(measure.CONNECTIONS, 1.0)
            rounds = turns([floor, *gates], args.rounds, args.seconds)
            left = {
                f"{gate.title}, {'streamed' if stream else 'unary'}": traffic.run(cycles(gate, stream=stream))
                for gate in gates
                for stream in (False, True)
            }
        except BenchError as error:
            print(f"happy_path_cost FAILED: {error}", file=sys.stderr)
            return 1
        finally:
            for contestant in (*gates, floor):
                contestant.stop()
            ups.stop()
    return conclude([floor, *gates], rounds, left, args)


def conclude(
    field: list[contestants.Contestant], rounds: list[list[float]], left: dict[str, float], args: argparse.Namespace
) -> int:
    """Saves the figures; returns the exit status."""
    rows = []
    for index, contestant in enumerate(field):
        costs = [costs[index] for costs in rounds]
        rows.append(
            {
                "gateway": contestant.title,
                "cpu_µs_per_request": statistics.median(costs),
                "lowest": min(costs),
                "highest": max(costs),
                "more_than_off_µs": statistics.median(costs[index] - costs[1] for costs in rounds) if index else None,
                "times_nginx": statistics.median(costs[index] / costs[0] for costs in rounds),
            }
        )
    extra = statistics.median(costs[-1] - costs[1] for costs in rounds)
    bars = [
        report.bar("CPU per request that all layers together add", "≤ 10 µs", f"{extra:.1f} µs", extra <= 10),
    ]
    for row in rows:
        print(" ".join(f"{k}={round(v, 2) if isinstance(v, float) else v}" for k, v in row.items()))
    print("objects a call that only the cycle collector frees:", left)
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    about += f" Medians of {args.rounds} rounds of {args.seconds:g} s; differences and ratios are taken within a round."
    report.save(
        "happy_path_cost",
        TITLE,
        rows,
        bars,
        args.output,
        about=about,
        details=[{"objects_a_call_for_the_cycle_collector": left}],
    )
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
