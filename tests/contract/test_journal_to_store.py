"""Journal to store: every Record exactly once, whatever breaks off where, whatever is damaged."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.stores.catchup import catch_up
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.journal.framing import RECORD, frame
from headgate.stores.journal.segments import create_segment, list_segments
from headgate.stores.keeper import take_recorder_lock
from headgate.stores.query import CallStore, Filters, Follower
from headgate.stores.recorder import Recorder
from headgate.stores.recorder_process import RecorderProcess
from headgate.stores.retention import Retention, load_retention, save_retention
from headgate.stores.schema import calls, journal_offsets
from headgate.stores.sweep import sweep, used_bytes
from headgate.stores.tails import Tails

IDS = Ids()


class PulledPlug(BaseException):
    """Stands for the process being killed right here."""


def record(**fields: object) -> Record:
    """Makes a Record."""
    attempt = AttemptRecord("up/m", "up", "m", 1, 2, 3, "completed", 200, usage=Usage(1, 2))
    base: dict[str, object] = {"time_ns": time.time_ns(), "model": "m", "outcome": "completed", "attempts": [attempt]}
    return Record(IDS.new(), **{**base, "winner": 0, "usage": Usage(1, 2), **fields})  # type: ignore[arg-type]


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


def write(data: DataDir, count: int) -> list[str]:
    """Writes a segment of so many Records, closes it and returns their ids."""
    journal = data.open_journal()
    records = [record() for _ in range(count)]
    for one in records:
        journal.append(one)
    journal.close()
    return [one.id for one in records]


def stored(engine: Engine) -> list[str]:
    """Returns the ids of all stored calls, as they came in."""
    with engine.connect() as connection:
        return list(connection.execute(select(calls.c.id).order_by(calls.c.n)).scalars())


def drain(data: DataDir, **options: int) -> None:
    """Has a recorder of its own move all there is."""
    recorder = Recorder(data, **options)
    try:
        recorder.drain()
    finally:
        recorder.close()


def test_a_closed_segment_is_moved_and_deleted(data: DataDir, engine: Engine) -> None:
    """All Records go in, in order; the segment and its offset go away."""
    ids = write(data, 25)
    drain(data, limit=10)
    assert stored(engine) == ids
    assert list_segments(data.journal_path) == []
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(journal_offsets)).scalar_one() == 0


def test_a_live_segment_is_moved_as_it_grows_and_kept(data: DataDir, engine: Engine) -> None:
    """A segment whose writer lives is read to its end again and again, and only deleted once it is closed."""
    journal = data.open_journal()
    recorder = Recorder(data)
    seen = []
    for _ in range(3):
        one = record()
        journal.append(one)
        seen.append(one.id)
        recorder.drain()
        assert stored(engine) == seen
        assert len(list_segments(data.journal_path)) == 1
    journal.close()
    recorder.drain()
    recorder.close()
    assert list_segments(data.journal_path) == []


@pytest.mark.parametrize("step", ["collect", "_write", "store", "remove", "forget"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_every_record_is_there_once(
    data: DataDir, engine: Engine, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """A recorder that dies before or after any of its steps leaves the next one to finish: nothing lost or doubled."""
    ids = write(data, 7) + write(data, 5)
    recorder = Recorder(data, limit=4)
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
    drain(data, limit=4)
    assert sorted(stored(engine)) == sorted(ids)
    assert list_segments(data.journal_path) == []


def test_batches_grow_while_more_is_waiting(data: DataDir, engine: Engine) -> None:
    """A recorder that is behind takes more at once, and small batches again when it has caught up."""
    ids = write(data, 30)
    recorder = Recorder(data, limit=4)
    moved = []
    while count := recorder.step():
        moved.append(count)
    assert moved == [4, 12, 12, 2]
    ids += write(data, 6)
    assert recorder.step() == 4
    recorder.close()
    drain(data, limit=4)
    assert sorted(stored(engine)) == sorted(ids)


def test_records_do_not_wait_for_payloads(data: DataDir, engine: Engine) -> None:
    """A step takes Records first, and few payloads, which take long; the recorder knows that more are left."""
    journal = data.open_journal()
    for number in range(5):
        journal.append_payload(f"hg_{number}", b"asked", b"told", "redacted")
    for _ in range(3):
        journal.append(record())
    recorder = Recorder(data, limit=8)
    assert (recorder.step(), recorder.behind) == (5, True)
    assert len(stored(engine)) == 3
    assert (recorder.step(), recorder.behind) == (2, True)
    assert (recorder.step(), recorder.behind) == (1, False)
    journal.close()
    recorder.drain()
    recorder.close()


@pytest.mark.parametrize("gone", [1, 5, 11, 12, 40])
def test_a_torn_tail_is_waited_for_then_cut(data: DataDir, engine: Engine, gone: int) -> None:
    """The beginning of an entry waits while its writer lives; once its lock is free it is cut, and nothing else."""
    segment = create_segment(data.journal_path, ".records", 0.0)
    whole, torn = record(), record()
    os.write(segment.fd, frame(RECORD, msgspec.msgpack.encode(whole), segment.salt))
    os.write(segment.fd, frame(RECORD, msgspec.msgpack.encode(torn), segment.salt)[:gone])
    drain(data)
    assert stored(engine) == [whole.id]
    assert segment.path.exists()
    segment.close()
    drain(data)
    assert stored(engine) == [whole.id]
    assert list(data.journal_path.iterdir()) == []


@pytest.mark.parametrize("alive", [False, True])
def test_damage_in_the_middle_costs_only_what_it_hit(
    data: DataDir, engine: Engine, alive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that can not be read is kept aside with a loud line, and reading goes on behind it."""
    segment = create_segment(data.journal_path, ".records", 0.0)
    records = [record() for _ in range(3)]
    frames = [frame(RECORD, msgspec.msgpack.encode(one), segment.salt) for one in records]
    frames[1] = frames[1][:20] + bytes([frames[1][20] ^ 1]) + frames[1][21:]
    os.write(segment.fd, b"".join(frames))
    if not alive:
        segment.close()
        drain(data)
    else:
        recorder = Recorder(data)
        recorder.drain()
        assert recorder._tails is not None
        assert stored(engine) == [records[0].id]
        recorder._tails._patience = 0
        recorder.drain()
        recorder.close()
        segment.close()
    assert stored(engine) == [records[0].id, records[2].id]
    assert "DAMAGED" in caplog.text
    assert segment.path.with_name(segment.path.name + ".corrupt").read_bytes() == frames[1]


