"""Erasing a user from a store: nothing of them is left, and counts and money are what they were."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, insert, select

from headgate.core.alert import AlertEvent, AlertRule, AlertState
from headgate.core.clock import Ids
from headgate.core.errors import BadRequest
from headgate.core.feedback import make_feedback
from headgate.core.record import LOAD_TAG, AttemptRecord, Record
from headgate.core.tape import Tape
from headgate.core.usage import Usage
from headgate.observe.alerts.message import render
from headgate.stores.audit import list_entries, verify
from headgate.stores.data import DataDir
from headgate.stores.database import sqlite_path
from headgate.stores.erase import user as room
from headgate.stores.erase.user import LONGEST, Erased, Traces, UserErasure, check_user
from headgate.stores.ingest import Ingest
from headgate.stores.leases.closing import ERASED, sweep_windows
from headgate.stores.query import CallStore, Filters
from headgate.stores.recorder import Recorder
from headgate.stores.redaction import open_redactor
from headgate.stores.rows import to_record
from headgate.stores.schema import (
    alert_deliveries,
    alert_events,
    alert_silences,
    alert_states,
    calls,
    feedback,
    hours,
    lease_windows,
    payloads,
    tapes,
)
from headgate.stores.stats import StatsStore

IDS = Ids()
ANN = "ann-7Qx2vM"
CANARY = "zanzibarquokka"
GROUPS = ("key", "team", "feature", "prompt", "model", "deployment", "arm")


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


def make(user: str = ANN, **fields: Any) -> Record:
    """A Record that holds the canary wherever its caller or a model could have put it."""
    usage = Usage(12, 34, cached=5)
    attempt = AttemptRecord(
        *("up/gpt", "up", "gpt", 100, 2000, 9000, "completed", 200),
        error_message=CANARY,
        sent=True,
        upstream_id=CANARY,
        usage=usage,
        lost=[CANARY],
        cost=1_001,
    )
    known: dict[str, Any] = {
        "time_ns": time.time_ns(),
        "key_id": "key_1",
        "key_name": "one",
        "user": user,
        "team": "blue",
        "feature": "chat",
        "prompt": "greet@3",
        "tags": {"note": CANARY, LOAD_TAG: "run"},
        "trace": f"trace {CANARY}",
        "session": f"session {CANARY}",
        "dialect": "openai_chat",
        "model": "fast",
        "outcome": "completed",
        "status": 200,
        "error_message": CANARY,
        "usage": usage,
        "attempts": [attempt],
        "winner": 0,
        "duration_us": 9500,
        "lost": [CANARY],
        "payloads": "full",
        "notes": {"cache": "hit", "said": CANARY},
        "cost": 1_001,
    }
    return Record(IDS.new(), **{**known, **fields})


def record(data: DataDir, *records: Record) -> None:
    """Journals calls with payloads, tapes and feedback, and has a recorder store them."""
    journal = data.open_journal()
    for one in records:
        body = f'{{"user": "{one.user}", "said": "{CANARY}"}}'.encode()
        journal.append_payload(one.id, body, body, "full")
        journal.append_tapes(one.id, [Tape(0, "openai_chat", b"/", pieces=[(1, body)])])
        journal.append(one)
        judgement = make_feedback(one.id, time_ns=one.time_ns, key_id=one.key_id, score=0.5, comment=CANARY)
        journal.append_feedback(judgement)
    journal.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()


def erase(data: DataDir, engine: Engine, user: str = ANN, **how: Any) -> Erased:
    """Erases a user."""
    return UserErasure(engine, data, user, "cli:test").erase(**how)


def left_of(data: DataDir, engine: Engine, *words: str) -> list[str]:
    """Returns where something of these words is still to be found: in rows, in compressed bodies, in files' bytes."""
    found = []
    with engine.connect() as connection:
        for table in (
            calls,
            payloads,
            tapes,
            feedback,
            hours,
            lease_windows,
            alert_states,
            alert_events,
            alert_silences,
        ):
            for row in connection.execute(select(table)):
                found += [f"{table.name}: {word}" for word in words if word in repr(row)]
        for (body,) in connection.execute(select(payloads.c.body)):
            found += [f"body: {word}" for word in words if word.encode() in zlib.decompress(body)]
        for entry in list_entries(engine, 1000):
            found += [f"audit: {word}" for word in words if word in repr(entry)]
    for path in data.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes().lower()
            found += [f"{path.name}: {word}" for word in words if word.lower().encode() in content]
    return found


