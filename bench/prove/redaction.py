#!/usr/bin/env python3
"""Measures how much of what is private the redactor finds, how much of what it finds is private, and what that costs.

The corpus is made from a seed: sentences with cards, accounts, ids, addresses, phones and tokens whose check digits are
computed by rules of the generator's own, among harmless numbers and words that look alike. A value counts as found if
all of it is replaced. A finding that touches no planted value counts as false: what is left of these are numbers of
sixteen digits that begin as cards do and pass the Luhn test by chance. The recorder moves one journal with and without
payloads, with and without redaction; CPU per call is its process's own.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import random
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness import pii, report

from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.guards.detector import find_all
from headgate.guards.redactor import Redacted, Redactor
from headgate.stores import ingest
from headgate.stores.data import DataDir
from headgate.stores.recorder import Recorder

TITLE = "Redaction: what is found, what is not, what it costs"
RECALL, PRECISION = 0.999, 0.995


def count(texts: int, seed: int) -> tuple[dict[str, list[int]], int, int]:
    """Returns (planted, found) by kind, how many findings there were, and how many of them touched nothing planted."""
    r = random.Random(seed)
    kinds: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    findings = wrong = 0
    for _ in range(texts):
        planted = pii.plant(r, r.randint(0, 5), r.randint(1, 6))
        found = find_all(planted.text)
        covered = [False] * (len(planted.text) + 1)
        for one in found:
            covered[one.start : one.end] = [True] * (one.end - one.start)
            wrong += not any(one.start < end and start < one.end for start, end, _ in planted.values)
        findings += len(found)
        for start, end, kind in planted.values:
            kinds[kind][0] += 1
            kinds[kind][1] += all(covered[start:end])
    return kinds, findings, wrong


def speed(seed: int) -> dict[str, float]:
    """Returns CPU µs per kB of chat requests: of prose, and of texts full of private values."""
    redactor, r, found = Redactor(b"x" * 32), random.Random(seed), {}
    prose = " ".join(r.choice(pii.WORDS) for _ in range(2000))
    for name, text in (("prose", prose), ("private", "\n".join(pii.plant(r, 5, 5).text for _ in range(20)))):
        body = pii.as_body(r, pii.Planted(text, []))
        began = time.process_time()
        for _ in range(30):
            redactor.body(body)
        found[name] = (time.process_time() - began) / 30 * 1e6 / (len(body) / 1000)
    return found


class _Nothing(Redactor):
    """A redactor that takes out nothing, and so costs nothing."""

    def text(self, text: str) -> str:
        return text

    def name(self, text: str) -> str:
        return text

    def body(self, data: bytes) -> Redacted:
        return Redacted(data, "", 0)


def record_cost(calls: int, policy: str, *, redacts: bool) -> float:
    """Returns the recorder's CPU µs per call for a journal of so many calls with a 1 kB request and answer each."""
    r, ids = random.Random(5), Ids()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        data = DataDir(pathlib.Path(name) / "data")
        data.prepare()
        journal = data.open_journal(fsync="never")
        for number in range(calls):
            attempt = AttemptRecord("openai/m", "openai", "m", 80, 41_000, 930_000, "completed", 200, sent=True)
            attempt.usage = Usage(420, 160)
            one = Record(ids.new(), time.time_ns(), user=f"user-{number % 2000}", model="fast", outcome="completed")
            one.attempts, one.winner, one.usage = [attempt], 0, attempt.usage
            if policy != "none":
                said = pii.plant(r, number % 4 == 0, 2).text + " ".join(r.choice(pii.WORDS) for _ in range(140))
                answer = {"choices": [{"message": {"role": "assistant", "content": said[::-1]}}]}
                body = pii.as_body(r, pii.Planted(said, []))
                journal.append_payload(one.id, body, json.dumps(answer).encode(), policy)
            journal.append(one)
        journal.close()
        recorder, clean, plain = Recorder(data), ingest.clean_all, Redactor
        if not redacts:
            ingest.clean_all = lambda *_: None
        recorder.step()
        if not redacts:
            assert recorder._ingest is not None
            recorder._ingest._redactor = _Nothing(b"")
        began, moved = time.process_time(), 0
        try:
            moved = recorder.drain()
        finally:
            ingest.clean_all = clean
        used = time.process_time() - began
        recorder.close()
        assert plain is Redactor
        return used / max(1, moved / (2 if policy != "none" else 1)) * 1e6


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=40_000)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20260731)
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "redaction.json")
    args = parser.parse_args()
    texts, calls = (args.texts // 10, args.calls // 4) if args.quick else (args.texts, args.calls)
    kinds, findings, wrong = count(texts, args.seed)
    rows: list[dict[str, Any]] = [
        {"what": kind, "planted": planted, "found": found, "recall": found / planted}
        for kind, (planted, found) in sorted(kinds.items())
    ]
    planted, found = (sum(one[n] for one in kinds.values()) for n in (0, 1))
    recall, precision = found / planted, 1 - wrong / findings
    rows.append({"what": "all", "planted": planted, "found": found, "recall": recall, "precision": precision})
    for name, us in speed(args.seed).items():
        rows.append({"what": f"µs of CPU per kB of {name}", "figure": us})
    for policy, redacts in (("none", False), ("none", True), ("full", False), ("redacted", True)):
        said = "as before" if not redacts else "redacted"
        what = f"recorder's µs of CPU per call, payloads {policy}, {said}"
        rows.append({"what": what, "figure": record_cost(calls, policy, redacts=redacts)})
    bars = [
        report.bar("recall on the generated corpus", f"≥ {RECALL}", f"{recall:.4f} of {planted:,}", recall >= RECALL),
        report.bar("precision", f"≥ {PRECISION}", f"{precision:.4f} of {findings:,}", precision >= PRECISION),
    ]
    for row in rows:
        print("  ".join(f"{k}: {round(v, 4) if isinstance(v, float) else v}" for k, v in row.items()))
    print(report.bar_lines(bars))
    report.save("redaction", TITLE, rows, bars, args.output, about=(__doc__ or "").split("\n\n")[1])
    return int(any(one["holds"] is False for one in bars))


if __name__ == "__main__":
    sys.exit(main())
