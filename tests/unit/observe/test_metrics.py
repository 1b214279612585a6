"""Metrics: a page that Prometheus reads, from the first second on, whatever callers call their models."""

from __future__ import annotations

import json
import pathlib
import re
import time
from collections.abc import Iterator

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.observe.metrics.counts import MOST, OTHER, UNKNOWN
from headgate.observe.metrics.duty import FILE, MetricsDuty, write_workers
from headgate.observe.metrics.text import Page
from headgate.observe.worker import DeploymentReport, WorkerReport
from headgate.stores.data import DataDir
from headgate.stores.recorder import Recorder

ROOT = pathlib.Path(__file__).resolve().parents[3]
LINE = re.compile(r"^[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eEinfNa]+( \d+)?$")
IDS = Ids()


def call(**fields: object) -> Record:
    usage = Usage(10, 20, cached=5)
    attempt = AttemptRecord("up/gpt", "up", "gpt", 0, outcome="completed", status=200, usage=usage, cost=1_500_000)
    base: dict[str, object] = {
        "model": "fast",
        "dialect": "openai_chat",
        "outcome": "completed",
        "status": 200,
        "finish": "stop",
        "stream": True,
        "usage": usage,
        "attempts": [attempt],
        "winner": 0,
        "cost": 1_500_000,
        "first_content_us": 300_000,
        "duration_us": 1_300_000,
    }
    return Record(IDS.new(), time.time_ns(), **{**base, **fields})  # type: ignore[arg-type]