def figures(engine: Engine) -> dict[str, Any]:
    """Returns what calls come to, by each group that is not people, and in all."""
    stats = StatsStore(engine)
    found: dict[str, Any] = {"": stats.total(Filters()).to_columns()}
    for group in GROUPS:
        found[group] = {one.value: one.figures.to_columns() for one in stats.top(group, Filters())}
    with engine.connect() as connection:
        for group in ("key_id", "team", "feature", "prompt", "model", "deployment"):
            c = calls.c[group]
            sums = select(c, *(func.sum(calls.c[n]) for n in ("cost", "input_tokens", "output_tokens")), func.count())
            found[f"calls {group}"] = {row[0]: tuple(row[1:]) for row in connection.execute(sums.group_by(c))}
    return found


def test_the_callers_span_goes_with_the_trace(data: DataDir, engine: Engine) -> None:
    """It leads to whoever called as the trace does."""
    trace, span = "ab" * 16, "feedc0ffee12beef"
    one, other = (make(name, trace=trace, parent=f"{trace}-{span}-01") for name in (ANN, "bob"))
    record(data, one, other)
    erase(data, engine)
    with engine.connect() as connection:
        rows = {row["id"]: to_record(dict(row)) for row in connection.execute(select(calls)).mappings()}
    assert rows[one.id].parent == ""
    assert rows[other.id].parent == f"{trace}-{span}-01"


def test_nothing_of_a_user_is_left_and_every_sum_is_what_it_was(data: DataDir, engine: Engine) -> None:
    """Neither in rows nor, on SQLite, in the bytes of any file; the calls of others are as they were."""
    record(data, *(make() for _ in range(5)), make("bob", tags={}, trace="", session="", notes={}, lost=[]))
    bob = CallStore(engine).page(Filters(user="bob"), 10)
    before = figures(engine)
    done = erase(data, engine)
    assert done.found == Traces(calls=5, payloads=5, tapes=5, feedback=5, rollups=1)
    assert done.done
    assert done.overwritten
    assert figures(engine) == before
    assert left_of(data, engine, ANN) == []
    assert CallStore(engine).page(Filters(user="bob"), 10) == bob
    nobody = {one.value: one.figures.calls for one in StatsStore(engine).top("user", Filters())}
    assert nobody == {"": 5, "bob": 1}


def test_no_byte_of_what_was_said_is_left(sqlite_data: DataDir) -> None:
    """The canary stood in every field that a caller or a model fills, in payloads, tapes, words, comments."""
    engine = sqlite_data.open_engine()
    for _ in range(4):
        record(sqlite_data, *(make() for _ in range(20)))
    assert left_of(sqlite_data, engine, ANN, CANARY)
    assert erase(sqlite_data, engine).overwritten
    assert left_of(sqlite_data, engine, ANN, CANARY) == []
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() == 0
        row = connection.execute(select(calls).limit(1)).mappings().one()
    story = CallStore(engine).find(row["id"])
    assert story is not None
    assert story["notes"] == {"cache": "hit", "erased": True}
    assert (story["tags"], story["user"], story["payloads"]) == ({LOAD_TAG: "run"}, None, "none")
    assert (story["cost"], story["key_name"], story["feature"]) == (1_001, "one", "chat")
    assert sqlite_path(sqlite_data.url)
    engine.dispose()


def test_a_look_changes_nothing_and_tells_what_an_erase_then_finds(data: DataDir, engine: Engine) -> None:
    """Counts by kind; a second erase finds nothing."""
    record(data, *(make() for _ in range(3)))
    look = UserErasure(engine, data, ANN, "cli:test").look()
    assert look == UserErasure(engine, data, ANN, "cli:test").look()
    assert look.id == ""
    assert list_entries(engine, 10) == []
    assert erase(data, engine).found == look.found
    assert not UserErasure(engine, data, ANN, "cli:test").look().found
    assert not erase(data, engine).found


def test_the_audit_log_tells_of_it_without_the_name(data: DataDir, engine: Engine) -> None:
    """That it began, with what there was, and what was erased; whole, and the user nowhere."""
    record(data, make())
    done = erase(data, engine)
    entries = list_entries(engine, 10)
    assert [(one.actor, one.action, one.target) for one in entries] == [
        ("cli:test", "user.erased", done.id),
        ("cli:test", "user.erase", done.id),
    ]
    assert msgspec.json.decode(entries[0].after or "", type=Traces) == done.found
    assert verify(engine).whole
    assert erase(data, engine, "nobody-at-all").found == Traces()
    assert [one.action for one in list_entries(engine, 10)] == ["user.erase", "user.erased", "user.erase"]


