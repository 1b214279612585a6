#!/usr/bin/env python3
"""Measures how fast a recorder moves a journal into its store, and what that costs: SQLite and Postgres.

A journal is written first, in segments as a worker writes them; then one recorder, on the gateway's core, moves it in
its usual batches. Postgres runs on the other core, with fsync and a commit for each batch that waits for the disk.
Every record must be in the store exactly once afterwards. Each run takes the same journal three times over: with
everything on (rollups, redaction, metrics and alerts), without rollups, and with nothing but the records, as before
any of these was there. Figures are medians; bars are held against the slowest run with everything on.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness import report
from harness.procs import GATE_CORE, ROOT, TICKS, BenchError, machine, pin_self, tree
from tests import postgres

TITLE = "From the journal into the store: records per second"
POSTGRES_BAR = 5_000
MODES = ("everything on", "without rollups", "records alone")
# The first batch opens the database and is not counted.
_RECORDER = """
import json, resource, sys, time
from headgate.observe.duties import duties
from headgate.stores import ingest, rollups
from headgate.stores.data import DataDir
from headgate.stores.recorder import Recorder
data, mode = DataDir(sys.argv[1], url=sys.argv[2] or None), sys.argv[3]
recorder = Recorder(data)
beside = duties(data) if mode == "everything on" else []
for duty in beside:
    duty.start()
    if hasattr(duty, "stored"):
        recorder.watchers.append(duty)
    if hasattr(duty, "storing"):
        recorder.preparers.append(duty)
if mode != "everything on":
    rollups.RollupWriter.add = lambda *_: rollups.Tally()
if mode == "records alone":
    ingest.clean_all = lambda *_: None
recorder.step()
began, cpu = time.monotonic(), time.process_time()
moved = recorder.drain()
seconds, used = time.monotonic() - began, time.process_time() - cpu
for duty in beside:
    duty.close()
recorder.close()
print(json.dumps([moved, seconds, used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6]))
"""
_WRITER = """
import sys, time
from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.stores.data import DataDir
data = DataDir(sys.argv[1], url=sys.argv[2] or None)
data.prepare()
data.claim()
journal, ids = data.open_journal(fsync="never", segment_bytes=8 << 20), Ids()
for number in range(int(sys.argv[3])):
    usage = Usage(420, 160, cached=120)
    attempt = AttemptRecord("openai/gpt-4o-mini", "openai", "gpt-4o-mini", 80, 41_000, 930_000, "completed", 200,
                            sent=True, finish="stop", usage=usage, upstream_id=f"chatcmpl-{number}")
    journal.append(Record(ids.new(), time.time_ns(), key_id=f"key_{number % 50:012x}", key_name="service",
                          user=f"user-{number % 2000}", team="search", dialect="openai_chat", model="fast",
                          stream=bool(number % 2), outcome="completed", status=200, finish="stop", usage=usage,
                          attempts=[attempt], winner=0, first_content_us=41_200, duration_us=930_400,
                          request_bytes=1800, response_bytes=900))
