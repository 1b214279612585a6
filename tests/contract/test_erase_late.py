"""What began before an erase is forgotten also where it is recorded after it, in whatever order and on any machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, insert, select

from headgate.core.clock import Ids
from headgate.core.feedback import make_feedback
from headgate.core.record import Record
from headgate.core.tape import Tape
from headgate.stores.data import DataDir
from headgate.stores.erase import space
from headgate.stores.erase.erasures import KEEP_NS, Erasures
from headgate.stores.erase.late import follow_up
from headgate.stores.erase.user import UserErasure
from headgate.stores.leases.closing import ERASED
from headgate.stores.query import Filters
from headgate.stores.recorder import Recorder
from headgate.stores.redaction import open_redactor
from headgate.stores.schema import calls, erasures, feedback, lease_windows, payloads, tapes
from headgate.stores.stats import StatsStore

IDS = Ids()
ANN, BOB = "ann-7Qx2vM", "bob-9Zr4kL"
HEARD = [Tape(0, "openai_chat", b"/")]


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


def call(user: str = ANN) -> Record:
    """A call that begins now."""
    known: dict[str, Any] = {"model": "fast", "outcome": "completed", "status": 200, "cost": 7, "payloads": "full"}
    return Record(IDS.new(), time.time_ns(), user=user, trace="t", tags={"a": "b"}, **known)


def journal_calls(data: DataDir, *records: Record) -> None:
    """Journals Records."""
    journal = data.open_journal()
    for record in records:
        journal.append(record)
    journal.close()


def journal_rest(data: DataDir, *records: Record) -> None:
    """Journals what hangs on calls: payloads, tapes, feedback."""
    journal = data.open_journal()
    for record in records:
        journal.append_payload(record.id, b"asked", b"answered", "full")
        journal.append_tapes(record.id, HEARD)
        judgement = make_feedback(record.id, time_ns=time.time_ns(), key_id="", comment="so so")
        journal.append_feedback(judgement)
    journal.close()


def record_all(data: DataDir) -> None:
    """Has a recorder store what there is."""
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()


def erase(data: DataDir, engine: Engine, user: str = ANN) -> None:
    """Erases a user."""
    assert UserErasure(engine, data, user, "cli:test").erase().done


def users(engine: Engine) -> dict[str, str | None]:
    """Returns the user of each call that is stored."""
    with engine.connect() as connection:
        return {row.id: row.user_id for row in connection.execute(select(calls.c.id, calls.c.user_id))}


def hanging(engine: Engine) -> list[set[str]]:
    """Returns of which calls there are payloads, tapes and feedback."""
    with engine.connect() as connection:
        return [set(connection.execute(select(table.c.call_id)).scalars()) for table in (payloads, tapes, feedback)]


def test_a_call_that_is_recorded_later_is_stripped(data: DataDir, engine: Engine) -> None:
    """With all that hangs on it; others' calls, and those that begin afterwards, are not."""
    ann, bob = call(), call(BOB)
    journal_rest(data, ann, bob)
    journal_calls(data, ann, bob)
    erase(data, engine)
    again = call()
    journal_calls(data, again)
    journal_rest(data, again)
    record_all(data)
    assert users(engine) == {ann.id: None, bob.id: BOB, again.id: ANN}
    assert hanging(engine) == [{bob.id, again.id}] * 3
    with engine.connect() as connection:
        row = connection.execute(select(calls).where(calls.c.id == ann.id)).mappings().one()
    assert (row["trace"], row["tags"], row["cost"]) == (None, None, 7)
    by_user = {one.value: one.figures.calls for one in StatsStore(engine).top("user", Filters())}
    assert by_user == {"": 1, BOB: 1, ANN: 1}


