"""Traces of what a recorder stores: whatever the database is, and wherever it is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
from tests.receivers import Collector, attributes_of, eventually

from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.core.trace import TracePlan
from headgate.core.usage import Usage
from headgate.observe.traces.duty import TracesDuty
from headgate.observe.traces.source import StoreSource
from headgate.stores.data import DataDir
from headgate.stores.recorder import Recorder
from headgate.stores.trace_plan import TRACES

IDS = Ids()


def record(**fields: object) -> Record:
    """A call that one deployment answered."""
    attempt = AttemptRecord("up/m", "up", "m", 10, 20, 30, "completed", 200, usage=Usage(3, 4), finish="stop")
    base = {"dialect": "openai_chat", "model": "fast", "outcome": "completed", "status": 200, "duration_us": 40}
    return Record(IDS.new(), time.time_ns(), attempts=[attempt], winner=0, **{**base, **fields})  # type: ignore[arg-type]


def write(data: DataDir, *records: Record) -> list[str]:
    """Journals calls."""
    journal = data.open_journal()
    for one in records:
        journal.append(one)
    journal.close()
    return [one.id for one in records]


def calls(collector: Collector) -> list[str]:
    """The calls that a collector has taken."""
    return [str(attributes_of(span)["headgate.call.id"]) for span in collector.spans if span.kind == 2]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that takes everything."""
    with Collector() as one:
        yield one


def begin(data: DataDir, collector: Collector, **plan: object) -> tuple[Recorder, TracesDuty]:
    """A recorder with its duty, as in its own process."""
    data.prepare()
    TRACES.save(data.path, TracePlan(endpoint=collector.url, every=0.1, **plan))  # type: ignore[arg-type]
    recorder, duty = Recorder(data), TracesDuty(data)
    recorder.watchers.append(duty)
    recorder.preparers.append(duty)
    duty.start()
    return recorder, duty


def test_what_is_stored_is_exported(data: DataDir, collector: Collector) -> None:
    """Once, and nothing is left over."""
    recorder, duty = begin(data, collector)
    ids = write(data, *(record() for _ in range(20)))
    recorder.drain()
    eventually(lambda: len(calls(collector)) == 20)
    assert sorted(calls(collector)) == sorted(ids)
    eventually(lambda: duty.pending == 0)
    duty.close()
    recorder.close()
    assert len(calls(collector)) == 20


def test_a_recorder_that_is_killed_after_storing_is_made_up_for(data: DataDir, collector: Collector) -> None:
    """Between the transaction and what follows it: the next one reads the calls from the store."""
    recorder, duty = begin(data, collector)
    duty.close()
    recorder.watchers.clear()  # killed before it could tell
    parent = f"{'ab' * 16}-{'cd' * 8}-01"
    ids = write(data, record(parent=parent, trace=parent[:32]), record(session="s"))
    recorder.drain()
    recorder.close()
    recorder, duty = begin(data, collector)
    eventually(lambda: len(calls(collector)) == 2)
    duty.close()
    recorder.close()
    assert sorted(calls(collector)) == sorted(ids)
    spans = {attributes_of(span)["headgate.call.id"]: span for span in collector.spans if span.kind == 2}
    assert (spans[ids[0]].trace_id.hex(), spans[ids[0]].parent_span_id.hex()) == (parent[:32], "cd" * 8)
    assert attributes_of(spans[ids[1]])["session.id"] == "s"


def test_a_recorder_that_is_killed_before_storing_exports_nothing_twice(data: DataDir, collector: Collector) -> None:
    """What was noted and never stored is not in the store; it is noted again when it is."""
    recorder, duty = begin(data, collector)
    one = record()
    duty.storing([one])
    duty.close()
    recorder.close()
    recorder, duty = begin(data, collector)
    eventually(lambda: duty.pending == 0)
    assert calls(collector) == []
    write(data, one)
    recorder.drain()
    eventually(lambda: calls(collector) == [one.id])
    duty.close()
    recorder.close()