def test_entries_that_are_no_records_are_kept_aside(data: DataDir, engine: Engine) -> None:
    """A sound entry that this release can not decode is kept in a side file and does not stop the rest."""
    segment = create_segment(data.journal_path, ".records", 0.0)
    good = record()
    for payload in (b"\x01", msgspec.msgpack.encode(good)):
        os.write(segment.fd, frame(RECORD, payload, segment.salt))
    segment.close()
    drain(data)
    assert stored(engine) == [good.id]
    assert segment.path.with_name(segment.path.name + ".corrupt").read_bytes() == b"\x01"


def test_a_record_of_an_older_release_is_read(data: DataDir, engine: Engine) -> None:
    """A shorter Record, as an older release wrote it, gets the defaults of what it lacks."""
    segment = create_segment(data.journal_path, ".records", 0.0)
    old = msgspec.msgpack.encode(["hg_old", 5, 1, "key_1"])
    os.write(segment.fd, frame(RECORD, old, segment.salt))
    segment.close()
    drain(data)
    assert stored(engine) == ["hg_old"]


def test_one_id_is_stored_once(data: DataDir, engine: Engine) -> None:
    """The same Record in two segments is one call: the first stays as it was."""
    one = record(model="first")
    for model in ("first", "second"):
        journal = data.open_journal()
        journal.append(msgspec.structs.replace(one, model=model))
        journal.close()
        drain(data)
    (story,) = CallStore(engine).newest_first(Filters())
    assert story["model"] == "first"


def test_numbers_that_no_column_holds_do_not_stop_the_recorder(data: DataDir, engine: Engine) -> None:
    """A Record with absurd numbers is cut to fit; its neighbours are not touched."""
    journal = data.open_journal()
    records = [record(), record(duration_us=(1 << 64) - 1, usage=Usage((1 << 64) - 1, 1)), record()]
    for one in records:
        journal.append(one)
    journal.close()
    drain(data)
    assert sorted(stored(engine)) == sorted(one.id for one in records)
    assert CallStore(engine).find(records[1].id)["duration_us"] == (1 << 63) - 1  # type: ignore[index]


