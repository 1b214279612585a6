#!/usr/bin/env python3
"""Proof: callers hardly notice that the primary upstream fails, hangs, or is gone for a minute.

The arrivals of the Azure code trace (8,819 calls, bursts and gaps as they were), 20 times faster, half of them
streamed, at a gateway with a primary and a secondary upstream; open loop, times from the intended start. One run with
both healthy, one where the primary fails 30 % of calls by mixed faults before content (the shipped scenario `flaky`),
one where it hangs in 10 % of calls before the head or before content, one where its port refuses connections for a
minute. When the port closes, what is open there is reset: streams that had begun can not be made whole, and are counted
apart.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import report, rig, trace, traffic
from harness.procs import BenchError, pin_self
from harness.traffic import Result, Traffic, quantile

TITLE = "Availability while the primary upstream fails"
FIRST_CONTENT_S, UNARY_TOTAL_S = 1.0, 4.0
PACE = {"first_token": {"lognormal": {"p50": 0.15, "p99": 0.5}}, "speed": 1000}
"""Of both upstreams, healthy or not: a first token after 0.15 s (p50), then a token each millisecond."""
HANGS = {
    "seed": 4,
    "faults": [
        {"fault": "hang-before-headers", "when": {"probability": 0.05}},
        {"fault": "hang-before-content", "when": {"probability": 0.05}},
    ],
}
_CONFIG = """
providers:
  primary: {{dialect: openai_chat, url: "http://127.0.0.1:{primary}/v1", key: "env:UP_KEY"}}
  secondary: {{dialect: openai_chat, url: "http://127.0.0.1:{secondary}/v1", key: "env:UP_KEY"}}
models:
  echo: {{route: [primary/echo, secondary/echo]}}
defaults:
  timeouts: {{connect: 1s, headers: {first}s, first_content: {first}s, idle: 5s, total: {total}s}}
"""


@dataclasses.dataclass
class Outage:
    """When the primary's port was closed.

    Attributes:
        began, ended: in seconds since the schedule's start, as planned.
        start: of the schedule, in seconds since 1970.
        back: when the port was found open again, in seconds since the schedule's start.
        connections: that it took in the second after.
    """

    began: float
    ended: float
    start: float = 0.0
    back: float = 0.0
    connections: int = 0


class Rig:
    """Both upstreams, and a fresh gateway for each run."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.primary = rig.Sim(folder, "primary", rig.scenario("", **PACE))
        self.secondary = rig.Sim(folder, "secondary", rig.scenario("", **PACE, seed=2))

    def stop(self) -> None:
        """Ends the upstreams."""
        self.primary.stop()
        self.secondary.stop()

    def run(self, name: str, script: dict[str, Any], schedule: trace.Schedule, outage: Outage | None = None) -> Run:
        """Plays the schedule with the primary behaving as told; returns what was seen."""
        # A run without hangs has room for the trace's longest answers: nothing but the fault under test may act.
        hanging = name == "hangs"
        config = _CONFIG.format(
            primary=self.primary.port,
            secondary=self.secondary.port,
            first=FIRST_CONTENT_S if hanging else 10,
            total=UNARY_TOTAL_S if hanging else 60,
        )
        gate = rig.Gate(self.folder, name, config)
        try:
            gate.begin()
            self.primary.load(rig.scenario("", **PACE))
            self.secondary.load(rig.scenario("", **PACE, seed=2))
            results = traffic.run(self.play(gate, script, schedule, outage))
            return Run(name, results, gate.stories(), self.primary.meter(), self.secondary.meter())
        finally:
            gate.stop()

    async def play(
        self, gate: rig.Gate, script: dict[str, Any], schedule: trace.Schedule, outage: Outage | None
    ) -> list[Result]:
        """Warms the connections up, tells the primary how to behave, and makes the calls."""
        load = Traffic(gate.port, gate.headers)
        await load.repeat([trace.Ask("warm up")] * 50, 10)
        load.results.clear()
        self.primary.load(script)
        watcher = asyncio.create_task(self.watch(outage)) if outage else None
        try:
            return await load.play(schedule)
        finally:
            load.close()
            if watcher is not None:
                await asyncio.wait_for(watcher, 10)

    async def watch(self, outage: Outage) -> None:
        """Finds out when the primary's port is really back, and how many connections it takes in the second after."""
        outage.start = time.time()
        await asyncio.sleep(outage.began - 0.3)
        before = (await asyncio.to_thread(self.primary.meter))["connections"]
        await asyncio.sleep(outage.start + outage.ended - 0.3 - time.time())
        await _until_open(self.primary.port)
        outage.back = time.time() - outage.start
        await asyncio.sleep(1.0)
        # Less our own two: the one that found the port open, and the one that asks.
        outage.connections = (await asyncio.to_thread(self.primary.meter))["connections"] - before - 2


