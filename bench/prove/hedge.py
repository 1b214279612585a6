#!/usr/bin/env python3
"""Proof: hedging takes the slow tail away, at a few extra calls in a hundred.

Streams at a steady random rate (open loop) at a primary whose first token comes after 0.2 s for 97 calls in 100 and
after 5 s for the others (the shipped scenario `slow-tail`), with a healthy secondary of a realistic pace (`calm`)
behind it. The same calls once without hedging and once with it; the first 200 of each run warm up and do not count.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import tempfile
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import report, rig, traffic
from harness.procs import pin_self
from harness.traffic import Ask, Traffic, quantile, words

TITLE = "Hedging against a slow tail"
WARM = 200
_CONFIG = """
providers:
  primary: {{dialect: openai_chat, url: "http://127.0.0.1:{primary}/v1", key: "env:UP_KEY"}}
  secondary: {{dialect: openai_chat, url: "http://127.0.0.1:{secondary}/v1", key: "env:UP_KEY"}}
models:
  echo: {{route: [primary/echo, secondary/echo]{hedge}}}
"""
_HEDGE = ", hedge: {quantile: 0.95, budget: 0.05, min_delay: 50ms}"


def schedule(rate: float, seconds: float) -> list[tuple[float, Ask]]:
    """Returns calls at random times, so many a second in the mean; always the same ones."""
    chance = random.Random(1)
    at, found = 0.0, []
    while (at := at + chance.expovariate(rate)) < seconds:
        found.append((at, Ask(f"{len(found)} {words(15, chance)}")))
    return found


def run(folder: pathlib.Path, name: str, calls: list[tuple[float, Ask]]) -> tuple[report.Row, report.Row]:
    """Plays the calls through a fresh gateway before fresh upstreams; returns the row and its details."""
    primary = rig.Sim(folder, f"primary-{name}", rig.scenario("slow-tail"))
    secondary = rig.Sim(folder, f"secondary-{name}", rig.scenario("calm"))
    hedge = _HEDGE if name == "hedged" else ""
    gate = rig.Gate(folder, name, _CONFIG.format(primary=primary.port, secondary=secondary.port, hedge=hedge))
    try:
        gate.begin()
        load = Traffic(gate.port, gate.headers)
        results = [r for r in traffic.run(load.play(calls)) if r.at >= calls[WARM][0]]
        stories = gate.stories()
        cancelled = primary.meter()["cancelled"]
    finally:
        gate.stop()
        primary.stop()
        secondary.stop()
    counted = {result.id for result in results}
    stories = [story for story in stories if story["id"] in counted]
    first, second = (len(rig.attempts_at(stories, f"{one}/echo")) for one in ("primary", "secondary"))
    times = [result.first_s for result in results if result.first_s >= 0]
    row = {
        "run": name,
        "calls": len(results),
        "whole": sum(result.kind == "whole" for result in results),
        "attempts_at_primary": first,
        "attempts_at_secondary": second,
        "extra_calls": (first + second) / len(results) - 1,
        **{f"first_content_p{part}_s": quantile(times, part / 100) for part in (50, 95, 98, 99)},
        "longest_s": max(times),
    }
    slow = [result.first_s for result in results if result.first_s > 3]
    details = {
        "run": name,
        "kinds": traffic.count_kinds(results),
        "why": traffic.reasons(results),
        "over_3_s": len(slow),
        "cancelled_at_primary": cancelled,
    }
    return row, details


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=40.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=150.0, help="length of each run")
    parser.add_argument("--quick", action="store_true", help="40 s each")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "hedge.json")
    args = parser.parse_args()
    pin_self()
    calls = schedule(args.rate, 40.0 if args.quick else args.seconds)
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        found = [run(pathlib.Path(name), kind, calls) for kind in ("plain", "hedged")]
    rows, details = [row for row, _ in found], [detail for _, detail in found]
    for row, detail in found:
        print("\n".join(f"{k}: {round(v, 4) if isinstance(v, float) else v}" for k, v in (row | detail).items()), "\n")
    bars = judge(*rows)
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    report.save("hedge", TITLE, rows, bars, args.output, about=about, details=details)
    return int(not all(bar["holds"] for bar in bars))


def judge(plain: dict[str, Any], hedged: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the bars."""
    times = plain["first_content_p99_s"] / hedged["first_content_p99_s"]
    extra = hedged["extra_calls"]
    lost = sum(row["calls"] - row["whole"] for row in (plain, hedged))
    shown = f"{times:.1f} x ({plain['first_content_p99_s']:.2f} s to {hedged['first_content_p99_s']:.2f} s)"
    return [
        report.bar("p99 of first content, lower by", "≥ 5 x", shown, times >= 5),
        report.bar("extra calls", "≤ 6 %", f"{extra:.1%}", extra <= 0.06),
        report.bar("answers that were not whole", "0", str(lost), not lost),
    ]


if __name__ == "__main__":
    sys.exit(main())
