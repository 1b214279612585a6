"""Feedback from the journal to the store and back: once, joined whichever came first, counted if allowed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select

from headgate.core.clock import Ids
from headgate.core.errors import BadRequest, Unavailable
from headgate.core.feedback import make_feedback
from headgate.core.record import AttemptRecord, Record
from headgate.core.tape import Tape, TapedError
from headgate.core.usage import Usage
from headgate.observe.replay.recorded import load_recorded
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.journal.writer import JournalWriter
from headgate.stores.query import CallStore, Filters
from headgate.stores.recorder import Recorder
from headgate.stores.retention import Retention
from headgate.stores.satisfaction import FeedbackStore, Step
from headgate.stores.schema import feedback, tapes
from headgate.stores.sweep import sweep
from headgate.stores.tails import Tails

IDS = Ids()
DAY_NS = 86_400 * 10**9
NOW = time.time_ns()


class PulledPlug(BaseException):
    """Stands for the process being killed right here."""


def record(**fields: object) -> Record:
    """Makes a Record of a whole answer."""
    attempt = AttemptRecord("up/m", "up", "m", 1, 2, 3, "completed", 200, usage=Usage(1, 2), cost=500)
    base: dict[str, object] = {"time_ns": NOW, "model": "m", "outcome": "completed", "attempts": [attempt]}
    base |= {"key_id": "key_1", "winner": 0, "usage": Usage(1, 2), "cost": 500, "duration_us": 2_000_000}
    return Record(IDS.new(), **{**base, **fields})  # type: ignore[arg-type]


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


def drain(data: DataDir) -> None:
    """Has a recorder of its own move all there is."""
    recorder = Recorder(data)
    try:
        recorder.drain()
    finally:
        recorder.close()


def test_feedback_joins_its_call_whichever_comes_first(data: DataDir, engine: Engine) -> None:
    """Given before the Record is stored it waits, and counts once that is there; the same given twice is kept once."""
    one, journal = record(), data.open_journal()
    said = make_feedback(one.id, time_ns=NOW, key_id="key_1", score=1, label="good", comment="zwei\nZeilen")
    journal.append_feedback(said)
    drain(data)
    store = FeedbackStore(engine)
    assert store.series([], Filters()) == []
    journal.append(one)
    journal.append_feedback(make_feedback(one.id, time_ns=NOW + 5, key_id="key_1", score=0.5))
    journal.append_feedback(said)
    journal.close()
    drain(data)
    found = CallStore(engine).find(one.id)
    assert found is not None
    assert [(each["score"], each["label"], each["comment"]) for each in found["feedback"]] == [
        (1.0, "good", "zwei\nZeilen"),
        (0.5, None, None),
    ]


def test_only_the_calls_own_key_or_somebody_trusted_counts(data: DataDir, engine: Engine) -> None:
    """Another key's feedback, taken while the call was unknown, shows nowhere; an admin's does."""
    one, journal = record(), data.open_journal()
    journal.append_feedback(make_feedback(one.id, time_ns=NOW, key_id="key_2", score=0))
    journal.append_feedback(make_feedback(one.id, time_ns=NOW, key_id="key_3", score=1, trusted=True))
    journal.append(one)
    journal.close()
    drain(data)
    found = CallStore(engine).find(one.id)
    assert found is not None
    assert [each["key_id"] for each in found["feedback"]] == ["key_3"]
    assert FeedbackStore(engine).series([], Filters())[0].score == 1.0
    assert [row["key_id"] for row in FeedbackStore(engine).page(Filters(), 10)] == ["key_3"]


@pytest.mark.parametrize("step", ["collect", "_write", "store", "remove", "forget"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_all_feedback_is_there_once(
    sqlite_data: DataDir, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """A recorder that dies before or after any of its steps leaves the next one to finish: nothing lost or doubled."""
    journal = sqlite_data.open_journal()
    calls = [record() for _ in range(4)]
    for number, one in enumerate(calls):
        journal.append_feedback(make_feedback(one.id, time_ns=NOW, key_id="key_1", score=number / 4))
        journal.append(one)
    journal.close()
    recorder = Recorder(sqlite_data, limit=3)
    recorder.step()
    owner = Tails if step in ("collect", "remove") else Ingest
    original = getattr(owner, step)

    def broken(self: object, *arguments: object) -> None:
        if when == "after":
            original(self, *arguments)
        raise PulledPlug

    monkeypatch.setattr(owner, step, broken)
    with pytest.raises(PulledPlug):
        recorder.drain()
    monkeypatch.undo()
    recorder.close()
    drain(sqlite_data)
    engine = sqlite_data.open_engine()
    with engine.connect() as connection:
        assert connection.execute(select(func.count(), func.sum(feedback.c.score))).one() == (4, 1.5)
    assert FeedbackStore(engine).series([], Filters())[0].calls == 4
    engine.dispose()


def test_a_series_stands_next_to_cost_and_latency(data: DataDir, engine: Engine) -> None:
    """Mean and bad scores by day and model, with number, cost and mean time of all the calls there, judged or not."""
    journal = data.open_journal()
    for model, days, scores in (("a", 0, (1, 0)), ("a", 1, (0.25,)), ("b", 0, (0.75,)), ("b", 0, ())):
        one = record(model=model, time_ns=NOW - days * DAY_NS, feature="chat" if model == "a" else "")
        journal.append(one)
        for score in scores:
            journal.append_feedback(make_feedback(one.id, time_ns=NOW, key_id="key_1", score=score))
    words = record(model="c")
    journal.append(words)
    journal.append_feedback(make_feedback(words.id, time_ns=NOW, key_id="key_1", label="typo"))
    journal.close()
    drain(data)
    store = FeedbackStore(engine)
    rows = {row.group[1:]: row for row in store.series(["day", "model"], Filters(since_ns=NOW - DAY_NS // 2))}
    shown = {group[0]: (r.feedback, r.score, r.bad, r.calls, r.cost, r.latency) for group, r in rows.items()}
    assert shown == {
        "a": (2, 0.5, 1, 1, 500, pytest.approx(2.0, rel=0.01)),
        "b": (1, 0.75, 0, 2, 1000, pytest.approx(2.0, rel=0.01)),
        "c": (1, None, 0, 1, 500, pytest.approx(2.0, rel=0.01)),
    }
    (sums,) = store.series([], Filters())
    assert (sums.feedback, sums.calls, sums.cost) == (5, 5, 2500)
    assert {r.group: (r.calls, r.cost) for r in store.series(["key"], Filters())} == {("key_1",): (5, 2500)}
    crossed = store.series(["model", "feature"], Filters(since_ns=NOW - DAY_NS // 2))
    assert {r.group: (r.calls, r.latency) for r in crossed} == {
        ("a", "chat"): (1, None),
        ("b", ""): (2, None),
        ("c", ""): (1, None),
    }
    assert [row.score for row in store.series(["day"], Filters(model="a"))] == [0.25, 0.5]
    assert {row.group[0]: row.calls for row in store.series(["label"], Filters())} == {"": None, "typo": None}
    assert [row.group[0] for row in store.series(["feature"], Filters(feature="chat"))] == ["chat"]
    assert store.scores(NOW - 1, NOW + 1) == (4, 0.5)
    assert store.scores(NOW + 1, NOW + 2) == (0, None)
    assert [row["score"] for row in store.page(Filters(), 9, below=0.5)] != []
    first = store.page(Filters(), 3)
    rest = store.page(Filters(), 9, (first[-1]["time_ns"], first[-1]["id"]))
    assert len({row["id"] for row in first + rest}) == 5
    with pytest.raises(BadRequest, match="unknown group"):
        store.series(["colour"], Filters())
    with pytest.raises(BadRequest, match="'day' stands twice"):
        store.series(["day", "day"], Filters())
    with pytest.raises(BadRequest, match="below must be"):
        store.page(Filters(), 9, below=float("nan"))


def test_the_course_of_a_time_in_one_pass(data: DataDir, engine: Engine) -> None:
    """Steps of the calls' own time on either side of a moment; other keys' judgements and other times are left out."""
    journal = data.open_journal()
    noon = NOW // DAY_NS * DAY_NS + DAY_NS // 2
    for hours, score in ((1, 1), (2, 0.25), (-1, 0), (-2, None), (-40, 1)):
        one = record(time_ns=noon + hours * 3600 * 10**9)
        journal.append(one)
        for key in ("key_1", "key_other"):
            said = make_feedback(one.id, time_ns=one.time_ns + 5, key_id=key, score=score, label="x")
            journal.append_feedback(said)
    journal.close()
    drain(data)
    steps = FeedbackStore(engine).course(noon - DAY_NS, noon, noon + DAY_NS, DAY_NS)
    day = NOW // DAY_NS * DAY_NS
    assert sorted(steps, key=lambda step: step.late) == [
        Step(day, False, 2, 1, 0.0, 1),
        Step(day, True, 2, 2, 1.25, 1),
    ]
    assert {step.start_ns for step in FeedbackStore(engine).course(noon, noon, noon + DAY_NS, 3600 * 10**9)} == {
        noon + 3600 * 10**9,
        noon + 2 * 3600 * 10**9,
    }


def test_retention_takes_feedback_with_its_calls(data: DataDir, engine: Engine) -> None:
    """What is older than calls are kept goes away, too."""
    journal = data.open_journal()
    for days in (0, 9):
        said = make_feedback(record().id, time_ns=NOW - days * DAY_NS, key_id="key_1", score=days / 10)
        journal.append_feedback(said)
    journal.close()
    drain(data)
    while sweep(engine, Retention(retention_days=7)):
        pass
    with engine.connect() as connection:
        assert list(connection.execute(select(feedback.c.score)).scalars()) == [0.0]


def test_a_disk_that_takes_nothing_is_told(sqlite_data: DataDir) -> None:
    """Feedback that could not be written is refused, so that its giver knows to try again; nothing half stays."""
    sick = False

    def write(fd: int, data: bytes | bytearray) -> int:
        return os.write(fd, data[:5]) if sick else os.write(fd, data)

    journal = JournalWriter(sqlite_data.journal_path, write=write)
    one = record()
    journal.append(one)
    sick = True
    said = make_feedback(one.id, time_ns=NOW, key_id="key_1", score=1)
    with pytest.raises(Unavailable):
        journal.append_feedback(said)
    sick = False
    journal.append_feedback(said)
    journal.close()
    drain(sqlite_data)
    engine = sqlite_data.open_engine()
    assert FeedbackStore(engine).series([], Filters())[0].feedback == 1
    engine.dispose()


def test_what_failed_attempts_heard_is_kept_with_the_payloads(data: DataDir, engine: Engine) -> None:
    """Tapes come through the journal whole, once; they go when the payloads go."""
    one, journal = record(outcome="failed"), data.open_journal()
    tape = Tape(0, "openai_chat", b"/v1", 503, [(b"retry-after", b"7")], 5, [(6, b"\xff{")], error=TapedError(*"kcmf"))
    journal.append(one)
    journal.append_payload(one.id, b"{}", b"")
    for _ in range(2):
        journal.append_tapes(one.id, [tape])
    journal.close()
    drain(data)
    assert load_recorded(engine, one.id).tapes == [tape]
    while sweep(engine, Retention(payload_days=0)):
        pass
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tapes)).scalar_one() == 0
    with pytest.raises(BadRequest, match="not kept"):
        load_recorded(engine, one.id)
