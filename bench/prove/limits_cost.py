#!/usr/bin/env python3
"""Proof: what budgets and rates cost a request while they are not used up, on every store.

CPU per unary request of the worker (wrk, 64 connections, an upstream that answers at once): without any limit; with a
budget of dollars and a rate of requests per key, kept in memory, in SQLite and in Postgres; with five limits of several
scopes. In turns, so that a drifting machine drifts under all; differences are taken within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness import contestants, measure, report, rig
from harness.procs import BenchError, need, pin_self
from harness.upstreams import Upstreams
from tests import postgres

TITLE = "What budgets and rates cost a request"
BAR_US = 10
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


def turns(field: list[Gate], rounds: int, seconds: float) -> list[list[float]]:
    """Returns what a request cost each, in µs, round by round; every second round in the opposite order."""
    found = []
    for number in range(rounds):
        costs = [0.0] * len(field)
        order = list(enumerate(field))
        for index, gate in order if number % 2 == 0 else reversed(order):
            costs[index] = measure.cost(gate, measure.CONNECTIONS, seconds).us
        print("  " + "  ".join(f"{g.title}: {us:.1f} µs" for g, us in zip(field, costs, strict=True)), flush=True)
        found.append(costs)
    return found


def conclude(field: list[Gate], rounds: list[list[float]], args: argparse.Namespace) -> int:
    """Saves the figures; returns the exit status."""
    rows, bars = [], []
    for index, gate in enumerate(field):
        more = statistics.median(costs[index] - costs[0] for costs in rounds)
        rows.append(
            {
                "limits": gate.title,
                "cpu_µs_per_request": statistics.median(costs[index] for costs in rounds),
                "more_than_without_µs": more if index else None,
            }
        )
        if 0 < index < 4:
            bars.append(
                report.bar(f"CPU per request of {gate.title}", f"≤ {BAR_US} µs", f"{more:.1f} µs", more <= BAR_US)
            )
    for row in rows:
        print(row)
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    about += f" Medians of {args.rounds} rounds of {args.seconds:g} s."
    report.save("limits_cost", TITLE, rows, bars, args.output, about=about)
    return int(not all(bar["holds"] for bar in bars))


def main() -> int:
    """Measures and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each sample")
    parser.add_argument("--quick", action="store_true", help="three rounds of 2 s")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "limits_cost.json")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 2.0
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
            rounds = turns(field, args.rounds, args.seconds)
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
