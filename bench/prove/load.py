#!/usr/bin/env python3
"""Proof: `headgate load` plays the whole Azure trace three times as fast through this gateway, and names its share.

The upstream is `headgate sim` at the pace of a provider (first token lognormal, median 0.35 s; 80 tokens a second),
priced as a small model. Every call of the trace is made, streamed, with its prompt's and its answer's length, at its
time; times count from the intended start. The whole report lies beside the figures, as `load_report.json` and
`load_report.html`.

The gateway's own share of first content is told twice. *From outside* is from the sending of a request to the arrival
of its first content at the load, less the upstream's time: it holds all that the gateway could cause, and all that the
load, which runs beside it, makes itself wait. *By its own clock* is from the request's arrival to the handing on of
its first content, less the upstream's time: it holds nothing of others, and nothing that kept a request from being
read. The truth lies between the two; how late the load sent its calls tells how much of the first is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import report, rig

TITLE = "The Azure trace at three times its speed, by headgate load"
OWN_MS = 50
TRACE = "traces/AzureLLMInferenceTrace_code.csv"
_CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
models:
  fast: {{route: [up/echo], price: {{input: 0.15, output: 0.6}}}}
"""
_PACE = {
    "seed": 11,
    "first_token": {"lognormal": {"p50": 0.35, "p99": 2.0}},
    "speed": {"lognormal": {"p50": 80, "p99": 160}},
}


def run(folder: pathlib.Path, options: list[str], out: pathlib.Path) -> dict[str, Any]:
    """Plays the trace through a fresh gateway before a fresh simulator; returns the report."""
    sim = rig.Sim(folder, "pace", _PACE)
    gate = rig.Gate(folder, "gate", _CONFIG.format(port=sim.port))
    pages = [str(out.with_name(f"{out.stem}_report.{form}")) for form in ("html", "json")]
    try:
        gate.begin()
        url = f"http://127.0.0.1:{gate.port}"
        command = [str(gate.binary), "load", url, "--data", str(gate.data), "--config", str(gate.source)]
        command += ["--trace", str(rig.shared_data() / TRACE), "--speed", "3", "--model", "fast", *options]
        key = gate.headers.get("Authorization", gate.headers.get("authorization", "")).removeprefix("Bearer ")
        env = {**os.environ, "UP_KEY": "sk-upstream", "HEADGATE_API_KEY": key}
        subprocess.run([*command, "--html", pages[0], "--json", pages[1]], env=env, check=True)
    finally:
        gate.stop()
        sim.stop()
    found: dict[str, Any] = json.loads(pathlib.Path(pages[1]).read_text())
    return found


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one minute of the trace's busiest part instead of 19")
    parser.add_argument("--again", type=pathlib.Path, metavar="REPORT", help="judge a report that is there")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "load.json")
    args = parser.parse_args()
    options = ["--start", "900", "--seconds", "60"] if args.quick else []
    if args.again is not None:
        found = json.loads(args.again.read_text())
    else:
        with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
            found = run(pathlib.Path(name), options, args.output)
    rows = [
        {"time": title, **{f"{part}_ms": found["times"][kind][part] for part in ("p50", "p95", "p99", "max")}}
        for kind, title in (
            ("first_content", "first content"),
            ("inter_token", "inter-token"),
            ("total", "whole answer"),
        )
    ]
    own, lag = found["own"], found["times"]["lag"]
    rows += [
        {
            "time": "the gateway's own share of first content, from outside",
            **{f"{part}_ms": own[f"outside_{part}_ms"] for part in ("p50", "p95", "p99")},
        },
        {
            "time": "the same by its own clock",
            **{f"{part}_ms": own[f"inside_{part}_ms"] for part in ("p50", "p99")},
        },
        {
            "time": "how late the load sent its calls",
            **{f"{part}_ms": lag[part] for part in ("p50", "p95", "p99", "max")},
        },
    ]
    bars = judge(found)
    print(report.bar_lines(bars))
    about = (__doc__ or "").partition("\n\n")[2].strip()
    details = {
        key: found[key] for key in ("calls", "took_s", "calls_per_s", "per_minute", "errors_by_kind", "cost", "own")
    }
    report.save("load", TITLE, rows, bars, args.output, about=about, details=[details])
    return int(not all(bar["holds"] for bar in bars))


def judge(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the bars."""
    own, first = found["own"], found["times"]["first_content"]["p99"]
    slow = own["slowest_own_ms"] / own["slowest_first_ms"]
    shown = f"{own['slowest_own_ms']:.1f} ms of {own['slowest_first_ms']:.0f} ms, {slow:.1%}"
    outside, inside = own["outside_p99_ms"], own["inside_p99_ms"]
    return [
        report.bar("calls that failed", "0", f"{found['errors']} of {found['calls']:,}", not found["errors"]),
        report.bar(
            "p99 of the gateway's own share, from outside",
            f"≤ {OWN_MS} ms",
            f"{outside:.1f} ms, of {first:.0f} ms that first content takes at p99",
            outside <= OWN_MS,
        ),
        report.bar("the same by its own clock", f"≤ {OWN_MS} ms", f"{inside:.2f} ms", inside <= OWN_MS),
        report.bar("its share of the calls slower than p99", "≤ 5 %", shown, slow <= 0.05),
        report.bar("cost named", "yes", f"${found['cost']}", found["cost"] is not None),
    ]


if __name__ == "__main__":
    sys.exit(main())