@pytest.mark.parametrize(
    ("user", "other"),
    [("a%", "ab"), ("a_c", "abc"), ("Ann", "ann"), ("名前 🙂", "名前"), ("o'x\"\\", "o'x"), (" a", "a")],
)
def test_an_id_is_taken_sign_by_sign(data: DataDir, engine: Engine, user: str, other: str) -> None:
    """Wildcards, cases, quotes and spaces stand for themselves."""
    record(data, make(user), make(other))
    assert erase(data, engine, user).found.calls == 1
    with engine.connect() as connection:
        assert set(connection.execute(select(calls.c.user_id)).scalars()) == {None, other}


@pytest.mark.parametrize("user", ["", "a\x00b", "\ud800", "x" * (LONGEST + 1)])
def test_what_can_be_nobodys_id_is_refused(user: str) -> None:
    """By name; above all the empty one, which is everybody's who named nobody."""
    with pytest.raises(BadRequest) as told:
        check_user(user)
    assert (told.value.code, told.value.param) == ("invalid_value", "user")
    assert check_user("ann ") == "ann "


def test_a_user_whose_id_looks_like_a_key_is_found_under_their_pseudonym(data: DataDir, engine: Engine) -> None:
    """The store never held the id as it was sent."""
    id = "sk-proj-A1b2C3d4E5f6G7h8I9j0K1l2"
    record(data, make(id))
    assert open_redactor(data.path).name(id) != id
    assert erase(data, engine, id).found.calls == 1