class Gauges:
    """A recorder with the duty of metrics beside it."""

    def __init__(self, data: DataDir) -> None:
        self.data = data
        self.duty = MetricsDuty(data)
        self.recorder = Recorder(data)
        self.recorder.watchers.append(self.duty)

    def record(self, *records: Record) -> None:
        journal = self.data.open_journal()
        for record in records:
            journal.append(record)
        journal.close()
        self.recorder.drain()

    def read(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Returns the page as the official parser reads it: values by sample name and label values."""
        text = self.duty.page()
        assert [line for line in text.splitlines() if not line.startswith("#") and not LINE.match(line)] == []
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation
            assert family.type in ("counter", "gauge", "histogram")
            for sample in family.samples:
                values = found.setdefault(sample.name, {})
                key = tuple(sample.labels.values())
                assert key not in values
                values[key] = sample.value
        return found


@pytest.fixture
def gauges(sqlite_data: DataDir) -> Iterator[Gauges]:
    made = Gauges(sqlite_data)
    yield made
    made.recorder.close()


def test_before_any_call(gauges: Gauges) -> None:
    """Well formed at once, with the gauges of the gateway itself, and every family's help."""
    found = gauges.read()
    assert found["headgate_workers"] == {(): 0}
    assert found["headgate_journal_waiting_bytes"] == {(): 0}
    assert len(gauges.duty.page().splitlines()) > 60


def test_what_is_counted(gauges: Gauges) -> None:
    """Calls, errors, tokens, money, finish reasons, attempts and times; each call once."""
    lost = AttemptRecord("up/old", "up", "old", 0, outcome="failed", error="timeout", cost=500_000, usage=Usage(1))
    failed = call(outcome="failed", status=504, error="timeout", attempts=[lost], winner=-1, cost=500_000, usage=None)
    both = call(attempts=[lost, call().attempts[0]], winner=1, cost=2_000_000)
    gauges.record(call(), call(), failed, both)
    found = gauges.read()
    assert found["headgate_calls_total"] == {
        ("fast", "up/gpt", "completed", "200"): 3,
        ("fast", "up/old", "completed", "200"): 0,
        ("fast", "up/old", "failed", "504"): 1,
    }
    assert found["headgate_errors_total"] == {("fast", "timeout"): 1}
    assert found["headgate_tokens_total"]["fast", "up/gpt", "output"] == 60
    assert found["headgate_cost_dollars_total"] == {("fast", "up/gpt"): 0.0045, ("fast", "up/old"): 0.001}
    assert found["headgate_attempts_total"] == {("up/gpt", "completed", ""): 3, ("up/old", "failed", "timeout"): 2}
    assert found["headgate_fallbacks_total"] == {("fast",): 1}
    assert found["headgate_finishes_total"] == {("fast", "stop"): 4}
    buckets = found["headgate_call_duration_seconds_bucket"]
    assert (buckets["fast", "1"], buckets["fast", "2"], buckets["fast", "+Inf"]) == (0, 3, 3)
    assert found["headgate_call_duration_seconds_sum"]["fast",] == pytest.approx(3.9, rel=0.01)
    assert found["headgate_first_content_seconds_count"] == {("fast",): 3}
    assert found["headgate_tokens_per_second_bucket"]["fast", "40"] == 3
    assert found["headgate_records_stored_total"] == {(): 4}


def test_names_that_callers_make_up(gauges: Gauges) -> None:
    """Unknown models are one label, other words are bounded in number, and no sign breaks a line."""
    gauges.record(call(model="bogus", outcome="refused", error="unknown_model", attempts=[], winner=-1, status=404))
    gauges.record(call(model='odd"\\\n\x85\u2028name'))
    gauges.record(*(call(model=f"m{number}") for number in range(MOST + 50)))
    found = gauges.read()
    models = {key[0] for key in found["headgate_calls_total"]}
    assert "bogus" not in models
    assert {UNKNOWN, OTHER} <= models
    assert len(models) <= MOST + 1
    assert sum(found["headgate_calls_total"].values()) == MOST + 52
    assert any("odd" in model for model in models)


def test_the_journal_that_waits(gauges: Gauges) -> None:
    """Bytes not yet stored are told, and since when."""
    journal = gauges.data.open_journal()
    journal.append(call())
    gauges.duty._caught_up -= 5
    waiting = gauges.read()
    assert waiting["headgate_journal_waiting_bytes"][()] > 100
    assert waiting["headgate_recorder_lag_seconds"][()] >= 5
    gauges.recorder.step()
    assert gauges.read()["headgate_journal_waiting_bytes"] == {(): 0}
    journal.close()


def test_workers_and_breakers() -> None:
    """What workers report is added up; of breakers, the worst is shown."""
    one = WorkerReport(7, 3, 1, 1000, 2.5, 0.0, {"a/m": DeploymentReport("closed", False, 1, 2, 0)})
    two = WorkerReport(9, 4, 0, 2000, 0.5, 0.0, {"a/m": DeploymentReport("open", True, 2, 0, 5)})
    page = Page()
    write_workers(page, [one, two])
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text())
        for sample in family.samples
    }
    assert found["headgate_workers",] == 2
    assert found["headgate_calls_open",] == 7
    assert found["headgate_unauthenticated_total",] == 1
    assert found["headgate_worker_resident_bytes", "1"] == 2000
    assert found["headgate_breaker_state", "a/m"] == 2
    assert found["headgate_breaker_opened_total", "a/m"] == 3
    assert found["headgate_deployment_paused", "a/m"] == 1
    assert found["headgate_deployment_waiting", "a/m"] == 5


def test_the_page_is_written_by_itself(gauges: Gauges) -> None:
    """Once a second, whole, and a last time at the end."""
    gauges.duty.start()
    gauges.duty.close()
    text = (gauges.data.path / FILE).read_text()
    assert "headgate_build_info" in text
    assert list(gauges.data.path.glob(f"{FILE}.*")) == []


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\bheadgate_[a-z_]+", text))


def test_dashboard_and_rules_name_what_there_is(gauges: Gauges) -> None:
    """Every metric that the shipped Grafana dashboard, the alert rules and the documentation name exists."""
    gauges.record(call())
    report = WorkerReport(7, 3, 1, 1000, 2.5, 0.0, {"a/m": DeploymentReport("closed", False, 1, 2, 0)})
    page = Page()
    write_workers(page, [report])
    families = list(text_string_to_metric_families(gauges.duty.page() + page.text()))
    there = {sample.name for family in families for sample in family.samples}
    there |= {family.name for family in families} | {f"{family.name}_total" for family in families}
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "headgate.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) > 25
    for expression in expressions:
        assert expression.count("(") == expression.count(")")
        assert names_in(expression)
        assert names_in(expression) <= there, expression
    documented = names_in((ROOT / "docs" / "observability.md").read_text())
    assert documented <= there
    counters = {name for name in there if name.endswith("_total")}
    described = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert described - documented == set(), "name it in docs/observability.md"
    assert counters
