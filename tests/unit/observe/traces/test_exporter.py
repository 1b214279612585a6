"""The exporter: what is sent, again or not, and what is dropped; against a collector on a real socket."""

from __future__ import annotations

import functools
import logging
import pathlib
from collections.abc import Mapping, Sequence

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from tests.receivers import Collector, attributes_of

from headgate.core.clock import FixedClock
from headgate.core.record import Record
from headgate.core.trace import TracePlan
from headgate.observe.traces import exporter as module
from headgate.observe.traces.exporter import Exporter
from headgate.observe.traces.pending import PendingCalls
from headgate.observe.traces.sender import post
from headgate.observe.traces.span import Value

from .cases import CASES, PROVIDERS


class Shelf:
    """A store: what it has, and what it was asked for."""

    def __init__(self) -> None:
        self.has: dict[str, Record] = {}
        self.said: dict[str, Mapping[str, Value]] = {}
        self.asked: list[str] = []

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        self.asked += ids
        return {id: self.has[id] for id in ids if id in self.has}

    def content(self, records: Sequence[Record]) -> Mapping[str, Mapping[str, Value]]:
        return {record.id: self.said[record.id] for record in records if record.id in self.said}


class Bench:
    """An exporter with all that belongs to it."""

    def __init__(self, directory: pathlib.Path, collector: Collector, **plan: object) -> None:
        self.clock = FixedClock()
        self.shelf = Shelf()
        self.pending = PendingCalls(directory)
        self.plan = TracePlan(
            endpoint=f"{collector.url}/v1/traces",
            providers=PROVIDERS,
            timeout=1.0,
            **plan,  # type: ignore[arg-type]
        )
        self.exporter = self.restart()

    def restart(self) -> Exporter:
        """As a new recorder would do."""
        send = functools.partial(post, version="1")
        fixed = {"service.version": "1"}
        self.exporter = Exporter(self.pending, self.shelf, send, fixed, "1", self.clock.monotonic)
        return self.exporter

    def store(self, *numbers: int, case: str = "stream", kept: bool = True) -> None:
        """Stores calls by number."""
        records = []
        for number in numbers:
            record = CASES[case]()
            record.id, record.trace = f"hg_{number}", ""
            records.append(record)
        self.shelf.has |= {record.id: record for record in records}
        self.pending.append([record.id for record in records])
        self.pending.commit()
        if kept:
            self.exporter.keep(records)

    def run(self) -> None:
        """Sends what can be sent."""
        self.exporter.run(self.plan, lambda: False)


def calls(collector: Collector) -> list[str]:
    """The calls whose own span was taken."""
    return [str(attributes_of(span)["headgate.call.id"]) for span in collector.spans if span.kind == 2]


def test_what_is_stored_is_sent_once(tmp_path: pathlib.Path) -> None:
    """From memory, many in a request; nothing is left."""
    with Collector() as collector:
        bench = Bench(tmp_path, collector, service="gate", attributes={"region": "eu"})
        bench.store(*range(5))
        bench.run()
        bench.run()
        assert calls(collector) == [f"hg_{number}" for number in range(5)]
        assert len(collector.batches) == 1
        assert bench.shelf.asked == []
        counts = bench.exporter.counts
        assert (counts.calls, counts.spans, counts.failures, bench.pending.waiting) == (5, 10, 0, 0)
        resource = attributes_of(collector.batches[0].resource_spans[0].resource)
        assert resource == {"service.name": "gate", "service.version": "1", "region": "eu"}


@pytest.mark.parametrize("answer", [503, 429, 500, 401, 404, 302, "break", "stall"])
def test_a_collector_that_does_not_take_it_is_asked_again(tmp_path: pathlib.Path, answer: int | str) -> None:
    """Whatever is no word about the data itself: later, with the same ids; nothing is dropped."""
    with Collector(lambda n: answer if n == 0 else 200) as collector:
        bench = Bench(tmp_path, collector)
        bench.store(1, 2)
        bench.run()
        assert (calls(collector), bench.pending.waiting, bench.exporter.counts.failures) == ([], 2, 1)
        bench.clock.advance(2.0)
        bench.run()
        assert calls(collector) == ["hg_1", "hg_2"]
        assert sum(bench.exporter.counts.dropped.values()) == 0
        assert collector.bodies[0] == collector.bodies[1]


def test_waits_grow_and_are_those_that_were_asked_for(tmp_path: pathlib.Path) -> None:
    """No storm on a collector that is away for long."""
    with Collector(lambda n: "break") as collector:
        bench = Bench(tmp_path, collector)
        bench.store(1)
        for _ in range(200):
            bench.run()
            bench.clock.advance(1.0)
        assert 5 <= len(collector.requests) <= 12
    with Collector(lambda n: 503) as collector:  # it says: retry-after: 0
        bench = Bench(tmp_path / "other", collector)
        bench.store(1)
        for _ in range(3):
            bench.run()
        assert len(collector.requests) == 3