def test_one_who_is_killed_in_between_comes_to_the_same_end(
    data: DataDir, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stops, a second run ends as one run would have; out of time is told, not hidden."""
    monkeypatch.setattr(room, "_BATCH", 2)
    record(data, *(make() for _ in range(7)), make("bob"))
    before = figures(engine)
    some_calls = UserErasure._some_calls
    turns = 0

    def dies(self: UserErasure, done: Traces, edge: int) -> bool:
        nonlocal turns
        turns += 1
        if turns > 2:
            raise KeyboardInterrupt
        return some_calls(self, done, edge)

    monkeypatch.setattr(UserErasure, "_some_calls", dies)
    with pytest.raises(KeyboardInterrupt):
        erase(data, engine)
    monkeypatch.setattr(UserErasure, "_some_calls", some_calls)
    assert not erase(data, engine, seconds=0).done
    done = erase(data, engine)
    assert (done.done, done.found.calls, done.overwritten) == (True, 3, True)
    assert left_of(data, engine, ANN) == []
    assert figures(engine) == before


def test_alerts_that_name_the_user_go(data: DataDir, engine: Engine) -> None:
    """Their own and their budget's; not those of a team of that name, nor of users whose names begin alike."""
    by_user = AlertRule(name="slow", kind="latency", above=1, recover=1, window=60, by="user")
    by_team = AlertRule(name="team", kind="latency", above=1, recover=1, window=60, by="team")
    budget = AlertRule(name="money", kind="budget", above=1, recover=1, window=60)
    told = [(by_user, ANN), (by_team, ANN), (budget, f"user {ANN}, $5 a day"), (budget, f"user {ANN}x, $5 a day")]
    with engine.begin() as connection:
        for n, (rule, subject) in enumerate(told):
            event = AlertEvent(f"alert_{n}", "fired", rule.name, subject, "", 2.0, 1.0, 1, n)
            row = {**msgspec.structs.asdict(event), "message": render(rule, event)}
            connection.execute(insert(alert_events).values(row))
            delivery = {"event_id": event.id, "receiver": "log", "attempts": 0, "next_ns": 1}
            connection.execute(insert(alert_deliveries).values(delivery))
            state = AlertState(rule.name, subject, "", "firing", 1, 2.0, 1.0)
            connection.execute(insert(alert_states).values({**msgspec.structs.asdict(state), "updated_ns": 1}))
        silence = {"id": "silence_1", "rule": "", "subject": ANN, "until_ns": 1, "created_ns": 1}
        connection.execute(insert(alert_silences).values(**silence, actor="", reason=""))
    # Of states and silences nobody knows what they are by; the team's comes again at the next look.
    assert erase(data, engine).found == Traces(alerts=2 + 3 + 1)
    with engine.connect() as connection:
        assert set(connection.execute(select(alert_events.c.id)).scalars()) == {"alert_1", "alert_3"}
        assert set(connection.execute(select(alert_deliveries.c.event_id)).scalars()) == {"alert_1", "alert_3"}
        assert [row.subject for row in connection.execute(select(alert_states))] == [f"user {ANN}x, $5 a day"]


def test_windows_of_limits_lose_the_name_and_hold(data: DataDir, engine: Engine) -> None:
    """What is used of a window counts until it is over; then it goes. A team of that name keeps its own."""
    now = time.time_ns()
    rest = {"unit": "dollars", "per": "day", "priority": "", "amount": 9, "settled": 5, "presumed": 0, "short_ns": 0}
    windows = [
        {"id": "open", "scope": "user", "member": ANN, "start_ns": 1, "end_ns": now * 2, "held": 1},
        {"id": "over", "scope": "user", "member": ANN, "start_ns": 1, "end_ns": now - 1, "held": 0},
        {"id": "team", "scope": "team", "member": ANN, "start_ns": 1, "end_ns": now - 1, "held": 0},
    ]
    with engine.begin() as connection:
        connection.execute(insert(lease_windows), [{**rest, **one} for one in windows])
    assert erase(data, engine).found == Traces(windows=2)
    assert sweep_windows(engine, now) == 1
    with engine.connect() as connection:
        found = {row.id: (row.member, row.settled) for row in connection.execute(select(lease_windows))}
    assert found == {"open": (ERASED, 5), "team": (ANN, 5)}


def test_what_could_not_be_stored_goes(data: DataDir, engine: Engine) -> None:
    """Lines and files that name the user, or a call of theirs; what nobody can tell is counted, and left."""
    theirs = make()
    record(data, theirs)
    refused = [
        make(),
        make("bob", tags={"friend": ANN}),
        {"call_id": theirs.id, "body": "x"},
        {"call_id": "hg_other", "body": ANN + "x"},
    ]
    journal: Path = data.journal_path
    lines = [msgspec.json.encode(one) for one in refused]
    (journal / "refused.corrupt").write_bytes(b"\n".join(lines) + b"\n")
    damaged = {"a": msgspec.msgpack.encode(make()), "b": theirs.id.encode() + b"\xff", "c": b"\x00\x01"}
    for name, content in damaged.items():
        (journal / f"{name}.payload.corrupt").write_bytes(content)
    look = UserErasure(engine, data, ANN, "cli:test").look()
    done = erase(data, engine)
    assert (done.found.files, done.kept.unreadable) == (look.found.files, look.kept.unreadable) == (4, 1)
    kept = (journal / "refused.corrupt").read_bytes().split(b"\n")
    assert [line for line in kept if line.strip()] == [lines[1], lines[3]]
    assert [path.name for path in sorted(journal.glob("?.payload.corrupt"))] == ["c.payload.corrupt"]
    assert erase(data, engine).found == Traces()


CALL = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["ann", "bob", "", "an%"]),
        "key_id": st.sampled_from(["key_1", "key_2"]),
        "team": st.sampled_from(["", "blue", "ann"]),
        "feature": st.sampled_from(["", "chat"]),
        "prompt": st.sampled_from(["", "greet"]),
        "model": st.sampled_from(["fast", "ann"]),
        "outcome": st.sampled_from(["completed", "failed", "cancelled"]),
        "error": st.sampled_from(["", "timeout"]),
        "cost": st.one_of(st.none(), st.integers(0, 10**12)),
        "time_ns": st.integers(0, 60).map(lambda hours: 1_700_000_000_000_000_000 + hours * 3600 * 10**9),
    }
)


@given(st.lists(CALL, min_size=1, max_size=40), st.booleans())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_stay_whatever_the_traffic_was(sqlite_data: DataDir, traffic: list[dict[str, Any]], folded: bool) -> None:
    """Calls, tokens, errors and money by every group but people are to the last digit what they were."""
    engine = sqlite_data.open_engine()
    ingest = Ingest(engine, sqlite_data.owner)
    ingest.store([make(**one) for one in traffic], [], {}, lambda refused: None)
    if folded:
        ingest.fold()
    before = figures(engine)
    with engine.connect() as connection:
        mine = connection.execute(select(func.count()).where(calls.c.user_id == "ann")).scalar_one()
    assert erase(sqlite_data, engine, "ann").found.calls == mine
    assert figures(engine) == before
    ingest.store([make("ann", time_ns=time.time_ns() + 10**12)], [], {}, lambda refused: None)
    erase(sqlite_data, engine, "ann")
    total = StatsStore(engine).total(Filters())
    by_user = [one.figures for one in StatsStore(engine).top("user", Filters())]
    assert sum(one.calls for one in by_user) == total.calls
    assert sum(one.cost for one in by_user) == total.cost
    engine.dispose()
