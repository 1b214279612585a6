#!/usr/bin/env python3
"""Proof: each alert rule fires within a minute of what causes it, once, and recovers; none fires while all is well.

One gateway before two simulators (primary and spare), a rule of every kind, a webhook on loopback. First all is well
for a while: steady calls at random times for every model and key, with feedback; nothing may fire. Then everything
goes wrong at once, each at a model of its own: failures, slow answers, answers cut for length, empty ones, a primary
that fails before a healthy spare (fallback and breaker), a key that makes ten times as many calls as it used to, bad
feedback, a budget used up. Then the simulators are well again, and calls go on as before.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import http.server
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import contestants, report, rig
from harness.procs import BenchError, free_port, pin_self

TITLE = "Alerts: each fires once within a minute, and recovers; none in a healthy run"
BOUND_S = 60.0
MODELS = ("well", "errors", "slow", "first", "long", "empty", "both", "burst", "judged", "paid")
EXPECTED = {
    "error_rate": "errors",
    "latency": "slow",
    "first_content": "first",
    "length": "long",
    "empty": "empty",
    "fallback": "both",
    "breaker": "primary/both",
    "cost_spike": "burst",
    "calls_spike": "",
    "tokens_spike": "burst",
    "feedback": "judged",
    "budget": "50%",
}
"""By kind: the subject that must be told (of the budget: the level; of calls_spike the key, whatever its id)."""
_FAULTS = [
    {"fault": 500, "when": {"model": "errors"}},
    {"fault": "slow-drip", "rate": 150, "when": {"model": "slow"}},
    {"fault": "slow-drip", "rate": 400, "when": {"model": "first"}},
    {"fault": "empty", "when": {"model": "empty"}},
    {"fault": 503, "when": {"model": "both"}},
]
_CONFIG = """
providers:
  primary: {{dialect: openai_chat, url: "http://127.0.0.1:{primary}/v1", key: "env:UP_KEY", price_table: none}}
  spare: {{dialect: openai_chat, url: "http://127.0.0.1:{spare}/v1", key: "env:UP_KEY", price_table: none}}
defaults: {{retry: {{attempts: 0}}, breaker: {{min_calls: 5, window: 20, open: 5}}}}
models:
{models}
  both: {{route: [primary/both, spare/both], price: {{input: 1, output: 10}}}}
  dear: {{route: [primary/dear], price: {{input: 1000, output: 10000}}}}
alerts:
  every: 2s
  receivers: {{hook: {{type: webhook, url: "http://127.0.0.1:{hook}/", allow_private: true}}}}
  rules:
    error_rate: {{kind: error_rate, above: 0.3, by: model, window: 20s, min_calls: 5, hold: 2s}}
    latency: {{kind: latency, quantile: p95, above: 2, by: model, window: 20s, min_calls: 5}}
    first_content: {{kind: first_content, quantile: p50, above: 1, by: model, window: 20s, min_calls: 5}}
    length: {{kind: length, above: 0.5, by: model, window: 20s, min_calls: 5, where: {{model: long}}}}
    empty: {{kind: empty, above: 0.5, by: model, window: 20s, min_calls: 5}}
    fallback: {{kind: fallback, above: 0.5, by: model, window: 20s, min_calls: 5}}
    breaker: {{kind: breaker, window: 20s, where: {{model: both}}}}
    cost_spike: {{kind: cost_spike, by: model, window: 10s, history: 5m, at_least: 0.001}}
    calls_spike: {{kind: calls_spike, by: key, window: 10s, history: 5m, at_least: 60}}
    tokens_spike: {{kind: tokens_spike, by: model, window: 10s, history: 5m, at_least: 1500}}
    feedback: {{kind: feedback, by: model, window: 20s, history: 5m, min_calls: 5}}
    budget: {{kind: budget, amount: 10, per: month, where: {{user: spender}}, projected: false}}