journal.close()
"""


def run(script: str, *arguments: object, core: int | None = None) -> str:
    """Runs a Python script, on one core where given, and returns what it prints."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    done = subprocess.run(
        [*pinned, sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(done.stderr[-1000:])
    return done.stdout


def server_cpu(server: postgres.Postgres) -> float:
    """Returns the CPU seconds of a server so far, those of backends that have ended too."""
    assert server.process is not None
    own = server.process.pid
    seconds = 0.0
    for pid in tree(own):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += sum(map(int, fields[11 : 15 if pid == own else 13])) / TICKS
    return seconds


def stored(data: pathlib.Path, url: str, server: postgres.Postgres | None) -> tuple[int, int]:
    """Returns how many calls the store holds, and how many different ones."""
    sql = "SELECT count(*), count(DISTINCT id) FROM calls"
    if server is not None:
        return server.execute(sql, url.rpartition("/")[2])[0]  # type: ignore[return-value]
    import sqlite3

    connection = sqlite3.connect(data / "headgate.db")
    try:
        return connection.execute(sql).fetchone()
    finally:
        connection.close()


def sample(folder: pathlib.Path, records: int, mode: str, server: postgres.Postgres | None) -> dict[str, Any]:
    """Fills a journal and has a recorder move it in one of ``MODES``; returns what that took."""
    url = server.new_database() if server is not None else ""
    run(_WRITER, folder, url, records)
    before = server_cpu(server) if server is not None else 0.0
    moved, seconds, used, memory = json.loads(run(_RECORDER, folder, url, mode, core=GATE_CORE))
    after = server_cpu(server) if server is not None else 0.0
    rows, ids = stored(folder, url, server)
    if server is not None:
        server.drop_database(url)
    return {
        "mode": mode,
        "records_per_s": moved / seconds,
        "recorder_us": used / moved * 1e6,
        "database_us": (after - before) / records * 1e6 if server is not None else None,
        "memory_mb": memory,
        "wrong": abs(rows - records) + abs(ids - records),
    }


def row(store: str, mode: str, records: int, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the table's row of one store and mode: medians."""

    def median(name: str) -> float | None:
        values = [one[name] for one in samples if one[name] is not None]
        return statistics.median(values) if values else None

    return {
        "store": store,
        "recorder": mode,
        "records": records,
        "runs": len(samples),
        "records per second": median("records_per_s"),
        "slowest run": min(one["records_per_s"] for one in samples),
        "recorder CPU µs per record": median("recorder_us"),
        "database CPU µs per record": median("database_us"),
        "recorder MB": median("memory_mb"),
        "not stored exactly once": sum(one["wrong"] for one in samples),
    }


def worker_speed() -> float | None:
    """Returns the most requests a second of one worker, as ``bench/run`` last measured it here.

    None where it did not, or on another machine: speeds of two machines say nothing about each other.
    """
    try:
        result = json.loads((report.RESULTS / "bench.json").read_text())
        contestants, there = result["details"], result["machine"]
    except (OSError, KeyError):
        return None
    here = machine()
    if any(there.get(name) != here[name] for name in ("cpu", "cores", "python")):
        return None
    own = [one.get("requests_per_core_s") for one in contestants if str(one.get("name", "")).startswith("Headgate")]
    return max((speed for speed in own if speed), default=None)


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what must hold."""
    found = []
    for one in rows:
        if one["recorder"] != MODES[0]:
            continue
        speed = one["slowest run"]
        if one["store"] == "SQLite":
            need = worker_speed()
            what = "SQLite: keeps up with one worker at full speed on the other core"
            text = f"≥ {need:,.0f} records/s, as in `bench.json`" if need else "one worker's requests/s on this machine"
            found.append(report.bar(what, text, f"{speed:,.0f} records/s", speed >= need if need else None))
        else:
            text = f"≥ {POSTGRES_BAR:,} records/s"
            found.append(report.bar(one["store"], text, f"{speed:,.0f} records/s", speed >= POSTGRES_BAR))
        wrong = one["not stored exactly once"]
        found.append(report.bar(f"{one['store']}: records not stored exactly once", "0", str(wrong), not wrong))
    return found


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "ingest.json")
    args = parser.parse_args()
    reason = postgres.why_not()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    pin_self()
    durable = {"fsync": "on", "full_page_writes": "on", "wal_level": "replica", "autovacuum": "on"}
    rows, details = [], []
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name, postgres.session():
        for store in ("SQLite", "Postgres"):
            samples = []
            for number in range(args.runs * len(MODES)):
                folder, mode = pathlib.Path(name) / f"{store}{number}", MODES[number % len(MODES)]
                if store == "SQLite":
                    samples.append(sample(folder, args.records, mode, None))
                else:
                    with postgres.Postgres(**durable) as server:
                        samples.append(sample(folder, args.records, mode, server))
                shutil.rmtree(folder)
            rows += [row(store, mode, args.records, [one for one in samples if one["mode"] == mode]) for mode in MODES]
            details += [{"store": store, **one} for one in samples]
    found = bars(rows)
    for one in rows:
        print("\n".join(f"{k}: {round(v, 1) if isinstance(v, float) else v}" for k, v in one.items()), "\n")
    about = (__doc__ or "").split("\n\n")[1]
    return report.finish("ingest", TITLE, rows, found, args.output, about=about, details=details)


if __name__ == "__main__":
    sys.exit(main())
