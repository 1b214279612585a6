#!/usr/bin/env python3
"""Proof: what it costs a request to be watched: rollups, metrics, alerts, traces, feedback, redaction, payloads.

CPU of the worker (wrk, 64 connections, an upstream that answers at once), per unary request and per event of a stream:
as it was before any of these was there (``--before``: a commit), without payloads and with them kept as they came; with
none of them used; with alerts, traces, metrics read and a judgement given every second; with redacted payloads kept as
well, the recorder redacting; and with workers that redact, which is what a strict setting costs. In turns, so that a
drifting machine drifts under all; ratios are taken within a round: without payloads to what was before without, and
with to with.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, load, measure, report, rig
from harness.load import Sample
from harness.procs import ROOT, BenchError, free_port, need, pin_self
from harness.upstreams import Upstreams

TITLE = "What it costs a request to be watched"
BEFORE = "ec75430"
"""The last commit without rollups, metrics, alerts, traces, redaction and feedback."""

RATIO = 1.05
"""What of a ratio is the measurement's own: two gateways that are the same differ by so much in a short run."""

_HEAD = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{unary}/v1", key: "env:UP_KEY"}}
  sse: {{dialect: openai_chat, url: "http://127.0.0.1:{sse}/v1", key: "env:UP_KEY"}}
models:
  gpt-4o-mini: {{route: [up/gpt-4o-mini]}}
  gpt-4o-mini-stream: {{route: [sse/gpt-4o-mini]}}
"""
_JOURNAL = "journal: {fsync: interval}"
_WATCHED = """
traces: {{endpoint: "http://127.0.0.1:{sink}"}}
alerts:
  every: 2s
  rules:
    errors: {{kind: error_rate, by: model, window: 1m}}
    slow: {{kind: latency, quantile: p95, by: deployment, window: 1m}}
    first: {{kind: first_content, by: model, window: 1m}}
    long: {{kind: length, by: model, window: 1m}}
    empty: {{kind: empty, by: model, window: 1m}}
    other: {{kind: fallback, by: model, window: 1m}}
    breaker: {{kind: breaker, window: 1m}}
    spike: {{kind: calls_spike, by: key, window: 1m, history: 1h, at_least: 1000000000}}
    judged: {{kind: feedback, window: 1m, history: 1h}}
"""


class Sink(http.server.ThreadingHTTPServer):
    """A collector that takes all spans and keeps none."""

    def __init__(self) -> None:
        self.taken = 0
        super().__init__(("127.0.0.1", free_port()), _Take)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Take(http.server.BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        self.server.taken += len(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing: the bench's own output is what it measured."""