"""


class Hook(http.server.ThreadingHTTPServer):
    """The webhook: keeps what it gets, and when (monotonic)."""

    def __init__(self) -> None:
        self.got: list[tuple[float, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", free_port()), _Take)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def events(self, kind: str, since: float = 0.0) -> dict[tuple[str, str], list[float]]:
        """Returns when each rule and subject (of a budget: level) was told to be of this kind."""
        found: dict[tuple[str, str], list[float]] = {}
        for at, message in list(self.got):
            if message["event"] == kind and at >= since:
                found.setdefault((message["rule"], message["level"] or message["subject"]), []).append(at)
        return found


class _Take(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((time.monotonic(), json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Callers:
    """Steady calls at random times, from two keys: one of everybody, one that makes the burst."""

    def __init__(self, gate: rig.Gate, keys: tuple[str, str]) -> None:
        self.gate = gate
        self.keys = keys
        self.wrong = False
        self.calls = 0
        self._chance = random.Random(3)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(64)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends them."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown()

    def spend(self) -> None:
        """Uses the budget up: 0.4 $ a call."""
        for _ in range(30):
            self._pool.submit(self._call, "dear")

    def _run(self) -> None:
        while not self._stop.wait(self._chance.expovariate(20.0)):
            model = self._chance.choice(MODELS)
            self._pool.submit(self._call, model)
            if self.wrong:
                self._pool.submit(self._call, "burst")

    def _call(self, model: str) -> None:
        # What a client does: it asks in a stream where first content is what matters.
        ask: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say something about rivers."}]}
        ask["stream"] = model == "first"
        ask["max_tokens"] = 5 if model == "first" or (model == "long" and self.wrong) else 400
        if model in ("paid", "dear"):
            ask["user"] = "spender"
        key = self.keys[model == "burst"]
        with contextlib.suppress(OSError, http.client.HTTPException):
            headers, _ = self._post("/v1/chat/completions", ask, key)
            self.calls += 1
            if model == "judged":
                score = 0.1 if self.wrong else 0.9
                self._post("/v1/feedback", {"id": headers["x-headgate-id"], "score": score}, key)

    def _post(self, path: str, body: object, key: str) -> tuple[Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=60)
        with contextlib.closing(connection):
            sent = {"content-type": "application/json", "authorization": f"Bearer {key}"}
            connection.request("POST", path, json.dumps(body), sent)
            answer = connection.getresponse()
            return answer.headers, answer.read()


def wait_for(what: Any, seconds: float) -> bool:
    """Waits until it is so; returns whether it became so."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def run(folder: pathlib.Path, healthy_s: float) -> tuple[list[report.Row], list[dict[str, Any]]]:
    """Plays all of it; returns rows and bars."""
    calm = rig.scenario("", default="words-40", speed=400)
    primary, spare, hook = rig.Sim(folder, "primary", calm), rig.Sim(folder, "spare", calm), Hook()
    models = "\n".join(
        f"  {name}: {{route: [primary/{name}], price: {{input: 1, output: 10}}}}" for name in MODELS if name != "both"
    )
    ports = {"primary": primary.port, "spare": spare.port, "hook": hook.server_address[1]}
    gate = rig.Gate(folder, "alerts", _CONFIG.format(models=models, **ports))
    callers = None
    try:
        gate.begin()
        other = make_key(gate)
        callers = Callers(gate, (gate.headers["Authorization"].split()[1], other))
        time.sleep(healthy_s)
        healthy = [message["summary"] for _, message in hook.got]
        calls = callers.calls
        primary.load(rig.scenario("", default="words-40", speed=400, faults=_FAULTS))
        began = time.monotonic()
        callers.wrong = True
        callers.spend()
        wait_for(lambda: {rule for rule, _ in hook.events("fired")} >= set(EXPECTED), BOUND_S + 30)
        time.sleep(10)
        primary.load(calm)
        callers.wrong = False
        healed = time.monotonic()
        lasting = set(EXPECTED) - {"budget"}
        wait_for(lambda: {rule for rule, _ in hook.events("recovered", began)} >= lasting, 120)
        time.sleep(5)
        return judge(hook, healthy, calls, healthy_s, began, healed)
    finally:
        if callers is not None:
            callers.close()
        gate.stop()
        primary.stop()
        spare.stop()
        hook.shutdown()
        hook.server_close()


def make_key(gate: rig.Gate) -> str:
    """Makes a second key."""
    cmd = [str(contestants.headgate_binary()), "keys", "create", "--name", "other", "--quiet", "--data", str(gate.data)]
    done = subprocess.run(cmd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"headgate keys: {done.stderr[-300:]}")
    return done.stdout.strip()


def judge(
    hook: Hook, healthy: list[str], calls: int, healthy_s: float, began: float, healed: float
) -> tuple[list[report.Row], list[dict[str, Any]]]:
    """Returns a row per rule, and the bars."""
    fired, recovered = hook.events("fired", began), hook.events("recovered", began)
    rows: list[report.Row] = []
    for rule, subject in EXPECTED.items():
        subjects = [place for place in fired if place[0] == rule and subject in ("", place[1])]
        first = fired[subjects[0]][0] - began if subjects else None
        back = [at for place in subjects for at in recovered.get(place, [])]
        rows.append(
            {
                "rule": rule,
                "told_after_s": first,
                "times_told": len(fired[subjects[0]]) if subjects else 0,
                "recovered_after_s": max(back) - healed if back else None,
            }
        )
    late = [row["rule"] for row in rows if row["told_after_s"] is None or row["told_after_s"] > BOUND_S]
    twice = [f"{rule} {subject}" for (rule, subject), times in fired.items() if len(times) > 1]
    lasting = [row["rule"] for row in rows if row["rule"] != "budget" and row["recovered_after_s"] is None]
    ids = [message["id"] for _, message in hook.got]
    worst = max((row["told_after_s"] or 0.0 for row in rows), default=0.0)
    what = f"alerts told in a healthy run of {healthy_s:g} s and {calls:,} calls"
    bars = [
        report.bar(what, "0", "; ".join(healthy) or "0", not healthy),
        report.bar("the slowest rule is told after", "≤ 60 s", f"{worst:.1f} s" if not late else str(late), not late),
        report.bar("breaches told more than once", "0", "; ".join(twice) or "0", not twice),
        report.bar("events delivered more than once", "0", str(len(ids) - len(set(ids))), len(ids) == len(set(ids))),
        report.bar("rules that did not recover (the budget does with its month)", "0", str(lasting or 0), not lasting),
    ]
    return rows, bars


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--healthy", type=float, default=1800.0, help="seconds in which nothing may fire")
    parser.add_argument("--quick", action="store_true", help="90 s of them")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "alerts.json")
    args = parser.parse_args()
    pin_self()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        rows, bars = run(pathlib.Path(name), 90.0 if args.quick else args.healthy)
    print("\n".join(str(row) for row in rows), "\n")
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    report.save("alerts", TITLE, rows, bars, args.output, about=about)
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
