"""Rollups: whatever is asked, they answer what the calls themselves say, and each call counts once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, insert, select

from headgate.core.errors import BadRequest
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage
from headgate.stores import query as calls_query
from headgate.stores.backlog import is_behind
from headgate.stores.data import DataDir
from headgate.stores.figures import Figures
from headgate.stores.ingest import Ingest
from headgate.stores.query import Filters
from headgate.stores.rollups import DAY_NS, HOUR_NS, MINUTE_NS, RollupWriter, erase
from headgate.stores.rows import COLUMNS, to_row
from headgate.stores.schema import backlog, calls, days, hours
from headgate.stores.stats import StatsStore
from headgate.stores.view import GROUPS, View, scan

from .conftest import MakeRecord

BEGIN = int(datetime(2026, 3, 1, 21, 30, 17, tzinfo=UTC).timestamp() * 1e9) + 123_456_789
END = BEGIN + 3 * DAY_NS


@pytest.fixture
def ingest(data: DataDir) -> Iterator[Ingest]:
    engine = data.open_engine()
    yield Ingest(engine, data.owner)
    engine.dispose()


def attempt(draw: random.Random, name: str) -> AttemptRecord:
    provider, _, model = name.partition("/")
    usage = draw.choice([None, Usage(draw.randrange(2000), draw.randrange(900), cached=3)])
    cost = None if draw.random() < 0.1 else draw.randrange(10**6)
    made = draw.choice(["completed", "failed", "skipped"])
    return AttemptRecord(name, provider, model, 0, outcome=made, usage=usage, cost=cost if usage else 0)


def traffic(make_record: MakeRecord, count: int, seed: int = 7) -> list[Record]:
    """Calls of three days, of every outcome, some with several attempts."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        places = draw.sample(["a/m", "b/x", "c/y"], draw.randrange(0, 4))
        attempts = [attempt(draw, place) for place in places]
        outcome = draw.choice(["completed", "completed", "failed", "cancelled"]) if attempts else "refused"
        winner = draw.randrange(len(attempts)) if outcome == "completed" else -1
        found.append(
            make_record(
                time_ns=BEGIN + int(draw.random() ** 2 * (END - BEGIN)),
                key_id=draw.choice(["", "key_1", "key_2"]),
                user=draw.choice(["", "ann", "bob", "eve\x00"]),
                team=draw.choice(["", "red"]),
                feature=draw.choice(["", "chat"]),
                prompt=draw.choice(["", "greet@1"]),
                model=draw.choice(["fast", "slow"]),
                dialect=draw.choice(["openai_chat", "anthropic", "embeddings", "count_tokens"]),
                stream=draw.random() < 0.5,
                outcome=outcome,
                status=draw.choice([200, 429, 500]),
                error="" if outcome == "completed" else draw.choice(["timeout", "rate_limited"]),
                finish=draw.choice(["", "stop", "length"]),
                attempts=attempts,
                winner=winner,
                usage=attempts[winner].usage if winner >= 0 else None,
                cost=sum_costs(attempts),
                first_content_us=draw.randrange(1, 10**6),
                duration_us=draw.randrange(10**6, 10**8),
                notes=draw.choice([{}, {"cache": "hit"}]),
            )
        )
    return found


def store(ingest: Ingest, records: Sequence[Record], batch: int = 97) -> None:
    for start in range(0, len(records), batch):
        ingest.store(records[start : start + batch], [], {}, lambda refused: pytest.fail(f"refused: {refused}"))


def plain(figures: Figures) -> tuple[object, ...]:
    return figures.sums, figures.named


def truth(ingest: Ingest, group: str, filters: Filters, step: int = 1 << 62) -> dict[tuple[int, str], object]:
    """The answer as reading each call gives it."""
    with ingest.engine.connect() as connection:
        found = scan(connection, View.of(filters, group), [(filters.since_ns or 0, filters.until_ns)], step)
    return {key: plain(figures) for key, figures in found.items() if any(map(bool, plain(figures)[0]))}  # type: ignore


