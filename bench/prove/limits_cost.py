#!/usr/bin/env python3
"""Proof: what budgets and rates cost a request while they are not used up, on every store.

CPU per unary request of the worker (wrk, 64 connections, an upstream that answers at once): without any limit; with a
budget of dollars and a rate of requests per key, kept in memory, in SQLite and in Postgres; with five limits of several
scopes. In short turns, each between two of the gateway without limits, whose mean it is compared with: a machine that
drifts, or is busy, drifts under both. Medians of these differences, with a confidence interval by resampling.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness import contestants, measure, report, rig
from harness.procs import BenchError, need, pin_self
from harness.upstreams import Upstreams
from tests import postgres

TITLE = "What budgets and rates cost a request"
BAR_US = 10
WIDE_US = 2.0
"""Rounds go on until no confidence interval of what is held to the bar is wider than this."""
LEAST = 8
"""Rounds that there are in any case: of fewer an interval says little."""
_HEAD = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{unary}/v1", key: "env:UP_KEY"}}
models:
  gpt-4o-mini: {{route: [up/gpt-4o-mini], price: {{input: 0.15, output: 0.6}}}}
data: {{journal: {{fsync: interval}}}}
"""
_TWO = """
limits:
  - {scope: key, amount: 100_000_000, per: day}
  - {scope: key, amount: 1_000_000_000, unit: requests, per: minute}
"""
_FIVE = (
    _TWO
    + """
  - {scope: user, amount: 100_000_000, per: month}
  - {scope: everything, amount: 1_000_000_000, per: day}
  - {scope: key, amount: 1_000_000_000_000, unit: tokens, per: minute}
"""
)
WARM_SECONDS = 2.0
"""Load before each sample."""

_VARIABLE = "HEADGATE_DATABASE_URL"


class Gate(rig.Gate):
    """The gateway with some limits, on one of the stores."""

    def __init__(self, ups: Upstreams, folder: pathlib.Path, name: str, title: str, limits: str, url: str = "") -> None:
        super().__init__(folder, name, _HEAD.format(unary=ups.unary) + limits)
        self.title = title
        self._url = url

    @contextlib.contextmanager
    def _store(self) -> Iterator[None]:
        """What is started meanwhile finds the Postgres."""
        if self._url:
            os.environ[_VARIABLE] = self._url
        try:
            yield
        finally:
            os.environ.pop(_VARIABLE, None)

    def set_up(self) -> None:
        """See ``contestants.Headgate``."""
        with self._store():
            super().set_up()

    def launch(self) -> subprocess.Popen[bytes]:
        """See ``contestants.Headgate``."""
        with self._store():
            return super().launch()


def cpu_ns(pids: Sequence[int]) -> int:
    """Returns the CPU time of processes by the scheduler's own clock, all threads, to the nanosecond."""
    # Linux' clock of another process; see clock_getcpuclockid(3).
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def cost(gate: Gate, seconds: float) -> float:
    """Loads a gateway once; returns what a request cost it, in µs of CPU. What it had leased it has given back
    since its last turn: the load before the sample is when it asks for that anew."""
    gate.settle()
    gate.sample(measure.CONNECTIONS, WARM_SECONDS)
    pids = gate.pids()
    before = cpu_ns(pids)
    sample = gate.sample(measure.CONNECTIONS, seconds)
    spent = cpu_ns(pids) - before
    gate.settle()  # what it still has to do must not fall into the next one's sample
    if sample.errors or not sample.requests:
        raise BenchError(f"{sample.errors} errors in {sample.requests} answers")
    return spent / 1000 / sample.requests


def turn(field: Sequence[Gate], order: Sequence[int], seconds: float) -> tuple[list[float], list[float]]:
    """Goes round once. Returns what requests cost each, in µs, and how much more than those without limits."""
    costs, more = [0.0] * len(field), [0.0] * len(field)
    plain = [cost(field[0], seconds)]
    for index in order:
        costs[index] = cost(field[index], seconds)
        plain.append(cost(field[0], seconds))
        more[index] = costs[index] - (plain[-2] + plain[-1]) / 2
    costs[0] = statistics.median(plain)
    return costs, more


