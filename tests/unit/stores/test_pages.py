"""Pages of calls: under any filter each call that fits once, the newest first, however small the pages are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, text

from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.query import CallStore, Cursor, Filters
from headgate.stores.schema import virtual_keys

from .conftest import MakeRecord
from .test_stats import store, traffic

Story = dict[str, Any]
FITS: list[tuple[Filters, Callable[[Story], bool]]] = [
    (Filters(), lambda one: True),
    (Filters(key="key_1"), lambda one: one["key_id"] == "key_1"),
    (Filters(key="twice"), lambda one: one["key_id"] in ("key_1", "key_2")),
    (Filters(key="nobody"), lambda one: False),
    (Filters(deployment="b/x"), lambda one: "b/x" in [tried["deployment"] for tried in one["attempts"]]),
    (
        Filters(key="twice", deployment="a/m"),
        lambda one: one["key_id"] != "" and "a/m" in [tried["deployment"] for tried in one["attempts"]],
    ),
    (Filters(status=500), lambda one: one["status"] == 500),
    (Filters(status=4), lambda one: one["status"] == 429),
    (Filters(status=2, user="ann"), lambda one: one["status"] == 200 and one["user"] == "ann"),
    (Filters(outcome="refused"), lambda one: one["outcome"] == "refused"),
    (Filters(outcome="completed", model="fast"), lambda one: one["outcome"] == "completed" and one["model"] == "fast"),
    (Filters(error="*"), lambda one: one["error"] is not None),
    (Filters(error="timeout", feature="chat"), lambda one: one["error"] == "timeout" and one["feature"] == "chat"),
]


@pytest.fixture
def engine(data: DataDir, make_record: MakeRecord) -> Iterator[Engine]:
    """A store of calls, some at the same moment; two keys have the same name."""
    made = data.open_engine()
    records = traffic(make_record, 150)
    for one, other in zip(records[:20], records[20:40], strict=True):
        one.time_ns = other.time_ns
    store(Ingest(made, data.owner), records)
    plain = {"role": "viewer", "created_ns": 0, "user_id": "", "team": "", "feature": "", "direct": False}
    with made.begin() as connection:
        for number in (1, 2):
            key = {"id": f"key_{number}", "digest": bytes([number]), "name": "twice", "payloads": "none"}
            connection.execute(insert(virtual_keys).values(**plain, **key))
    yield made
    made.dispose()


def test_pages_under_every_filter(engine: Engine) -> None:
    """Whatever way they are looked for, by whichever index, they are the calls that fit."""
    calls = CallStore(engine)
    everything = list(calls.newest_first(Filters()))
    assert len(everything) == 150
    for filters, fits in FITS:
        found, after = [], None
        while True:
            page, after = calls.page(filters, 7, after)
            found += page
            assert len(page) == 7 or after is None
            if after is None:
                break
        assert [one["id"] for one in found] == [one["id"] for one in everything if fits(one)], filters


@pytest.mark.parametrize("name", ["key", "user", "model", "deployment", "feature", "prompt"])
def test_a_page_of_one_value_reads_no_more_than_a_slot_ahead(engine: Engine, name: str) -> None:
    """The index gives the newest slots first: what is sorted is one slot at a time, not all calls of the value."""
    if engine.dialect.name != "sqlite":
        pytest.skip("Postgres decides by how many there are")
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    value: dict[str, Any] = {name: "x"}
    CallStore(engine).page(Filters(since_ns=1, until_ns=1 << 60, **value), 7, Cursor(1 << 59, 9))
    answered = next((sql, given) for sql, given in asked if f"calls.{name}" in sql and "ORDER BY" in sql)
    with engine.connect() as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {answered[0]}", answered[1]).all())
    index = "user_id" if name == "user" else name
    assert f"USING INDEX calls_by_{index} ({'key_id' if name == 'key' else index}=? AND <expr>>? AND <expr><?)" in plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan  # but for its "RIGHT PART", or "LAST 2 TERMS"


def test_calls_that_went_wrong_have_an_index_of_their_own(engine: Engine) -> None:
    """Few of many calls: without one a page of them could read all there are."""
    if engine.dialect.name != "sqlite":
        pytest.skip("Postgres decides by how many there are")
    with engine.connect() as connection:
        for words in ("status >= 400", "outcome != 'completed'", "error IS NOT NULL"):
            sql = f"EXPLAIN QUERY PLAN SELECT * FROM calls WHERE calls.{words} ORDER BY time_ns DESC, n DESC LIMIT 7"
            assert "calls_in_trouble" in str(connection.execute(text(sql)).all())
