"""The duty: what it says of itself, and that it costs nothing where nobody wants traces."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from headgate.core.trace import TracePlan
from headgate.observe.metrics.text import Page
from headgate.observe.traces.duty import TracesDuty
from headgate.stores.data import DataDir
from headgate.stores.trace_plan import TRACES

DOCS = pathlib.Path(__file__).resolve().parents[4] / "docs" / "traces.md"


def test_metrics_are_those_of_the_docs(tmp_path: pathlib.Path) -> None:
    """By name and reason; none where there is no plan."""
    data = DataDir(tmp_path / "data")
    data.prepare()
    duty = TracesDuty(data)
    duty.start()
    page = Page()
    duty.write(page)
    assert page.text() == ""
    duty.close()
    TRACES.save(data.path, TracePlan(endpoint="http://127.0.0.1:1"))
    duty = TracesDuty(data)
    duty.start()
    duty.write(page)
    duty.close()
    families = list(text_string_to_metric_families(page.text()))
    there = {sample.name for family in families for sample in family.samples}
    text = DOCS.read_text()
    assert set(re.findall(r"headgate_traces_\w+", text)) == there
    reasons = {sample.labels["reason"] for family in families for sample in family.samples if sample.labels}
    row = next(line for line in text.splitlines() if "`headgate_traces_dropped_total` | reason" in line)
    assert set(re.findall(r"`(\w+)`", row.partition("| reason |")[2])) == reasons


def test_without_a_plan_nothing_is_loaded_for_it(tmp_path: pathlib.Path) -> None:
    """No protobuf, no HTTP client, no thread's work: recorders of most people want none."""
    code = (
        "import sys, pathlib\n"
        "from headgate.observe.traces.duty import TracesDuty\n"
        "from headgate.stores.data import DataDir\n"
        "data = DataDir(pathlib.Path(sys.argv[1])); data.prepare()\n"
        "duty = TracesDuty(data); duty.start(); duty.storing([]); duty.close()\n"
        "print([name for name in sys.modules if name.startswith(('google', 'opentelemetry', 'urllib.request'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "data" / "traces").exists()