class Run:
    """One run and its figures."""

    def __init__(
        self,
        name: str,
        results: Sequence[Result],
        stories: list[dict[str, Any]],
        primary: dict[str, Any],
        secondary: dict[str, Any],
    ) -> None:
        self.name, self.results = name, results
        ids = {result.id for result in results}
        self.stories = [story for story in stories if story["id"] in ids]
        if len(self.stories) < sum(bool(result.id) for result in results):
            raise BenchError(f"{name}: {len(self.stories)} records for {len(results)} calls")
        self.at_primary = rig.attempts_at(self.stories, "primary/echo")
        self.at_secondary = rig.attempts_at(self.stories, "secondary/echo")
        self.faults = primary["faults"]
        calls = len(results)
        self.whole = sum(result.kind == "whole" for result in results)
        self.share = self.whole / calls
        self.primary_attempts = len(self.at_primary) / calls
        self.attempts = (len(self.at_primary) + len(self.at_secondary)) / calls
        self.seen = {"primary": primary["calls"], "secondary": secondary["calls"]}

    def first(self, part: float, *, stream: bool) -> float:
        """Returns a quantile of the time to the first content; of a unary call that is the whole answer."""
        return quantile([r.first_s for r in self.results if r.ask.stream is stream and r.first_s >= 0], part)

    def row(self) -> report.Row:
        """Returns the run's row of the table."""
        return {
            "run": self.name,
            "calls": len(self.results),
            "whole": self.whole,
            "whole_%": f"{self.share:.3%}".rstrip("%"),
            "attempts_at_primary": self.primary_attempts,
            "attempts_in_all": self.attempts,
            "streamed_first_content_p50_s": self.first(0.5, stream=True),
            "p99_s": self.first(0.99, stream=True),
            "unary_whole_p50_s": self.first(0.5, stream=False),
            "unary_p99_s": self.first(0.99, stream=False),
        }

    def details(self) -> report.Row:
        """Returns what the table has no room for."""
        return {
            "run": self.name,
            "kinds": traffic.count_kinds(self.results),
            "why": traffic.reasons(self.results),
            "primary_left_out": rig.skipped_at(self.stories, "primary/echo"),
            "faults_at_primary": self.faults,
            "calls_seen_by_the_upstreams": self.seen,
        }


async def _until_open(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return


def whole_bar(run: Run) -> dict[str, Any]:
    """Returns the bar on whole answers."""
    shown = f"{run.share:.3%} ({run.whole} of {len(run.results)})"
    return report.bar(f"{run.name}: whole answers", "≥ 99.95 %", shown, run.share >= 0.9995)


def most(what: str, value: float, limit: float, unit: str = "", digits: int = 2) -> dict[str, Any]:
    """Returns a bar that a value must not be over."""
    return report.bar(what, f"≤ {limit:.{digits}f}{unit}", f"{value:.{digits}f}{unit}", value <= limit)


def flaky_bars(run: Run, healthy: Run) -> list[dict[str, Any]]:
    """Returns the bars of a primary that fails before content."""
    found = [
        whole_bar(run),
        most("flaky: attempts at the failing deployment per call", run.primary_attempts, 1.2),
        most("flaky: attempts in all per call", run.attempts, 1.45),
    ]
    for stream, what in ((True, "first content of streams"), (False, "unary answers")):
        times = run.first(0.99, stream=stream) / healthy.first(0.99, stream=stream)
        found.append(most(f"flaky: p99 of {what} against the healthy run", times, 1.5, " x"))
    return found


def hang_bars(run: Run, healthy: Run) -> list[dict[str, Any]]:
    """Returns the bars of a primary that hangs: one timeout more than healthy, no matter what."""
    found = [whole_bar(run)]
    for stream, what, bound in (
        (True, "first content of streams, one first-content timeout above the healthy run", FIRST_CONTENT_S),
        (False, "unary answers, one total timeout above the healthy run", UNARY_TOTAL_S),
    ):
        limit = healthy.first(0.99, stream=stream) + bound
        found.append(most(f"hangs: p99 of {what}", run.first(0.99, stream=stream), limit, " s"))
    return found


def outage_bars(run: Run, outage: Outage) -> tuple[list[dict[str, Any]], report.Row]:
    """Returns the bars of a primary that is gone for a while, and the figures behind them."""

    def arrived(start: float, end: float) -> int:
        return sum(start <= result.at < end for result in run.results)

    def tried(start: float, end: float) -> int:
        return sum(start <= attempt["time"] - outage.start < end for attempt in run.at_primary)

    began, back = outage.began, outage.back
    good = [
        attempt["time"] + (attempt["first_content_us"] - attempt["started_us"]) / 1e6 - outage.start - back
        for attempt in run.at_primary
        if attempt["outcome"] == "completed"
    ]
    # The simulator looks at its schedule twenty times a second.
    cut = [r for r in run.results if r.kind != "whole" and r.first_s >= 0 and r.at + r.first_s <= began + 0.1]
    others = len(run.results) - len(cut)
    figures = {
        "seconds_refused": back - began,
        "streams_cut_after_their_first_content": len(cut),
        "calls_meanwhile": arrived(began, back),
        "attempts_at_primary_meanwhile": tried(began, back),
        "attempts_per_second": tried(began, back) / (back - began),
        "most_in_a_second": max(tried(began + s, began + s + 1) for s in range(int(back - began))),
        "calls_in_the_second_after": arrived(back, back + 1),
        "attempts_in_the_second_after": tried(back, back + 1),
        "connections_in_the_second_after": outage.connections,
        "first_success_s_after": min((s for s in good if s > 0), default=float("inf")),
    }
    calls = max(1, figures["calls_in_the_second_after"])
    shown = f"{run.whole / others:.3%} ({run.whole} of {others})"
    bars = [
        report.bar("outage: whole answers", "≥ 99.95 %", shown, run.whole / others >= 0.9995),
        report.bar(
            "outage: streams that it cut after their first content, and that do not end in a typed error",
            "0",
            f"{sum(r.kind != 'typed' for r in cut)} of {len(cut)}",
            all(r.kind == "typed" for r in cut),
        ),
    ]
    for what, value, limit, unit in (
        ("first success at the primary after its port is back", figures["first_success_s_after"], 2.0, " s"),
        (
            "attempts at the refusing primary, per call that came meanwhile",
            figures["attempts_at_primary_meanwhile"] / max(1, figures["calls_meanwhile"]),
            1.2,
            "",
        ),
        (
            "attempts at the primary in the second after, per call that came then",
            figures["attempts_in_the_second_after"] / calls,
            1.2,
            "",
        ),
        ("connections at the primary in that second, per call", outage.connections / calls, 1.2, ""),
    ):
        bars.append(most(f"outage: {what}", value, limit, unit))
    return bars, figures


def arguments() -> argparse.Namespace:
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.0, help="of the compressed trace; 0: all of it (172 s)")
    parser.add_argument("--outage", type=float, default=60.0, help="seconds for which the port is closed")
    parser.add_argument("--quick", action="store_true", help="25 s of the trace, an outage of 10 s")
    parser.add_argument("--only", default="healthy,flaky,hangs,outage", help="runs, comma-separated")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "availability.json")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.outage = 25.0, 10.0
    return args