STRETCHES = [
    {},
    {"since_ns": BEGIN + HOUR_NS // 3, "until_ns": END - 7},
    {"since_ns": BEGIN // MINUTE_NS * MINUTE_NS + 5 * MINUTE_NS, "until_ns": BEGIN + 90 * MINUTE_NS},
    {"since_ns": BEGIN // DAY_NS * DAY_NS + DAY_NS},
    {"since_ns": BEGIN + 10**9, "until_ns": BEGIN + 20 * 10**9},
]
WHERE = [
    {},
    {"model": "fast"},
    {"deployment": "b/x"},
    {"model": "slow", "deployment": "a/m"},
    {"user": "ann"},
    {"key": "key_1"},
    {"prompt": "greet@1"},
    {"outcome": "failed"},
    {"status": 4, "model": "fast"},
]


@pytest.mark.parametrize("fold", [0, 2], ids=["hours", "days"])
def test_every_answer_is_what_the_calls_say(ingest: Ingest, make_record: MakeRecord, fold: int) -> None:
    """Totals, groups and series of any stretch, under any filter, before and after days are made of hours."""
    records = traffic(make_record, 220)
    store(ingest, records[:150])
    for _ in range(fold):
        assert ingest.fold()
    store(ingest, records[150:])  # late for days that are made
    stats = StatsStore(ingest.engine)
    for where in WHERE:
        for stretch in STRETCHES:
            filters = Filters(**stretch, **where)  # type: ignore[arg-type]
            expected = truth(ingest, "", filters)
            total = plain(stats.total(filters))
            assert total == expected.get((0, ""), plain(Figures())), filters
            if stretch is not STRETCHES[1]:
                continue
            for group in GROUPS if where in ({}, {"model": "fast"}) else ("arm", "user"):
                wanted = {name: figures for (_, name), figures in truth(ingest, group, filters).items()}
                top = {one.value: plain(one.figures) for one in stats.top(group, filters, limit=99)}
                assert {name: found for name, found in top.items() if any(found[0])} == wanted, (group, filters)  # type: ignore
            for step in (HOUR_NS, DAY_NS, 6 * HOUR_NS):
                points = {(start, ""): plain(figures) for start, figures in stats.series(filters, step)}
                assert {key: found for key, found in points.items() if any(found[0])} == truth(  # type: ignore
                    ingest, "", filters, step
                )


def test_steps_of_minutes(ingest: Ingest, make_record: MakeRecord) -> None:
    """A short series by the minute has a point for each, also for a user, whose minutes nobody keeps."""
    store(ingest, traffic(make_record, 150))
    stats = StatsStore(ingest.engine)
    stretch = {"since_ns": BEGIN, "until_ns": BEGIN + HOUR_NS}
    for where in ({}, {"model": "fast"}, {"user": "bob"}):
        filters = Filters(**stretch, **where)  # type: ignore[arg-type]
        points = stats.series(filters, 5 * MINUTE_NS)
        assert [start for start, _ in points] == [
            n * 5 * MINUTE_NS for n in range(BEGIN // (5 * MINUTE_NS), (BEGIN + HOUR_NS) // (5 * MINUTE_NS) + 1)
        ]
        found = {(start, ""): plain(figures) for start, figures in points if figures.calls}
        assert found == truth(ingest, "", filters, 5 * MINUTE_NS)


def test_a_call_that_is_there_already_is_not_counted_again(ingest: Ingest, make_record: MakeRecord) -> None:
    """The same journal read twice, a batch that overlaps, an id twice in one batch: each call counts once."""
    records = traffic(make_record, 60)
    store(ingest, records[:40])
    store(ingest, [*records[20:], records[50]])
    store(ingest, records)
    assert StatsStore(ingest.engine).total(Filters()).calls == 60
    assert {(0, ""): plain(StatsStore(ingest.engine).total(Filters()))} == truth(ingest, "", Filters())


def test_a_batch_that_fails_leaves_nothing_behind(
    ingest: Ingest, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls, offsets and rollups are one transaction; what was in memory of a failed one is forgotten."""
    records = traffic(make_record, 30)
    store(ingest, records[:10])
    add = RollupWriter.add

    def fail(self: RollupWriter, *arguments: object) -> None:
        add(self, *arguments)  # type: ignore[arg-type]
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(RollupWriter, "add", fail)
        with pytest.raises(OSError, match="disk"):
            store(ingest, records[10:])
    assert StatsStore(ingest.engine).total(Filters()).calls == 10
    store(ingest, records[10:])
    assert {(0, ""): plain(StatsStore(ingest.engine).total(Filters()))} == truth(ingest, "", Filters())


def test_two_machines_add_to_the_same_hours(ingest: Ingest, make_record: MakeRecord) -> None:
    """Each directory has rows of its own, folded at its own time; readers see the sum."""
    other = Ingest(ingest.engine, "another")
    records = traffic(make_record, 200)
    store(ingest, records[:100])
    store(other, records[100:])
    assert ingest.fold()
    for filters in (Filters(), Filters(since_ns=BEGIN + DAY_NS)):
        total = StatsStore(ingest.engine).total(filters)
        assert {(0, ""): plain(total)} == truth(ingest, "", filters)


def test_calls_of_an_older_release_are_added(
    ingest: Ingest, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored before there were rollups is answered from the calls, until a recorder has added it."""
    monkeypatch.setattr("headgate.stores.backlog.BATCH", 30)
    records = traffic(make_record, 100)
    with ingest.engine.begin() as connection:
        rows = [dict(zip(COLUMNS, to_row(record), strict=True)) for record in records[:80]]
        for row in rows:
            row["user_id"] = row["user_id"] and row["user_id"].replace("\x00", "\ufffd")
        connection.execute(insert(calls), rows)
        goal = connection.execute(select(func.max(calls.c.n))).scalar_one()
        connection.execute(insert(backlog).values(name="rollups", position=0, goal=goal))
    store(ingest, records[80:])
    stats = StatsStore(ingest.engine)
    assert stats.total(Filters()).calls == 100
    moved = []
    while count := ingest.catch_up():
        moved.append(count)
    assert moved == [30, 30, 20]
    with ingest.engine.connect() as connection:
        assert not is_behind(connection)
        read = connection.execute(select(func.sum(hours.c.calls)).where(hours.c.dimension == 0)).scalar_one()
    assert read == 100
    assert {(0, ""): plain(stats.total(Filters()))} == truth(ingest, "", Filters())
    assert ingest.catch_up() == 0


def test_days_are_made_once_they_are_over(ingest: Ingest, make_record: MakeRecord) -> None:
    """The oldest first, each once; a day that is not over is left alone."""
    store(ingest, [make_record(time_ns=BEGIN), make_record(time_ns=BEGIN + 2 * DAY_NS), make_record()])
    assert [ingest.fold() for _ in range(3)] == [True, True, False]
    with ingest.engine.connect() as connection:
        found = connection.execute(select(days.c.bucket).distinct().order_by(days.c.bucket)).scalars().all()
    assert found == [BEGIN // DAY_NS, BEGIN // DAY_NS + 2]


def test_a_user_can_be_taken_out(ingest: Ingest, make_record: MakeRecord) -> None:
    """Nothing of theirs is left in rollups, nor written back by a recorder that still knows it; sums stay."""
    records = traffic(make_record, 100)
    store(ingest, records)
    stats = StatsStore(ingest.engine)
    before = stats.total(Filters())
    with ingest.engine.begin() as connection:
        connection.execute(delete(calls).where(calls.c.user_id == "ann"))
        erase(connection, "user", "ann")
    store(ingest, [make_record(time_ns=BEGIN, user="ann")])
    assert {one.value: one.figures.calls for one in stats.top("user", Filters())}["ann"] == 1
    assert stats.total(Filters()).calls == before.calls + 1


def test_what_moved(ingest: Ingest, make_record: MakeRecord) -> None:
    """The groups whose figure differs most from the stretch before, up or down."""
    spans = ((0, "a", 5), (0, "b", 1), (1, "b", 4), (1, "c", 1))
    store(ingest, [make_record(time_ns=BEGIN + n * HOUR_NS, model=m) for n, m, count in spans for _ in range(count)])
    filters = Filters(since_ns=BEGIN + HOUR_NS, until_ns=BEGIN + 2 * HOUR_NS)
    moved = StatsStore(ingest.engine).movers("model", filters, order="calls")
    assert [(one.value, one.before.calls, one.now.calls) for one in moved] == [("a", 5, 0), ("b", 1, 4), ("c", 0, 1)]


def test_what_can_not_be_asked(ingest: Ingest) -> None:
    """Unknown groups and orders, series without beginning or with odd or too many steps, are refused by name."""
    stats = StatsStore(ingest.engine)
    for ask, param in (
        (lambda: stats.top("colour", Filters()), "by"),
        (lambda: stats.top("key", Filters(), order="beauty"), "order"),
        (lambda: stats.movers("key", Filters()), "since"),
        (lambda: stats.series(Filters(), HOUR_NS), "since"),
        (lambda: stats.series(Filters(since_ns=0, until_ns=1), 7), "step"),
        (lambda: stats.series(Filters(since_ns=0), MINUTE_NS), "step"),
    ):
        with pytest.raises(BadRequest) as told:
            ask()
        assert told.value.param == param
    assert calls_query.Filters() == Filters()
