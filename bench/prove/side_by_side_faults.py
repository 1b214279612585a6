#!/usr/bin/env python3
"""Proof: what callers see of an upstream's faults through this gateway, LiteLLM and Portkey, side by side.

Each gateway has the same plan: a primary that fails as its scenario says, a healthy fallback, two retries, the same
timeouts. The same calls in the same order at the same times for each, in one run; the same judge reads every answer.
The upstream repeats the question, so a whole answer is known to the letter. Left out are faults that nobody can see
from outside: a stream in which the model itself says nothing, or says things twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import random
import sys
import tempfile
import time
from typing import Any, Protocol

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, report, rig, traffic, upstreams
from harness.judge import KINDS
from harness.procs import BenchError, pin_self
from harness.traffic import Ask, Traffic, quantile, words

TITLE = "The same faults through three gateways"
STREAM_S, TOTAL_S, BOUND_S, RETRIES = 3, 6, 60.0, 2
PACE = {"first_token": 0.05, "speed": 400}


@dataclasses.dataclass(frozen=True)
class Case:
    """One scenario at the primary, and which calls are made: ``both``, ``streams`` or ``unary``."""

    name: str
    script: dict[str, Any]
    calls: str = "both"


def cases() -> list[Case]:
    """Returns the scenarios."""

    bodies = ("reset-mid-stream", "close-mid-stream", "malformed-json", "malformed-sse", "no-marker", "error-event")
    return [
        Case("flaky", rig.scenario("flaky", **PACE)),
        Case("broken-streams", rig.scenario("broken-streams", **PACE), "streams"),
        Case(
            "broken bodies",
            rig.scenario("", **PACE, faults=[{"fault": kind, "when": {"probability": 0.1}} for kind in bodies]),
            "unary",
        ),
        Case(
            "bad-answers (bodies twice, or of two halves)",
            rig.scenario("bad-answers", without=("empty", "content-filter"), **PACE),
            "unary",
        ),
        Case("hangs", rig.scenario("hangs", **PACE)),
        Case("rate-limited", rig.scenario("rate-limited", **PACE)),
        Case("flapping", rig.scenario("flapping", **PACE)),
        Case(
            "outage (2 s to 7 s)",
            rig.scenario("", **PACE, faults=[{"fault": "refuse", "when": {"after_s": 2, "before_s": 7}}]),
        ),
        Case("chaos", rig.scenario("chaos", without=rig.UNSEEN, **PACE)),
    ]


class Gateway(Protocol):
    """A contestant of this proof."""

    title: str
    port: int

    def begin(self) -> None:
        """Installs what is missing, and starts it; raises ``BenchError`` where that fails."""

    def stop(self) -> None:
        """Ends it."""

    @property
    def sent(self) -> dict[str, str]:
        """The headers of each call."""


class Headgate(rig.Gate):
    """This gateway."""

    def __init__(self, folder: pathlib.Path, primary: int, secondary: int) -> None:
        providers = {
            name: {"dialect": "openai_chat", "url": f"http://127.0.0.1:{port}/v1", "key": "env:UP_KEY"}
            for name, port in (("primary", primary), ("secondary", secondary))
        }
        times = {
            "connect": STREAM_S,
            "headers": STREAM_S,
            "first_content": STREAM_S,
            "idle": STREAM_S,
            "total": TOTAL_S,
        }
        config = {
            "providers": providers,
            "models": {"echo": {"route": ["primary/echo", "secondary/echo"]}},
            "defaults": {"timeouts": {name: f"{value}s" for name, value in times.items()}},
        }
        if RETRIES != 2:
            config["defaults"]["retry"] = {"attempts": RETRIES}
        super().__init__(folder, "faults", yaml.safe_dump(config))
        self.title = "Headgate"

    @property
    def sent(self) -> dict[str, str]:
        """The key that was made for the load."""
        return self.headers


class LiteLLM(contestants.LiteLLM):
    """LiteLLM proxy: two model groups, the second the fallback of the first."""

    def __init__(self, folder: pathlib.Path, primary: int, secondary: int) -> None:
        super().__init__(upstreams.Upstreams(folder), folder)
        times = {"timeout": TOTAL_S, "stream_timeout": STREAM_S}
        models = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": "openai/echo",
                    "api_base": f"http://127.0.0.1:{port}/v1",
                    "api_key": "sk-upstream",
                    **times,
                },
            }
            for name, port in (("echo", primary), ("echo-fallback", secondary))
        ]
        self.file = self.folder / "litellm.yaml"
        settings = {"telemetry": False, "set_verbose": False}
        router = {"num_retries": RETRIES, "fallbacks": [{"echo": ["echo-fallback"]}]}
        self.file.write_text(
            yaml.safe_dump({"model_list": models, "litellm_settings": settings, "router_settings": router})
        )

    def config(self, source: pathlib.Path) -> pathlib.Path:
        """The plan of this proof."""
        return self.file

    def probe(self) -> None:
        """The warm-up is the probe."""

    def begin(self) -> None:
        """Installs and starts it."""
        self.set_up()
        found = next(self.home.glob("lib/*/site-packages/litellm-*.dist-info"), None)
        self.title += f" {found.stem.partition('-')[2]}" if found else ""
        self.start()

    @property
    def sent(self) -> dict[str, str]:
        """Its master key."""
        return self.headers


class Portkey(contestants.Portkey):
    """Portkey: the plan goes with each call, in a header."""

    def __init__(self, folder: pathlib.Path, primary: int, secondary: int) -> None:
        super().__init__(upstreams.Upstreams(folder), folder)
        targets = [
            {
                "provider": "openai",
                "api_key": "sk-upstream",
                "custom_host": f"http://127.0.0.1:{port}/v1",
                "request_timeout": TOTAL_S * 1000,
                "retry": {"attempts": RETRIES},
            }
            for port in (primary, secondary)
        ]
        self.plan = json.dumps({"strategy": {"mode": "fallback"}, "targets": targets})

    def probe(self) -> None:
        """The warm-up is the probe."""

    def begin(self) -> None:
        """Installs and starts it."""
        self.set_up()
        package = json.loads((self.home / "node_modules/@portkey-ai/gateway/package.json").read_text())
        self.title += f" {package['version']}"
        self.start()

    @property
    def sent(self) -> dict[str, str]:
        """The plan."""
        return {"x-portkey-config": self.plan}


def schedule(case: Case, calls: int, rate: float) -> list[tuple[float, Ask]]:
    """Returns the calls of one case; always the same ones."""
    chance = random.Random(7)
    return [
        (
            number / rate,
            Ask(
                f"{number} {words(23, chance)}",
                stream=case.calls == "streams" or (case.calls == "both" and number % 2 == 0),
            ),
        )
        for number in range(calls)
    ]


async def play(gateway: Gateway, primary: rig.Sim, case: Case, calls: list[tuple[float, Ask]]) -> list[traffic.Result]:
    """Warms up before a healthy primary, then makes the calls."""
    load = Traffic(gateway.port, gateway.sent, bound_s=BOUND_S)
    primary.load(rig.scenario("", **PACE))
    end = time.monotonic() + 60
    while True:
        warm = await load.repeat([Ask(f"warm up {n}", stream=n % 2 == 0) for n in range(10)], 2)
        if all(result.kind == "whole" for result in warm):
            break
        if time.monotonic() > end:
            raise BenchError(f"does not answer before a healthy upstream: {traffic.reasons(warm)}")
    load.results.clear()
    primary.load(case.script)
    try:
        return await load.play(calls)
    finally:
        load.close()


def row(
    gateway: Gateway, case: Case, results: list[traffic.Result], seen: dict[str, Any]
) -> tuple[report.Row, report.Row]:
    """Returns the row of one gateway in one case, and its details."""
    kinds = traffic.count_kinds(results)
    shown = {
        "scenario": case.name,
        "gateway": gateway.title,
        "calls": len(results),
        "whole": kinds.get("whole", 0),
        "wrong_successes": kinds.get("wrong", 0),
        "restarted": kinds.get("restarted", 0),
        "typed_errors": kinds.get("typed", 0),
        "bare_error_statuses": kinds.get("bare", 0),
        "untyped_ends": kinds.get("untyped", 0),
        "hung": kinds.get("hung", 0),
        "p50_s": quantile([r.total_s for r in results], 0.5),
        "longest_s": max(r.total_s for r in results),
        "attempts_at_primary": seen["calls"] / len(results),
    }
    details = {
        "scenario": case.name,
        "gateway": gateway.title,
        "why": traffic.reasons(results),
        "faults": seen["faults"],
    }
    return shown, details


def compete(
    make: type[Headgate] | type[LiteLLM] | type[Portkey], folder: pathlib.Path, args: argparse.Namespace
) -> tuple[list[report.Row], list[report.Row]]:
    """Takes one gateway through all cases."""
    primary = rig.Sim(folder, f"primary-{make.__name__}", rig.scenario("", **PACE))
    secondary = rig.Sim(folder, f"secondary-{make.__name__}", rig.scenario("", **PACE, seed=2))
    gateway = make(folder, primary.port, secondary.port)
    rows, details = [], []
    try:
        gateway.begin()
        for case in args.cases:
            results = traffic.run(play(gateway, primary, case, schedule(case, args.calls, args.rate)))
            shown, detail = row(gateway, case, results, primary.meter())
            print(" ".join(f"{k}={round(v, 2) if isinstance(v, float) else v}" for k, v in shown.items()), flush=True)
            print(f"    {detail['why']}", flush=True)
            rows.append(shown)
            details.append(detail)
    except (BenchError, OSError) as error:
        print(f"{gateway.title}: absent: {error}", file=sys.stderr)
        rows.append({"scenario": "all that are missing", "gateway": gateway.title, "remark": f"absent: {error}"})
    finally:
        gateway.stop()
        primary.stop()
        secondary.stop()
    return rows, details


def judge(rows: list[report.Row]) -> list[dict[str, Any]]:
    """Returns the bars; they are on this gateway, the others' sums stand beside them."""
    bars = []
    for key, what in (
        ("wrong_successes", "wrong successes"),
        ("bare_error_statuses", "error statuses that name no type"),
        ("untyped_ends", "ends without a typed error"),
        ("hung", "hung calls"),
    ):
        sums = {
            name: sum(r[key] for r in rows if r["gateway"] == name and key in r)
            for name in dict.fromkeys(r["gateway"] for r in rows)
        }
        others = ", ".join(f"{name} {count}" for name, count in sums.items() if name != "Headgate")
        own = sums.get("Headgate")
        bars.append(
            report.bar(
                f"Headgate: {what}", "0", f"{own} ({others})" if others else str(own), None if own is None else not own
            )
        )
    return bars


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="in each scenario")
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second")
    parser.add_argument("--quick", action="store_true", help="60 calls in each scenario")
    parser.add_argument("--only", default="headgate,litellm,portkey", help="gateways, comma-separated")
    parser.add_argument("--scenarios", default="", help="comma-separated beginnings of names; all by default")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "side_by_side_faults.json")
    args = parser.parse_args()
    if args.quick:
        args.calls = 60
    wanted = args.scenarios.split(",")
    args.cases = [case for case in cases() if any(case.name.startswith(name) for name in wanted)]
    pin_self()
    rows: list[report.Row] = []
    details: list[report.Row] = []
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        for kind in (Headgate, LiteLLM, Portkey):
            if kind.__name__.lower() in args.only.split(","):
                got = compete(kind, pathlib.Path(name), args)
                rows += got[0]
                details += got[1]
    order = [case.name for case in args.cases]
    rows.sort(key=lambda r: order.index(r["scenario"]) if r["scenario"] in order else len(order))
    bars = judge(rows)
    print(report.bar_lines(bars))
    about = (
        (__doc__ or "").split("\n\n")[1].strip()
        + " "
        + "; ".join(
            f"*{key}*: {KINDS[kind]}"
            for key, kind in (
                ("whole", "whole"),
                ("wrong success", "wrong"),
                ("restarted", "restarted"),
                ("typed error", "typed"),
                ("bare error status", "bare"),
                ("untyped end", "untyped"),
                ("hung", "hung"),
            )
        )
    )
    about += f" ({BOUND_S:g} s)."
    report.save("side_by_side_faults", TITLE, rows, bars, args.output, about=about, details=details)
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