@pytest.mark.parametrize("first", [journal_calls, journal_rest])
def test_whichever_came_before_the_erase(
    data: DataDir, engine: Engine, first: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call without the rest, or the rest without the call: what comes later is not kept, nor what was there."""
    ann, bob = call(), call(BOB)
    first(data, ann, bob)
    record_all(data)
    erase(data, engine)
    (journal_rest if first is journal_calls else journal_calls)(data, ann, bob)
    record_all(data)
    assert users(engine) == {ann.id: None, bob.id: BOB}
    assert hanging(engine) == [{bob.id}] * 3


def test_an_erase_between_a_recorders_look_and_its_writing(
    data: DataDir, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder notices, and looks again."""
    ann, bob = call(), call(BOB)
    journal_calls(data, ann, bob)
    journal_rest(data, ann, bob)
    sift, turns = Erasures.sift, 0

    def slow(self: Erasures, *given: Any) -> set[str]:
        nonlocal turns
        turns += 1
        found = sift(self, *given)
        if turns == 1:
            erase(data, engine)
        return found

    monkeypatch.setattr(Erasures, "sift", slow)
    record_all(data)
    assert turns > 1
    assert users(engine) == {ann.id: None, bob.id: BOB}
    assert hanging(engine) == [{bob.id}] * 3


def test_a_recorder_that_runs_all_the_time(data: DataDir, engine: Engine) -> None:
    """It learns of every erase, and of a user who comes back and is erased again."""
    recorder = Recorder(data)
    found = []
    for user in (ANN, BOB, ANN):
        one, other = call(user), call("eve")
        found.append(one.id)
        journal_calls(data, one, other)
        erase(data, engine, user)
        recorder.drain()
    recorder.close()
    assert {id: user for id, user in users(engine).items() if user != "eve"} == dict.fromkeys(found)


def test_erases_beside_a_recorder_at_work(data: DataDir, engine: Engine) -> None:
    """However they meet: of calls that began before the last erase none has its user, and every one is counted."""
    recorder, failed = Recorder(data, limit=20), []
    journal = data.open_journal()
    made: list[Record] = []

    def work() -> None:
        try:
            for n in range(10):
                some = [call() if n % 2 else call(BOB) for _ in range(10)]
                made.extend(some)
                for one in some:
                    journal.append_payload(one.id, b"asked", b"answered", "full")
                    journal.append(one)
                recorder.step()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        erase(data, engine)
    last = time.time_ns()
    erase(data, engine)
    thread.join()
    journal.close()
    recorder.drain()
    recorder.close()
    assert failed == []
    assert len(made) == 100
    assert users(engine) == {one.id: BOB if one.user == BOB else None for one in made if one.time_ns <= last}
    assert hanging(engine)[0] == {one.id for one in made if one.user == BOB}
    by_user = {one.value: one.figures.calls for one in StatsStore(engine).top("user", Filters())}
    assert by_user == {"": 50, BOB: 50}


def test_another_machines_recorder_does_its_part(postgres_url: str, tmp_path: Path) -> None:
    """The machine that erases has never seen the journal of the other."""
    here, there = (DataDir(tmp_path / name, url=postgres_url) for name in ("here", "there"))
    engine = here.open_engine()
    there.claim()
    ann = call()
    journal_calls(there, ann)
    journal_rest(there, ann)
    erase(here, engine)
    record_all(there)
    assert users(engine) == {ann.id: None}
    assert hanging(engine) == [set()] * 3
    engine.dispose()


def test_another_machines_recorder_goes_through_what_it_put_aside(postgres_url: str, tmp_path: Path) -> None:
    """Refused Records of the user, and pieces of calls of theirs; once for each erasure."""
    here, there = (DataDir(tmp_path / name, url=postgres_url) for name in ("here", "there"))
    engine = here.open_engine()
    there.claim()
    ann = call()
    journal_calls(there, ann)
    record_all(there)
    refused = [msgspec.json.encode(one) for one in (call(), call(BOB), {"call_id": ann.id}, {"call_id": "hg_other"})]
    file = there.journal_path / "refused.corrupt"
    file.write_bytes(b"\n".join(refused) + b"\n")
    (there.journal_path / "a.records.corrupt").write_bytes(b"\x00" + ann.id.encode())
    (there.journal_path / "b.records.corrupt").write_bytes(b"\x00")
    erase(here, engine)
    recorder = Recorder(there)
    recorder.drain()
    recorder.keep_house()
    assert [line for line in file.read_bytes().split(b"\n") if line.strip()] == [refused[1], refused[3]]
    assert [path.name for path in sorted(there.journal_path.glob("?.records.corrupt"))] == ["b.records.corrupt"]
    file.write_bytes(refused[0])
    recorder.keep_house()
    assert file.read_bytes() == refused[0]
    erase(here, engine, BOB)
    recorder.keep_house()
    assert file.read_bytes().strip() == b""
    recorder.close()
    engine.dispose()


def test_an_id_that_looks_like_a_key(data: DataDir, engine: Engine) -> None:
    """It is known before it is taken out of the Record, and under its pseudonym."""
    id = "sk-proj-A1b2C3d4E5f6G7h8I9j0K1l2"
    raw, strict = call(id), call(open_redactor(data.path).name(id))
    journal_calls(data, raw, strict)
    erase(data, engine, id)
    record_all(data)
    assert users(engine) == {raw.id: None, strict.id: None}


def test_what_late_calls_left_is_overwritten_by_the_recorder(sqlite_data: DataDir) -> None:
    """Their payloads were stored, and their words in the index, before anybody knew whose they were."""
    engine = sqlite_data.open_engine()
    ann = call()
    journal = sqlite_data.open_journal()
    journal.append_payload(ann.id, b"zanzibarquokka", b"", "full")
    journal.close()
    record_all(sqlite_data)
    erase(sqlite_data, engine)
    journal_calls(sqlite_data, ann)
    recorder = Recorder(sqlite_data)
    recorder.drain()
    assert space.is_pending(engine)
    recorder.keep_house()
    assert not space.is_pending(engine)
    recorder.close()
    assert space.overwrite(engine)
    content = b"".join(path.read_bytes() for path in sqlite_data.path.rglob("*") if path.is_file())
    assert b"zanzibarquokka" not in content
    engine.dispose()


def test_a_window_that_was_opened_late_loses_its_name(data: DataDir, engine: Engine) -> None:
    """Of those that hold the moment of the erase; one that begins later is another's business. Erasures end."""
    erase(data, engine)
    now = time.time_ns()
    rest = {"unit": "dollars", "per": "day", "priority": "", "amount": 9, "settled": 5, "presumed": 0, "short_ns": 0}
    windows = [("late", ANN, 1), ("later", ANN, now), ("bobs", BOB, 1)]
    with engine.begin() as connection:
        for id, member, start in windows:
            row = {**rest, "id": id, "scope": "user", "member": member, "start_ns": start, "end_ns": now * 2, "held": 0}
            connection.execute(insert(lease_windows).values(row))
    follow_up(engine, data.journal_path, now)
    with engine.connect() as connection:
        found = {row.id: row.member for row in connection.execute(select(lease_windows))}
        assert found == {"late": ERASED, "later": ANN, "bobs": BOB}
        assert len(connection.execute(select(erasures)).all()) == 1
    follow_up(engine, data.journal_path, now + KEEP_NS + 1)
    with engine.connect() as connection:
        assert connection.execute(select(erasures)).all() == []