def test_a_call_that_is_refused_is_dropped_alone(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its neighbours go; it is counted and said."""
    collector = Collector()
    collector.script = lambda n: 400 if b"hg_5" in collector.bodies[n] else 200
    with collector, caplog.at_level(logging.WARNING):
        bench = Bench(tmp_path, collector)
        bench.store(*range(10))
        bench.run()
        assert calls(collector) == [f"hg_{number}" for number in range(10) if number != 5]
        assert bench.exporter.counts.dropped["refused"] == 1
        assert "dropped: 127.0.0.1 answered with status 400" in caplog.text


def test_a_collector_that_refuses_everything_is_no_reason_to_drop_everything(tmp_path: pathlib.Path) -> None:
    """After some calls it waits, and goes on once it is mended."""
    answer = [400]
    with Collector(lambda n: answer[0]) as collector:
        bench = Bench(tmp_path, collector)
        bench.store(*range(100))
        bench.run()
        assert bench.exporter.counts.dropped["refused"] == 10
        assert bench.pending.waiting == 90
        answer[0] = 200
        bench.clock.advance(2.0)
        bench.run()
        assert len(calls(collector)) == 90


def test_a_part_that_a_collector_did_not_take_is_counted(tmp_path: pathlib.Path) -> None:
    """It says so in its answer; sent again they would be refused again."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    with Collector(lambda n: answer.SerializeToString()) as collector:
        bench = Bench(tmp_path, collector)
        bench.store(1, 2)
        bench.run()
        assert (bench.exporter.counts.spans, bench.exporter.counts.dropped["refused"]) == (1, 3)
        assert bench.pending.waiting == 0


def test_what_is_not_in_memory_is_read_from_the_store(tmp_path: pathlib.Path) -> None:
    """After a restart, or where memory is full, or after some time; what is gone from the store is left out."""
    with Collector() as collector:
        bench = Bench(tmp_path, collector)
        bench.store(1, 2, 3)
        bench.restart()
        bench.store(4)
        bench.store(5, kept=False)
        del bench.shelf.has["hg_2"]
        bench.run()
        assert calls(collector) == ["hg_1", "hg_3", "hg_4", "hg_5"]
        assert bench.exporter.counts.dropped["not_found"] == 1
        bench.store(6)
        bench.clock.advance(module.FRESH_S + 1)
        del bench.shelf.has["hg_6"]
        bench.run()
        assert "hg_6" not in calls(collector), "erased meanwhile"


def test_memory_is_bounded(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is read again; nothing is lost."""
    monkeypatch.setattr(module, "KEPT", 10)
    with Collector() as collector:
        bench = Bench(tmp_path, collector)
        bench.store(*range(30))
        bench.run()
        assert len(bench.shelf.asked) == 20
        assert len(calls(collector)) == 30


def test_the_oldest_make_room_where_too_many_wait(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """Counted and said."""
    with Collector() as collector, caplog.at_level(logging.WARNING):
        bench = Bench(tmp_path, collector, pending=4)
        bench.store(*range(10))
        bench.run()
        assert calls(collector) == ["hg_6", "hg_7", "hg_8", "hg_9"]
        assert bench.exporter.counts.dropped["backlog"] == 6
        assert "over 4 wait for the collector" in caplog.text


def test_a_share_is_sent_and_everything_that_failed(tmp_path: pathlib.Path) -> None:
    """Whole traces; errors whatever the share is."""
    with Collector() as collector:
        bench = Bench(tmp_path, collector, sampling=0.2)
        bench.store(*range(200))
        bench.store(*range(1000, 1010), case="error")
        bench.run()
        found = calls(collector)
        assert 20 <= len([id for id in found if int(id[3:]) < 1000]) <= 60
        assert len([id for id in found if int(id[3:]) >= 1000]) == 10
        assert bench.exporter.counts.sampled_out == 210 - len(found)
        assert bench.pending.waiting == 0


def test_content_is_waited_for(tmp_path: pathlib.Path) -> None:
    """Payloads may be stored a batch later; a call without any goes without."""
    with Collector() as collector:
        bench = Bench(tmp_path, collector, content=True)
        bench.store(1, 2)
        bench.run()
        assert collector.requests == []
        bench.shelf.said["hg_1"] = {"gen_ai.input.messages": "[1]"}
        bench.clock.advance(module.SETTLE_S + 0.1)
        bench.run()
        told = {
            attributes_of(span)["headgate.call.id"]: attributes_of(span).get("gen_ai.input.messages")
            for span in collector.spans
            if span.kind == 3
        }
        assert told == {"hg_1": "[1]", "hg_2": None}


def test_a_call_that_can_not_be_told_holds_up_no_other(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped and said; its neighbours go."""
    with Collector() as collector, caplog.at_level(logging.WARNING):
        bench = Bench(tmp_path, collector)
        bench.store(1, 2, 3)
        bench.shelf.has["hg_2"].max_tokens = 1 << 70
        bench.run()
        assert calls(collector) == ["hg_1", "hg_3"]
        assert (bench.exporter.counts.dropped["malformed"], bench.pending.waiting) == (1, 0)
        assert "hg_2 can not be told" in caplog.text


def test_requests_are_of_bounded_size(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with content; one that alone is larger goes alone."""
    monkeypatch.setattr(module, "BODY_BYTES", 20_000)
    with Collector() as collector:
        bench = Bench(tmp_path, collector, content=True)
        bench.store(*range(20))
        bench.shelf.said = {f"hg_{n}": {"gen_ai.input.messages": "x" * 3000} for n in range(20)}
        bench.shelf.said["hg_7"] = {"gen_ai.input.messages": "x" * 30_000}
        bench.clock.advance(module.SETTLE_S + 0.1)
        bench.run()
        assert len(calls(collector)) == 20
        sizes = sorted(len(body) for body in collector.bodies)
        assert sizes[-1] > 30_000
        assert sizes[-2] < 21_000