def test_a_locked_database_makes_the_journal_wait(sqlite_data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody holds the database, writing goes on and nothing is lost; then all goes in."""
    data = sqlite_data
    monkeypatch.setattr("headgate.stores.database.BUSY_SECONDS", 0.01)
    ids = write(data, 3)
    blocker = sqlite3.connect(data.path / "headgate.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    recorder = Recorder(data)
    with pytest.raises(Exception, match="locked"):
        recorder.step()
    recorder.close()
    ids += write(data, 2)
    blocker.execute("COMMIT")
    blocker.close()
    recorder.drain()
    recorder.close()
    engine = data.open_engine()
    assert sorted(stored(engine)) == sorted(ids)
    engine.dispose()


def test_a_deleted_database_is_made_anew(sqlite_data: DataDir) -> None:
    """When the database's file is removed, a new one takes what the journal still holds."""
    data = sqlite_data
    journal = data.open_journal()
    one, two = record(), record()
    journal.append(one)
    recorder = Recorder(data)
    recorder.drain()
    for file in data.path.glob("headgate.db*"):
        file.unlink()
    journal.append(two)
    recorder.drain()
    recorder.close()
    journal.close()
    engine = data.open_engine()
    assert stored(engine) == [one.id, two.id]
    engine.dispose()


def test_payloads_go_to_their_table(data: DataDir, engine: Engine) -> None:
    """Request and response bytes come back with their call, text as text, anything else in base64."""
    journal = data.open_journal()
    one = record(payloads="full")
    journal.append_payload(one.id, '{"q":"é"}'.encode(), b"\xff\x00")
    journal.append(one)
    journal.close()
    drain(data)
    story = CallStore(engine).find(one.id)
    assert story is not None
    assert (story["request_body"], story["response_body"]) == ('{"q":"é"}', "base64:/wA=")
    assert list_segments(data.journal_path) == []


def test_catching_up_does_the_recorders_work_where_there_is_none(data: DataDir, engine: Engine) -> None:
    """A reader misses nothing that is in the journal: it waits for a recorder that runs, else it does its work."""
    ids = write(data, 3)
    lock = take_recorder_lock(data.path)
    assert lock is not None
    assert not catch_up(data, engine, timeout=0.05)
    assert stored(engine) == []
    os.close(lock)
    assert catch_up(data, engine)
    assert stored(engine) == ids


def test_the_recorder_leaves_when_nobody_writes(data: DataDir, engine: Engine) -> None:
    """Without a writer and with an empty journal the process ends; a segment that appears at that moment is taken."""
    ids = write(data, 2)
    lock = take_recorder_lock(data.path)
    assert lock is not None
    process = RecorderProcess(data, lock, interval=0.01, grace=0.05)
    late: list[str] = []
    leave = process._leave

    def leave_late() -> bool:
        if not late:
            late.extend(write(data, 1))
        return leave()

    process._leave = leave_late  # type: ignore[method-assign]
    assert process.run() == 0
    process.close()
    assert stored(engine) == ids + late
    again = take_recorder_lock(data.path)
    assert again is not None
    os.close(again)


def test_the_recorder_vanishes_with_its_directory(data: DataDir) -> None:
    """A data directory that is deleted takes its recorder along, and is not made again."""
    import shutil

    lock = take_recorder_lock(data.path)
    assert lock is not None
    process = RecorderProcess(data, lock, interval=0.01)
    process._recorder.step()
    shutil.rmtree(data.path)
    assert process.run() == 0
    process.close()
    assert not data.path.exists()


def test_retention_by_age(data: DataDir, engine: Engine) -> None:
    """Old calls and payloads go; what is young stays."""
    day = 86_400 * 1_000_000_000
    now = time.time_ns()
    journal = data.open_journal()
    old, young = record(time_ns=now - 3 * day), record(time_ns=now - day)
    for one in (old, young):
        journal.append(one)
    journal.close()
    drain(data)
    assert not sweep(engine, Retention(), now)
    sweep(engine, Retention(retention_days=2), now)
    assert stored(engine) == [young.id]


def test_retention_by_size(sqlite_data: DataDir) -> None:
    """The oldest calls go while the file is too large; the settings lie in the data directory."""
    data, now = sqlite_data, time.time_ns()
    engine = data.open_engine()
    ids = write(data, 1500)
    drain(data)
    with engine.connect() as connection:
        used = used_bytes(connection)
    while sweep(engine, Retention(max_bytes=used - 100_000), now):
        pass
    left = stored(engine)
    engine.dispose()
    assert 0 < len(left) < 1500
    assert left == ids[-len(left) :]
    save_retention(data.path, Retention(retention_days=2))
    assert load_retention(data.path) == Retention(retention_days=2)


def test_filters_and_pages(data: DataDir, engine: Engine) -> None:
    """Every filter finds its calls and no others; pages join without a gap or a double."""
    now = time.time_ns()
    failed = AttemptRecord("other/m", "other", "m", 1, outcome="failed", status=503, error="overloaded")
    won = AttemptRecord("up/m", "up", "m", 5, 6, 7, "completed", 200)
    journal = data.open_journal()
    plain = [record(time_ns=now - i) for i in range(25)]
    special = record(
        time_ns=now - 7_200_000_000_000,
        key_id="key_9",
        user="ann",
        team="t",
        feature="search",
        trace="tr",
        session="se",
        tags={"env": 'pro"d%', "a": "b"},
        status=503,
        error="overloaded",
        finish="length",
        outcome="failed",
        attempts=[failed, won],
        winner=1,
        model="big",
    )
    for one in [*plain, special]:
        journal.append(one)
    journal.close()
    drain(data)
    store = CallStore(engine)
    for filters in (
        {"key": "key_9"}, {"user": "ann"}, {"team": "t"}, {"feature": "search"}, {"trace": "tr"}, {"session": "se"},
        {"tags": {"env": 'pro"d%'}}, {"tags": {"a": "b"}}, {"status": 503}, {"status": 5}, {"error": "overloaded"},
        {"error": "*"}, {"finish": "length"}, {"outcome": "failed"}, {"deployment": "other/m"}, {"model": "big"},
        {"until_ns": now - 3_600_000_000_000}, {"id_prefix": special.id},
    ):  # fmt: skip
        found = [story["id"] for story in store.newest_first(Filters(**filters))]  # type: ignore[arg-type]
        assert found == [special.id], filters
    for filters in ({"tags": {"env": "prod"}}, {"deployment": "other"}, {"key": "nobody"}, {"status": 4}):
        assert not list(store.newest_first(Filters(**filters))), filters  # type: ignore[arg-type]
    assert len(list(store.newest_first(Filters(since_ns=now - 100)))) == 25
    assert len(list(store.newest_first(Filters(deployment="up/m")))) == 26
    paged, cursor = store.page(Filters(), 4)
    while cursor is not None:
        more, cursor = store.page(Filters(), 4, cursor)
        paged += more
    assert [story["id"] for story in paged] == [one.id for one in plain] + [special.id]
    first = store.numbers_after(Filters(model="m"), 0)
    assert len(first) == 25
    assert first == sorted(first)
    assert [story["id"] for story in store.with_numbers(first[:3])] == [one.id for one in plain[:3]]
    assert store.last_number() == max(store.numbers_after(Filters(), 0))


def test_following_shows_each_new_call_once(data: DataDir, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower begins now, shows what comes once, page by page, and forgets what it need not remember."""
    monkeypatch.setattr("headgate.stores.query.PAGE", 4)
    old = write(data, 3)
    drain(data)
    clock = [0.0]
    follower = Follower(CallStore(engine), Filters(), monotonic=lambda: clock[0])
    assert follower.take() == []
    new = write(data, 6)
    drain(data)
    seen: list[str] = []
    for _ in range(3):
        seen += [story["id"] for story in follower.take()]
        clock[0] += 1
    assert seen == new
    clock[0] += 60
    assert follower.take() == []
    assert follower._seen == set()
    more = write(data, 1)
    drain(data)
    assert [story["id"] for story in follower.take()] == more
    assert stored(engine) == old + new + more


SPAN = f"{'ab' * 16}-{'cd' * 8}-01"


@pytest.mark.parametrize("known", [{"trace": SPAN[:32], "parent": SPAN}, {"trace": "run", "parent": SPAN}, {}])
def test_a_story_holds_all_that_the_record_held(data: DataDir, engine: Engine, known: dict[str, str]) -> None:
    """Every field of the Record comes back, attempts, usage and the caller's span with it."""
    fields = {"wire_finish": "x", "error_message": "m", "fault": "caller", **known}
    one = record(tags={"a": "b"}, notes={"n": [1]}, lost=["seed"], **fields)
    journal = data.open_journal()
    journal.append(one)
    journal.close()
    drain(data)
    story = CallStore(engine).find(one.id)
    assert story is not None
    for name, value in msgspec.structs.asdict(one).items():
        if name == "version":
            continue
        if name == "attempts":
            value = [{**msgspec.structs.asdict(a), "usage": msgspec.structs.asdict(a.usage)} for a in value]
        elif name == "usage":
            value = msgspec.structs.asdict(value)
        assert story[name] == value or (not value and story[name] is None), name
    assert story["deployment"] == "up/m"