def interval(values: Sequence[float], chance: random.Random) -> tuple[float, float]:
    """Returns a 95 % confidence interval of the median, by resampling."""
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[-51]


def turns(field: Sequence[Gate], args: argparse.Namespace) -> list[tuple[list[float], list[float]]]:
    """Goes round, in another order each time, until intervals are narrow enough, or for as many rounds as allowed."""
    chance, rounds = random.Random(1), []
    order = list(range(1, len(field)))
    while len(rounds) < args.rounds:
        chance.shuffle(order)
        rounds.append(turn(field, order, args.seconds))
        costs, more = rounds[-1]
        shown = [f"{gate.title}: {more[n]:+.1f}" for n, gate in enumerate(field) if n]
        print(f"  {len(rounds)}. without limits {costs[0]:.1f} µs,  {'  '.join(shown)}", flush=True)
        if len(rounds) >= min(LEAST, args.rounds):
            ranges = [interval([more[n] for _, more in rounds], chance) for n in HELD]
            if all(high - low <= WIDE_US for low, high in ranges):
                break
    return rounds


HELD = (1, 2, 3)
"""Of the field: those that are held to the bar."""


def conclude(field: Sequence[Gate], rounds: list[tuple[list[float], list[float]]], args: argparse.Namespace) -> int:
    """Saves the figures; returns the exit status."""
    rows, bars, chance = [], [], random.Random(1)
    for index, gate in enumerate(field):
        differences = [more[index] for _, more in rounds]
        row = {
            "limits": gate.title,
            "cpu_µs_per_request": statistics.median(costs[index] for costs, _ in rounds),
            "more_than_without_µs": statistics.median(differences) if index else None,
        }
        rows.append(row)
        if not index:
            continue
        low, high = interval(differences, chance)
        row["interval_95_%"] = [low, high]
        if index in HELD:
            text = f"{statistics.median(differences):.1f} µs (95 %: {low:.1f} to {high:.1f})"
            # A wide interval proves nothing: all of it must lie below.
            bars.append(report.bar(f"CPU per request of {gate.title}", f"≤ {BAR_US} µs", text, high <= BAR_US))
    for row in rows:
        print(row)
    about = (__doc__ or "").split("\n\n")[1].strip()
    about += f" {len(rounds)} rounds, samples of {args.seconds:g} s."
    return report.finish("limits_cost", TITLE, rows, bars, args.output, about=about)


def main() -> int:
    """Measures and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="at most so many")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each sample, whole ones")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "limits_cost.json")
    args = parser.parse_args()
    if args.quick:
        args.rounds = 3
    if missing := need("wrk", "taskset") or postgres.why_not():
        raise SystemExit(f"limits_cost: {missing}")
    pin_self()
    with (
        tempfile.TemporaryDirectory(prefix="headgate-bench-") as name,
        postgres.session(),
        postgres.Postgres() as server,
    ):
        folder = pathlib.Path(name)
        ups = Upstreams(folder)
        field = [
            Gate(ups, folder, "none", "no limits", ""),
            Gate(ups, folder, "memory", "a budget and a rate, in memory", "leases: {store: memory}\n" + _TWO),
            Gate(ups, folder, "sqlite", "a budget and a rate, in SQLite", _TWO),
            Gate(ups, folder, "postgres", "a budget and a rate, in Postgres", _TWO, server.url()),
            Gate(ups, folder, "five", "five limits, in SQLite", _FIVE),
        ]
        try:
            ups.start()
            for gate in field:
                gate.begin()
                contestants.load.probe_unary(*gate.target(stream=False))
                gate.sample(measure.CONNECTIONS, 1.0)
            rounds = turns(field, args)
        except BenchError as error:
            print(f"limits_cost FAILED: {error}", file=sys.stderr)
            return 1
        finally:
            for gate in field:
                gate.stop()
            ups.stop()
    return conclude(field, rounds, args)


if __name__ == "__main__":
    sys.exit(main())