def main() -> int:
    """Runs the proof and returns the exit status."""
    args = arguments()
    pin_self()
    whole = trace.azure()
    schedule = whole
    if args.seconds:
        schedule = trace.part(whole, trace.busiest(whole, args.seconds), args.seconds)
    lead = 10.0 if args.outage > 20 else 5.0
    back = trace.busiest(whole, 2.5, before=lead + args.outage, after=lead)
    around = trace.part(whole, back - args.outage - lead, args.outage + 2 * lead)
    outage = Outage(lead, lead + args.outage)
    refuse = {"fault": "refuse", "when": {"after_s": lead, "before_s": lead + args.outage}}
    plans: dict[str, tuple[dict[str, Any], trace.Schedule, Outage | None]] = {
        "healthy": (rig.scenario("", **PACE), schedule, None),
        "flaky": (rig.scenario("flaky", **PACE), schedule, None),
        "hangs": (rig.scenario("", **PACE, **HANGS), schedule, None),
        "outage": (rig.scenario("", **PACE, faults=[refuse]), around, outage),
    }
    wanted = args.only.split(",")
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        setting = Rig(pathlib.Path(name))
        try:
            for key, plan in plans.items():
                if key in wanted:
                    runs[key] = setting.run(key, *plan)
                    print("\n".join(f"{k}: {v}" for k, v in (runs[key].row() | runs[key].details()).items()), "\n")
        finally:
            setting.stop()
    return conclude(runs, outage, args)


def conclude(runs: dict[str, Run], outage: Outage, args: argparse.Namespace) -> int:
    """Judges the runs, saves the figures and returns the exit status."""
    bars: list[dict[str, Any]] = []
    details = [run.details() for run in runs.values()]
    if "healthy" in runs:
        bars.append(whole_bar(runs["healthy"]))
        bars += flaky_bars(runs["flaky"], runs["healthy"]) if "flaky" in runs else []
        bars += hang_bars(runs["hangs"], runs["healthy"]) if "hangs" in runs else []
    if "outage" in runs:
        found, figures = outage_bars(runs["outage"], outage)
        bars += found
        details.append({"outage": figures})
        print("\n".join(f"{k}: {v}" for k, v in figures.items()), "\n")
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip() + (
        " A unary answer's first content is its last byte. Upstreams: first token after 0.15 s (p50) and 0.5 s (p99), "
        f"1,000 tokens/s. Prompts are cut to {trace.LONGEST_CONTEXT} words, answers are as long as the trace's. In the "
        f"run of hangs the first-content timeout is {FIRST_CONTENT_S:g} s, the total (which alone bounds a unary call) "
        f"{UNARY_TOTAL_S:g} s."
    )
    if args.seconds:
        about += f" This is a short form: {args.seconds:g} s of the trace."
    rows = [run.row() for run in runs.values()]
    report.save("availability", TITLE, rows, bars, args.output, about=about, details=details)
    return int(not all(b["holds"] for b in bars))


if __name__ == "__main__":
    sys.exit(main())
