#!/usr/bin/env python3
"""Measures what exporting traces costs the recorder: CPU per record with and without, in one run.

The same journal is moved into SQLite by one recorder on the gateway's core, with everything else on: without traces,
with a collector on the other core that takes them, with a tenth of the traces sampled, and with a collector that is
away. Where there is one, the run lasts until it has everything. Every call's spans must have arrived; ids are counted.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness import report
from harness.procs import GATE_CORE, pin_self
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prove.ingest import _WRITER, run

TITLE = "Traces: what their export costs the recorder"
MODES = ("no traces", "all traces", "a tenth sampled", "collector away")
_RECORDER = """
import json, resource, sys, time
from headgate.core.trace import Provider, TracePlan
from headgate.observe.duties import duties
from headgate.stores.data import DataDir
from headgate.stores.recorder import Recorder
from headgate.stores.trace_plan import TRACES
data, mode, url = DataDir(sys.argv[1]), sys.argv[2], sys.argv[3]
if mode != "no traces":
    share = 0.1 if mode == "a tenth sampled" else 1.0
    endpoint = "http://127.0.0.1:1/v1/traces" if mode == "collector away" else url
    TRACES.save(data.path, TracePlan(endpoint=endpoint, sampling=share, every=0.2,
                                     providers={"openai": Provider("openai", "api.openai.com", 443)}))
recorder = Recorder(data)
beside = duties(data)
for duty in beside:
    duty.start()
    if hasattr(duty, "stored"):
        recorder.watchers.append(duty)
    if hasattr(duty, "storing"):
        recorder.preparers.append(duty)
traces = beside[-1]
began, cpu = time.monotonic(), time.process_time()
moved = recorder.drain()
stored = time.monotonic() - began
while mode in ("all traces", "a tenth sampled") and traces.pending:
    time.sleep(0.05)
seconds, used = time.monotonic() - began, time.process_time() - cpu
for duty in beside:
    duty.close()
recorder.close()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps([moved, stored, seconds, used, memory, traces.pending]))
"""


class Sink(http.server.ThreadingHTTPServer):
    """A collector that counts: spans, and how many different ones."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.count = 0
        self.ids: set[bytes] = set()
        self.lock = threading.Lock()

    def forget(self) -> None:
        """Begins anew."""
        self.count, self.ids = 0, set()


class _Take(http.server.BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                with self.server.lock:
                    self.server.count += len(scope.spans)
                    self.server.ids.update(span.span_id for span in scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def sample(folder: pathlib.Path, records: int, mode: str, sink: Sink) -> dict[str, Any]:
    """Fills a journal and has a recorder move and export it."""
    sink.forget()
    run(_WRITER, folder, "", records)
    url = f"http://127.0.0.1:{sink.server_address[1]}/v1/traces"
    moved, stored, seconds, used, memory, waiting = json.loads(run(_RECORDER, folder, mode, url, core=GATE_CORE))
    wanted = {"no traces": 0, "all traces": 2 * records, "collector away": 0}.get(mode)
    return {
        "mode": mode,
        "recorder_us": used / moved * 1e6,
        "stored_per_s": moved / stored,
        "exported_per_s": moved / seconds if sink.count else None,
        "memory_mb": memory,
        "spans": sink.count,
        "twice": sink.count - len(sink.ids),
        "missing": 0 if wanted is None else wanted - len(sink.ids),
        "waiting": waiting,
    }


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "traces.json")
    args = parser.parse_args()
    pin_self()
    sink = Sink()
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    samples: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        for number in range(args.runs * len(MODES)):
            folder = pathlib.Path(name) / str(number)
            samples.append(sample(folder, args.records, MODES[number % len(MODES)], sink))
            shutil.rmtree(folder)
    sink.shutdown()
    rows = []
    for mode in MODES:
        own = [one for one in samples if one["mode"] == mode]
        exported = [one["exported_per_s"] for one in own if one["exported_per_s"]]
        rows.append(
            {
                "traces": mode,
                "records": args.records,
                "runs": len(own),
                "recorder CPU µs per record": statistics.median(one["recorder_us"] for one in own),
                "stored per second": statistics.median(one["stored_per_s"] for one in own),
                "stored and exported per second": statistics.median(exported) if exported else None,
                "recorder MB": max(one["memory_mb"] for one in own),
                "spans missing": sum(one["missing"] for one in own),
                "spans twice": sum(one["twice"] for one in own),
            }
        )
    missing = sum(one["missing"] for one in samples)
    kept = min(one["waiting"] for one in samples if one["mode"] == "collector away")
    found = [
        report.bar("Spans that a collector that is there did not get", "0", str(missing), not missing),
        report.bar("Calls that wait while it is away", f"{args.records}", str(kept), kept == args.records),
    ]
    for one in rows:
        print("\n".join(f"{k}: {round(v, 1) if isinstance(v, float) else v}" for k, v in one.items()), "\n")
    about = (__doc__ or "").split("\n\n")[1]
    return report.finish("traces", TITLE, rows, found, args.output, about=about, details=samples)


if __name__ == "__main__":
    sys.exit(main())
