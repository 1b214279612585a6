#!/usr/bin/env python3
"""Proof: `headgate load` plays the whole Azure trace three times as fast through this gateway, and names its share.

The upstream is `headgate sim` at the pace of a provider (first token lognormal, median 0.35 s; 80 tokens a second),
priced as a small model. Every call of the trace is made, streamed, with its prompt's and its answer's length, at its
time; times count from the intended start. The whole report lies beside the figures, as `load_report.json` and
`load_report.html`.
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
    own = found["own"]
    rows.append(
        {
            "time": "the gateway's own share of first content",
            **{f"{part}_ms": own[f"outside_{part}_ms"] for part in ("p50", "p95", "p99")},
        }
    )
    bars = judge(found)
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    details = {
        key: found[key] for key in ("calls", "took_s", "calls_per_s", "per_minute", "errors_by_kind", "cost", "own")
    }
    report.save("load", TITLE, rows, bars, args.output, about=about, details=details)
    return int(not all(bar["holds"] for bar in bars))


def judge(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the bars."""
    own, first = found["own"], found["times"]["first_content"]["p99"]
    slow = own["slowest_own_ms"] / own["slowest_first_ms"]
    part = own["outside_p99_ms"] / first
    shown = f"{own['slowest_own_ms']:.1f} ms of {own['slowest_first_ms']:.0f} ms, {slow:.1%}"
    p99 = (
        f"{own['outside_p99_ms']:.1f} ms to {first:.0f} ms, {part:.1%}; {own['inside_p99_ms']:.1f} ms by its own clock"
    )
    return [
        report.bar("calls that failed", "0", f"{found['errors']} of {found['calls']:,}", not found["errors"]),
        report.bar("the gateway's own share at p99, to first content at p99", "≤ 10 %", p99, part <= 0.1),
        report.bar("its share of the calls slower than p99", "≤ 5 %", shown, slow <= 0.05),
        report.bar("cost named", "yes", f"${found['cost']}", found["cost"] is not None),
    ]


if __name__ == "__main__":
    sys.exit(main())