def test_each_machine_exports_what_it_recorded(data: DataDir, collector: Collector, tmp_path) -> None:
    """Also where they share one database."""
    recorder, duty = begin(data, collector)
    other = DataDir(tmp_path / "other", url=data.given_url)
    with Collector() as second:
        recorder2, duty2 = begin(other, second)
        first_ids, second_ids = write(data, record(), record()), write(other, record())
        recorder.drain()
        recorder2.drain()
        eventually(lambda: len(calls(collector)) == 2 and len(calls(second)) == 1)
        for one in (duty, duty2, recorder, recorder2):
            one.close()
        assert (sorted(calls(collector)), calls(second)) == (sorted(first_ids), second_ids)


def test_a_plan_comes_changes_and_goes(data: DataDir, collector: Collector) -> None:
    """Without another recorder; what waits is forgotten once nobody wants it."""
    data.prepare()
    recorder, duty = Recorder(data), TracesDuty(data)
    recorder.watchers.append(duty)
    recorder.preparers.append(duty)
    duty.start()
    write(data, record())
    recorder.drain()
    assert not (data.path / "traces").exists()
    TRACES.save(data.path, TracePlan(endpoint="http://127.0.0.1:1", every=0.1))
    eventually(lambda: duty.plan is not None)
    ids = write(data, record())
    recorder.drain()
    eventually(lambda: duty.pending == 1)
    TRACES.save(data.path, TracePlan(endpoint=collector.url, every=0.1, timeout=2.0))
    eventually(lambda: calls(collector) == ids, 30)
    TRACES.save(data.path, TracePlan(endpoint="http://127.0.0.1:1", every=0.1))
    eventually(lambda: duty.plan is not None and duty.plan.endpoint.endswith(":1"))
    write(data, record())
    recorder.drain()
    eventually(lambda: duty.pending == 1)
    TRACES.save(data.path, None)
    eventually(lambda: duty.pending == 0)
    assert list((data.path / "traces").iterdir()) == []
    duty.close()
    recorder.close()
    assert calls(collector) == ids


def test_content_is_read_as_it_is_kept(data: DataDir) -> None:
    """Messages, system instructions, tools, parameters and the answer, in the convention's shapes; redacted."""
    data.prepare()
    tool = {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": {"type": "object"}}}
    called = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "bob@example.com"}'}}
    asked = {
        "model": "fast",
        "temperature": 0.5,
        "seed": 7,
        "n": 2,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
        "tools": [tool],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "http://x/y"}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ],
    }
    choice = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": None, "tool_calls": [called]},
    }
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    one = record(payloads="redacted")
    cut = record(payloads="redacted")
    nothing = record()
    journal = data.open_journal()
    for each in (one, cut, nothing):
        journal.append(each)
    encode = msgspec.json.encode
    journal.append_payload(one.id, encode(asked), encode(answer), "redacted")
    journal.append_payload(cut.id, b'{"model": ', b'data: {"choices": [{"index": 0, "delta"', "redacted")
    journal.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    source = StoreSource(data)
    told = source.content([one, cut, nothing])
    source.close()
    assert told.keys() == {one.id, cut.id}
    assert told[cut.id] == {}
    found = dict(told[one.id])
    messages = msgspec.json.decode(str(found.pop("gen_ai.input.messages")))
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[0]["parts"] == [{"type": "text", "content": "Hi"}, {"type": "image"}]
    arguments = messages[1]["parts"][0].pop("arguments")
    assert arguments["at"].startswith("[EMAIL:")
    assert messages[1]["parts"] == [{"type": "tool_call", "id": "c1", "name": "look"}]
    assert messages[2]["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "found"}]
    said = msgspec.json.decode(str(found.pop("gen_ai.output.messages")))
    assert said[0]["finish_reason"] == "tool_call"
    assert said[0]["parts"][0]["name"] == "look"
    system = msgspec.json.decode(str(found.pop("gen_ai.system_instructions")))
    assert system == [{"type": "text", "content": "Be brief."}]
    assert msgspec.json.decode(str(found.pop("gen_ai.tool.definitions")))[0]["name"] == "look"
    assert found == {
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.output.type": "json",
    }
