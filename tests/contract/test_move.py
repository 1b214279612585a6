"""Moving from a SQLite file to a shared Postgres: everything arrives once, however often it is tried."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select
from tests.schema import lay_schema

from headgate.cli.main import main
from headgate.core.clock import Ids
from headgate.core.errors import ConfigError
from headgate.core.record import Record
from headgate.core.usage import Usage
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.keeper import take_recorder_lock
from headgate.stores.keyring import digest_of
from headgate.stores.keys import KeySpec
from headgate.stores.move import COPIED, LEFT, OTHERS, ROLLED, copy_store
from headgate.stores.query import CallStore, Filters
from headgate.stores.recorder import Recorder
from headgate.stores.registry import Registry
from headgate.stores.schema import calls, metadata
from headgate.stores.stats import StatsStore

IDS = Ids()


@pytest.fixture
def file(tmp_path: Path) -> DataDir:
    """A directory with a SQLite store."""
    return DataDir(lay_schema(tmp_path / "data"))


@pytest.fixture
def shared(file: DataDir, postgres_url: str) -> Iterator[DataDir]:
    """The same directory, on an empty Postgres."""
    return DataDir(file.path, url=postgres_url)


def write(data: DataDir, *records: Record) -> list[str]:
    journal = data.open_journal()
    for one in records:
        journal.append(one)
        journal.append_payload(one.id, b"question " + one.id.encode(), b"\xff answer")
    journal.close()
    return [one.id for one in records]


def stored(data: DataDir) -> list[str]:
    engine = data.open_engine()
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(calls.c.id).order_by(calls.c.n)).scalars())
    finally:
        engine.dispose()


def test_everything_arrives(
    file: DataDir, shared: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys work, calls keep order, story and payloads, what the journal held too; copying again changes nothing."""
    monkeypatch.setattr("headgate.stores.move.BATCH", 3)
    monkeypatch.setenv("HEADGATE_DATABASE_URL", shared.url)
    engine = file.open_engine()
    registry = Registry(engine, "cli:test")
    made = registry.create_key(KeySpec(name="one", team="t", models=["fast"]))
    secret, info = made.secret, made.info
    registry.create_key(KeySpec(name="two"))
    registry.revoke_key("two")
    keys = registry.list_keys()
    records = [Record(IDS.new(), n, model="m", tags={"n": str(n)}, usage=Usage(n, n)) for n in range(7)]
    odd = Record(IDS.new(), 99, model="m\x00", user="\x00", duration_us=1, usage=Usage(1 << 40, 1), status=99_999)
    ids = write(file, *records[:5], odd)
    recorder = Recorder(file)
    recorder.drain()
    recorder.close()
    stories = [CallStore(engine).find(id) for id in ids[:5]]
    engine.dispose()
    ids += write(file, *records[5:])
    for _ in range(2):
        assert main(["data", "copy", "--data", str(file.path)]) == 0
        said = capsys.readouterr().out
        assert said == f"copied 2 keys, 3 audit entries, 8 calls, 8 payloads into {shared.database}\n"
        assert stored(shared) == ids
    engine = shared.open_engine()
    store = CallStore(engine)
    assert [store.find(id) for id in ids[:5]] == stories
    assert [story["status"] for story in store.newest_first(Filters(id_prefix=odd.id))] == [32_767]
    assert Registry(engine, "cli:test").list_keys() == keys
    engine.dispose()
    ring = shared.open_keys(admin_key="")
    found = ring.find(digest_of(secret))
    assert found is not None
    assert (found.key_id, found.team) == (info.id, "t")
    ring.close()
    with pytest.raises(ConfigError, match="HEADGATE_DATABASE_URL"):
        DataDir(file.path).prepare()
    assert (file.path / "headgate.db").exists()
    later = write(shared, Record(IDS.new(), 100, model="m"))
    recorder = Recorder(shared)
    recorder.drain()
    recorder.close()
    assert stored(shared) == ids + later


def test_not_while_a_gateway_runs(file: DataDir, shared: DataDir) -> None:
    """A recorder or a writer of the directory is named, and nothing is copied or claimed."""
    lock = take_recorder_lock(file.path)
    assert lock is not None
    with pytest.raises(ConfigError, match="recorder runs"):
        copy_store(shared)
    os.close(lock)
    journal = file.open_journal()
    with pytest.raises(ConfigError, match="still writes"):
        copy_store(shared)
    journal.close()
    assert file.claimed == ""
    file.prepare()


def test_nothing_to_copy_from_or_to(file: DataDir, shared: DataDir, tmp_path: Path) -> None:
    """Without a Postgres, or without a file, the error says what is missing."""
    with pytest.raises(ConfigError, match="no Postgres to copy to"):
        copy_store(file)
    with pytest.raises(ConfigError, match="nothing to copy"):
        copy_store(DataDir(tmp_path / "empty", url=shared.url))


def test_figures_arrive_with_the_calls_and_without(file: DataDir, shared: DataDir) -> None:
    """What retention has deleted still counts; what is there already counts once; copying again changes nothing."""
    hour = 3600 * 10**9
    old = [Record(IDS.new(), n * hour, model="m", duration_us=9) for n in range(50)]
    kept = [Record(IDS.new(), 50 * hour + n, model="m", duration_us=9) for n in range(7)]
    write(file, *old, *kept)
    recorder = Recorder(file)
    recorder.drain()
    recorder.close()
    engine = file.open_engine()
    expected = StatsStore(engine).total(Filters())
    assert Ingest(engine, file.owner).fold()
    with engine.begin() as connection:
        connection.execute(delete(calls).where(calls.c.time_ns < 49 * hour))
    engine.dispose()
    shared.prepare()
    target = shared.open_engine()
    Ingest(target, "another").store(kept[:2], [], {}, lambda refused: None)
    for _ in range(2):
        copy_store(shared)
        stats = StatsStore(target)
        for filters, count in ((Filters(), 57), (Filters(since_ns=24 * hour, until_ns=49 * hour), 25)):
            assert stats.total(filters).calls == count
        assert stats.total(Filters()).sums == expected.sums
        assert sum(figures.calls for _, figures in stats.series(Filters(since_ns=0, until_ns=60 * hour), hour)) == 57
    target.dispose()


def test_every_table_is_copied_or_left_on_purpose() -> None:
    """A new table has to be put on one side."""
    assert {table.name for table in COPIED} | OTHERS | LEFT | ROLLED == set(metadata.tables)