class Gate(rig.Gate):
    """The gateway over the benchmark's own upstreams.

    Args:
        ups: these.
        folder: where its files go.
        name: of its own folder.
        title: what the table calls it.
        more: the rest of its configuration.
        source: the folder that its code is imported from.
        asked: whether somebody reads its metrics and judges a call every second.
    """

    def __init__(
        self,
        ups: Upstreams,
        folder: pathlib.Path,
        name: str,
        title: str,
        more: str,
        source: pathlib.Path = ROOT / "src",
        *,
        asked: bool = False,
    ) -> None:
        super().__init__(folder, name, _HEAD.format(unary=ups.unary, sse=ups.sse) + more)
        self.title, self._from, self._asked = title, source, asked

    @contextlib.contextmanager
    def _code(self) -> Iterator[None]:
        """What is started meanwhile runs its own code."""
        was = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(self._from)
        try:
            yield
        finally:
            os.environ.pop("PYTHONPATH")
            if was is not None:
                os.environ["PYTHONPATH"] = was

    def set_up(self) -> None:
        """See ``contestants.Headgate``."""
        with self._code():
            super().set_up()

    def launch(self) -> subprocess.Popen[bytes]:
        """See ``contestants.Headgate``."""
        with self._code():
            return super().launch()

    def probe(self) -> None:
        """Both of its answers are the upstream's."""
        contestants.Contestant.probe(self)
        if self.stream_error:
            raise BenchError(f"{self.title}, streamed: {self.stream_error}")

    def sample(self, connections: int, seconds: float, *, stream: bool = False) -> Sample:
        """Loads it, and asks it about itself meanwhile."""
        if not self._asked:
            return super().sample(connections, seconds, stream=stream)
        stop, failed = threading.Event(), list[str]()
        thread = threading.Thread(target=self._ask, args=(stop, failed))
        thread.start()
        try:
            return super().sample(connections, seconds, stream=stream)
        finally:
            stop.set()
            thread.join(20)
            if failed:
                raise BenchError(failed[0])

    def _ask(self, stop: threading.Event, failed: list[str]) -> None:
        try:
            while not stop.wait(1.0):
                body, _ = self._request("GET", "/metrics")
                if b"headgate_calls_total" not in body:
                    raise BenchError(f"no metrics: {body[:200]!r}")
                _, call = self._request("POST", load.PATH, load.request_body())
                judgement = {"id": call, "score": 1, "label": "good", "comment": "Just what I asked for."}
                self._request("POST", "/v1/feedback", json.dumps(judgement).encode())
        except (OSError, http.client.HTTPException, BenchError) as error:
            failed.append(f"{self.title}, asked about itself: {error}")

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[bytes, str]:
        """Returns the answer and the call's id."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {**self.headers, "content-type": "application/json"} if body else dict(self.headers)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status >= 300:
                raise BenchError(f"{path}: {answer.status} {data[:200]!r}")
            return data, answer.headers.get("x-headgate-id") or ""
        finally:
            connection.close()


def code_of(commit: str, folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the folder with the code of a commit, None where this clone does not have it."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", commit, "src"], capture_output=True, check=False)
    if done.returncode:
        return None
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=done.stdout, check=True)
    return folder / "src"


def turns(field: list[Gate], rounds: int, seconds: float) -> list[list[tuple[float, float]]]:
    """Returns what a request and an event cost each, in µs, by round; every second round in the opposite order."""
    found = []
    for number in range(rounds):
        costs: dict[int, tuple[float, float]] = {}
        for index in range(len(field)) if number % 2 == 0 else reversed(range(len(field))):
            unary, event = (
                measure.cost(field[index], measure.CONNECTIONS, seconds, stream=stream).us for stream in (False, True)
            )
            costs[index] = (unary, event)
        found.append([costs[index] for index in range(len(field))])
        told = (f"{gate.title}: {costs[index][0]:.1f}, {costs[index][1]:.2f}" for index, gate in enumerate(field))
        print("  " + "  ".join(told), flush=True)
    return found


def conclude(field: list[Gate], rounds: list[list[tuple[float, float]]], args: argparse.Namespace) -> int:
    """Saves the figures; returns the exit status."""

    def ratio(index: int, floor: int, what: int) -> float:
        return statistics.median(costs[index][what] / costs[floor][what] for costs in rounds)

    place = {gate.key.removeprefix("headgate-"): index for index, gate in enumerate(field)}
    older = "before" in place
    floors = {"watched": "before", "full": "before-kept", "strict": "before-kept"} if older else {}
    rows: list[dict[str, Any]] = []
    for name, index in place.items():
        floor = floors.get(name, "before" if older else "off")
        row: dict[str, Any] = {"gateway": field[index].title, "compared with": field[place[floor]].title}
        for what, unit in enumerate(("request", "event")):
            row[f"cpu_µs_per_{unit}"] = statistics.median(costs[index][what] for costs in rounds)
            row[f"{unit}_times"] = ratio(index, place[floor], what)
        rows.append(row)
    bars = []
    for name in ("watched", "full"):
        row = rows[place[name]]
        for unit in ("request", "event"):
            title = f"CPU per {unit}: {row['gateway']}, to {row['compared with']}"
            bars.append(report.bar(title, f"≤ {RATIO}", f"{row[f'{unit}_times']:.3f}", row[f"{unit}_times"] <= RATIO))
    for row in rows:
        print({name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()})
    about = (__doc__ or "").split("\n\n")[1].strip()
    about += f" Medians of {args.rounds} rounds of {args.seconds:g} s each."
    return report.finish("watching_cost", TITLE, rows, bars, args.output, about=about)


def main() -> int:
    """Measures and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each sample")
    parser.add_argument(
        "--before", default=BEFORE, help="a commit to compare with; where unknown, that row is left out"
    )
    parser.add_argument("--quick", action="store_true", help="three rounds of 2 s")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "watching_cost.json")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 2.0
    if missing := need("wrk", "taskset", "git"):
        raise SystemExit(f"watching_cost: {missing}")
    pin_self()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = pathlib.Path(name)
        ups, sink = Upstreams(folder), Sink()
        watched = _WATCHED.format(sink=sink.server_port)
        unused = f"data: {{{_JOURNAL}}}\n"
        kept = f"data: {{payloads: redacted, {_JOURNAL}}}\n" + watched
        strict = f"data: {{payloads: redacted, redact: worker, {_JOURNAL}}}\n" + watched
        off = Gate(ups, folder, "off", "none of it used", unused)
        watched_too = unused + watched
        field = [
            Gate(ups, folder, "watched", "alerts, traces, metrics, feedback", watched_too, asked=True),
            Gate(ups, folder, "full", "everything on: redacted payloads, too", kept, asked=True),
            Gate(ups, folder, "strict", "everything on, workers redact", strict, asked=True),
        ]
        older = code_of(args.before, folder / "older")
        if older is not None:  # each beside what it is compared with
            whole = f"data: {{payloads: full, {_JOURNAL}}}\n"
            field.insert(0, Gate(ups, folder, "before", f"before ({args.before})", unused, older))
            then = Gate(ups, folder, "before-kept", f"before ({args.before}), payloads kept", whole, older)
            field.insert(3, then)
        field.insert(0, off)
        try:
            ups.start()
            for gate in field:
                gate.begin()
                for stream in (False, True):
                    gate.sample(measure.CONNECTIONS, 1.0, stream=stream)
            rounds = turns(field, args.rounds, args.seconds)
            if not sink.taken:
                raise BenchError("no spans were sent")
        except BenchError as error:
            print(f"watching_cost FAILED: {error}", file=sys.stderr)
            return 1
        finally:
            for gate in field:
                gate.stop()
            ups.stop()
            sink.shutdown()
    return conclude(field, rounds, args)


if __name__ == "__main__":
    sys.exit(main())
