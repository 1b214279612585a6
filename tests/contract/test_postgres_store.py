"""What only a shared Postgres can do or suffer: several machines on one database, outages, a freeze, a wrong URL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from tests.postgres import Postgres

from headgate.core.clock import Ids
from headgate.core.errors import ConfigError, Unavailable
from headgate.core.record import Record
from headgate.stores import postgres as connections
from headgate.stores.catchup import catch_up
from headgate.stores.data import CLAIM, DataDir
from headgate.stores.database import open_engine, open_reader
from headgate.stores.keeper import RecorderKeeper, take_recorder_lock
from headgate.stores.keyring import KeyRingCache
from headgate.stores.keys import KeySpec
from headgate.stores.migrations import migrate
from headgate.stores.query import CallStore, Filters, Follower
from headgate.stores.recorder import Recorder
from headgate.stores.recorder_process import RecorderProcess
from headgate.stores.registry import Registry
from headgate.stores.retention import Retention
from headgate.stores.schema import calls, journal_offsets
from headgate.stores.sweep import SWEEP_LOCK, sweep

IDS = Ids()
MakeMachine = Callable[[str], DataDir]


@pytest.fixture
def machine(migrated_url: str, tmp_path: Path) -> MakeMachine:
    """Makes the data directory of one more machine on the same database."""

    def make(name: str) -> DataDir:
        data = DataDir(tmp_path / name, url=migrated_url)
        data.claim()
        return data

    return make


@pytest.fixture
def engine(machine: MakeMachine, migrated_url: str) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = open_engine(migrated_url)
    yield engine
    engine.dispose()


def write(data: DataDir, *records: Record) -> list[str]:
    """Writes a segment with these Records and closes it; returns their ids."""
    journal = data.open_journal()
    for one in records:
        journal.append(one)
    journal.close()
    return [one.id for one in records]


def some(count: int, **fields: object) -> list[Record]:
    return [Record(IDS.new(), time.time_ns(), model="m", outcome="completed", **fields) for _ in range(count)]  # type: ignore[arg-type]


def stored(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(calls.c.id).order_by(calls.c.n)).scalars())


def test_two_machines_feed_one_store(machine: MakeMachine, engine: Engine) -> None:
    """Each recorder keeps its own offsets, forgets only its own, and all records are in one list."""
    one, two = machine("one"), machine("two")
    journals = [data.open_journal() for data in (one, two)]
    ids = []
    recorders = [Recorder(one), Recorder(two)]
    for _ in range(3):
        for journal, recorder in zip(journals, recorders, strict=True):
            (record,) = some(1)
            journal.append(record)
            ids.append(record.id)
            recorder.drain()
    assert stored(engine) == ids
    for recorder in recorders:
        recorder.close()
        recorder.step()  # opens anew, and forgets the offsets of segments that are gone
    with engine.connect() as connection:
        owners = connection.execute(select(journal_offsets.c.owner)).scalars().all()
    assert sorted(owners) == sorted({one.owner, two.owner})
    journals[0].close()
    recorders[0].drain()
    with engine.connect() as connection:
        assert connection.execute(select(journal_offsets.c.owner)).scalars().all() == [two.owner]
    journals[1].close()
    recorders[1].drain()
    assert stored(engine) == ids
    for recorder in recorders:
        recorder.close()


def test_a_batch_with_rows_that_are_there_already(machine: MakeMachine, engine: Engine) -> None:
    """Of a batch, what is there already stays as it was, and the rest goes in, payloads too."""
    data = machine("one")
    known, new = some(2)
    write(data, known)
    recorder = Recorder(data)
    recorder.drain()
    journal = data.open_journal()
    journal.append_payload(known.id, b"q1", b"a1")
    journal.append_payload(new.id, b"q2", b"a2")
    journal.append(Record(known.id, 1, model="another"))
    journal.append(new)
    journal.close()
    recorder.drain()
    recorder.close()
    assert stored(engine) == [known.id, new.id]
    first, second = (CallStore(engine).find(id) for id in (known.id, new.id))
    assert first is not None
    assert second is not None
    assert (first["model"], first["request_body"], second["response_body"]) == ("m", "q1", "a2")


def test_a_record_that_no_column_holds_costs_no_other(machine: MakeMachine, engine: Engine) -> None:
    """A text with a NUL is cut to fit; its neighbours go in as they are, and nothing is put aside."""
    data = machine("one")
    records = [*some(2), *some(1, user="a\x00b"), *some(2)]
    write(data, *records)
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    assert sorted(stored(engine)) == sorted(one.id for one in records)
    story = CallStore(engine).find(records[2].id)
    assert story is not None
    assert story["user"] == "a\ufffdb"
    assert list(data.journal_path.iterdir()) == []


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_server_that_goes_and_comes_back(tmp_path: Path, own_postgres: Postgres, how: str) -> None:
    """While the server is stopped the journal waits; nothing is lost or doubled when it is back, crash or not."""
    data = DataDir(tmp_path / "data", url=own_postgres.new_database())
    migrate(data.url)
    data.claim()
    journal, recorder = data.open_journal(), Recorder(data)
    before, during, after = some(5), some(5), some(5)
    for record in before:
        journal.append(record)
    recorder.drain()
    own_postgres.stop(how)
    for record in during:
        journal.append(record)
    for _ in range(2):
        with pytest.raises((SQLAlchemyError, Unavailable)):
            recorder.step()
        recorder.close()
    own_postgres.start()
    for record in after:
        journal.append(record)
    recorder.drain()
    journal.close()
    recorder.drain()
    recorder.close()
    engine = data.open_engine()
    assert stored(engine) == [one.id for one in [*before, *during, *after]]
    engine.dispose()


def test_a_server_that_dies_in_the_middle_of_a_batch(tmp_path: Path, own_postgres: Postgres) -> None:
    """A crash between the rows and their commit loses nothing: the batch is written again, whole."""
    data = DataDir(tmp_path / "data", url=own_postgres.new_database())
    migrate(data.url)
    data.claim()
    ids = write(data, *some(50))
    recorder = Recorder(data, limit=20)
    recorder.step()
    assert recorder._ingest is not None
    copy = recorder._ingest._copy
    assert copy is not None
    run = copy.run

    def crash(*arguments: object) -> None:
        run(*arguments)  # type: ignore[arg-type]
        own_postgres.stop("immediate")

    copy.run = crash  # type: ignore[method-assign]
    with pytest.raises(SQLAlchemyError):
        recorder.step()
    recorder.close()
    own_postgres.start()
    recorder.drain()
    recorder.close()
    engine = data.open_engine()
    assert stored(engine) == ids
    engine.dispose()


def test_a_database_that_only_reads_quarantines_nothing(
    machine: MakeMachine, engine: Engine, postgres: Postgres, migrated_url: str
) -> None:
    """A standby, or a database set to read only, makes the journal wait: no record is put aside for it."""
    data = machine("one")
    ids = write(data, *some(3))
    name = migrated_url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    recorder = Recorder(data)
    with pytest.raises(SQLAlchemyError, match="read-only"):
        recorder.step()
    recorder.close()
    assert not list(data.journal_path.glob("*.corrupt"))
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    recorder.drain()
    recorder.close()
    assert stored(engine) == ids


def test_one_machine_sweeps_at_a_time(machine: MakeMachine, engine: Engine) -> None:
    """While another recorder sweeps, this one passes; nobody waits for anybody."""
    write(machine("one"), *some(3, session="old"))
    recorder = Recorder(machine("one"))
    recorder.drain()
    recorder.close()
    later = time.time_ns() + 86_400 * 10**9
    with engine.begin() as other:
        other.execute(select(func.pg_advisory_xact_lock(SWEEP_LOCK)))
        assert not sweep(engine, Retention(retention_days=0.5), later)
        assert len(stored(engine)) == 3
    sweep(engine, Retention(retention_days=0.5), later)
    assert stored(engine) == []


def test_following_does_not_miss_a_number_that_comes_late(machine: MakeMachine, engine: Engine) -> None:
    """A recorder that took its numbers first and commits last is seen, too, and nothing is seen twice."""
    follower = Follower(CallStore(engine), Filters())
    slow, quick = machine("slow"), machine("quick")
    late, early = write(slow, *some(3)), write(quick, *some(3))
    recorder = Recorder(slow)
    recorder._open()
    assert recorder._ingest is not None
    ingest_write = recorder._ingest._write
    seen: list[str] = []

    def hold(*arguments: object) -> None:
        other = Recorder(quick)
        other.drain()
        other.close()
        seen.extend(story["id"] for story in follower.take())
        ingest_write(*arguments)  # type: ignore[arg-type]

    recorder._ingest._write = hold  # type: ignore[method-assign]
    recorder.step()
    recorder.close()
    assert seen == early
    assert [story["id"] for story in follower.take()] == late
    assert follower.take() == []
    assert stored(engine) == late + early


def test_a_directory_that_feeds_a_postgres_does_not_fall_back_to_a_file(machine: MakeMachine) -> None:
    """Where the URL was forgotten, nothing begins a second store: the error says which database it was."""
    data = machine("one")
    write(data, *some(1))
    forgotten = DataDir(data.path)
    for attempt in (forgotten.prepare, forgotten.open_engine, RecorderKeeper(forgotten).start):
        with pytest.raises(ConfigError, match="HEADGATE_DATABASE_URL") as refused:
            attempt()
        assert data.database in refused.value.message
        assert ":" in data.url.partition("://")[2].partition("@")[0]
        assert data.url.partition("@")[0].rpartition(":")[2] not in refused.value.message
    assert not (data.path / "headgate.db").exists()
    (data.path / CLAIM).unlink()
    forgotten.prepare()
    assert (data.path / "headgate.db").exists()


def test_a_recorder_for_another_database_goes(machine: MakeMachine, tmp_path: Path) -> None:
    """When a gateway begins to use another database, the recorder that runs leaves its place to the next."""
    file = DataDir(tmp_path / "moved")
    lock = take_recorder_lock(file.path)
    assert lock is not None
    journal = file.open_journal()
    process = RecorderProcess(file, lock, interval=0.01)
    thread = threading.Thread(target=process.run)
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    assert machine("moved").path == file.path
    thread.join(60)
    assert not thread.is_alive()
    process.close()
    journal.close()


def test_nobody_drains_the_journal_into_another_database(machine: MakeMachine, postgres: Postgres) -> None:
    """A reader with another URL shows what is there, and leaves the journal to the directory's own database."""
    data = machine("one")
    write(data, *some(1))
    other = DataDir(data.path, url=postgres.new_database())
    engine = other.open_engine()
    assert not catch_up(other, engine)
    assert stored(engine) == []
    engine.dispose()
    postgres.drop_database(other.url)
    engine = data.open_engine()
    assert catch_up(data, engine)
    assert len(stored(engine)) == 1
    engine.dispose()


def test_a_recorder_whose_url_may_be_old_is_replaced(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a password has changed, the recorder that fails with the old one goes, so that a writer starts the next."""
    monkeypatch.setattr("headgate.stores.recorder_process._RENEW_S", 0.05)
    url = postgres.url().replace(postgres.password, "yesterday")
    data = DataDir(tmp_path / "data", url=url)
    data.claim()
    lock = take_recorder_lock(data.path)
    assert lock is not None
    journal = data.open_journal()
    process = RecorderProcess(data, lock, interval=0.01)
    assert process.run() == 1
    process.close()
    journal.close()


def test_a_new_password_needs_no_restart(tmp_path: Path, own_postgres: Postgres) -> None:
    """Once told of the new URL, keys are read with it, and a recorder that is started gets it."""
    own_postgres.execute("CREATE ROLE app SUPERUSER LOGIN PASSWORD 'one'")
    base = own_postgres.new_database()
    old, new = (f"postgresql://app:{word}@{base.partition('@')[2]}" for word in ("one", "two"))
    data = DataDir(tmp_path / "data", url=old)
    ring = KeyRingCache(migrated(data).url, poll_seconds=0.02)
    own_postgres.execute("ALTER ROLE app PASSWORD 'two'")
    own_postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    with pytest.raises(Unavailable, match="password authentication"):
        open_reader(old)
    ring.set_url(new)
    data.set_url(new)
    assert (data.url, data.given_url, data.database) == (new, new, connections.shown(old))
    engine = data.open_engine()
    Registry(engine, "cli:test").create_key(KeySpec(name="one"))
    engine.dispose()
    end = time.monotonic() + 60
    while ring.empty:
        assert time.monotonic() < end
        time.sleep(0.01)
    ring.close()


def migrated(data: DataDir) -> DataDir:
    migrate(data.url)
    return data


def test_a_frozen_server_keeps_nobody_for_ever(tmp_path: Path, own_postgres: Postgres) -> None:
    """A question that is not answered in time is an error; keys stay known; closing does not wait for the server."""
    data = DataDir(tmp_path / "data", url=own_postgres.new_database())
    migrate(data.url)
    engine = data.open_engine()
    Registry(engine, "cli:test").create_key(KeySpec(name="one"))
    engine.dispose()
    reader = connections.PostgresReader(data.url, seconds=0.2)
    ring = KeyRingCache(data.url, poll_seconds=0.02)
    own_postgres.freeze()
    with pytest.raises(Unavailable, match=r"nothing for 0\.2 s"):
        reader.query("SELECT 1")
    time.sleep(0.1)
    began = threading.Event()
    closer = threading.Thread(target=lambda: (began.set(), ring.close()))
    closer.start()
    closer.join(60)
    assert not closer.is_alive()
    assert not ring.empty
    own_postgres.thaw()
    reader.close()
    reader.close()
    reader.interrupt()


def test_what_can_not_be_reached_is_told_without_the_password(postgres: Postgres, free_port: int) -> None:
    """Nobody listens, a wrong password, no such database, a malformed URL: each is named, and no secret with it."""
    secret = "s3cret-pa55"
    right = postgres.url()
    for url, said in (
        (f"postgresql://me:{secret}@127.0.0.1:{free_port}/db", "refused"),
        (right.replace(postgres.password, secret), "password authentication failed"),
        (f"{right}-none?application_name={secret}", "does not exist"),
    ):
        with pytest.raises(Unavailable, match=said) as away:
            open_reader(url)
        assert secret not in away.value.message
        assert postgres.password not in away.value.message
        assert "127.0.0.1" in away.value.message
    for url in (
        f"postgresql://me:{secret}@{secret}@host/db",
        f"postgresql://me:a/{secret}@host/db",
        f"postgresql://me:a?{secret}@host/db",
        f"postgresql://me:x@host:{secret}/db",
        f"postgresql://me:{secret}/db",
        f"postgresql://host/db?{secret}=1",
        f"postgresql://me:{secret} @host/db",
        f"mysql://me:{secret}@host/db",
    ):
        for use in (open_reader, lambda url: open_engine(url).connect()):
            with pytest.raises(ConfigError, match="the database URL can not be used") as wrong:
                use(url)
            assert secret not in wrong.value.message


def test_a_missing_driver_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    """Without psycopg, a Postgres URL is a clear error; SQLite does not need it."""
    script = (
        "import sys\nsys.modules['psycopg'] = None\nfrom headgate.stores.data import DataDir\n"
        f"DataDir({str(tmp_path / 'file')!r}).open_keys(admin_key='').close()\n"
        f"DataDir({str(tmp_path / 'shared')!r}, url='postgresql://h/db').open_keys(admin_key='')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "pip install 'headgate[postgres]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("url", "show", "password"),
    [
        ("postgresql://me:pa55@h:1/db?sslmode=require", "postgresql://me@h:1/db", True),
        ("postgres://h/db", "postgresql://h/db", False),
        ("postgresql+psycopg://me@h", "postgresql://me@h", False),
        ("postgresql:///db?host=/run/pg&password=pa55", "postgresql:///db", True),
        ("postgresql://me:@h1,h2:2/db", "postgresql://me@h1,h2:2/db", True),
        ("postgresql://h/db?sslpassword=", "postgresql://h/db", True),
        ("postgresql://me@[::1]:5433/db", "postgresql://me@[::1]:5433/db", False),
    ],
)
def test_what_is_shown_of_a_url(url: str, show: str, password: bool) -> None:
    """Host, port, user and database; never a password, wherever it stands."""
    assert connections.is_postgres(url)
    assert connections.check_url(url) == ""
    assert connections.shown(url) == show
    assert connections.has_password(url) == password


def test_the_urls_own_parameters_count(postgres: Postgres) -> None:
    """What stands in the URL's query reaches libpq; what does not gets our patience."""
    with connections.connect(postgres.url() + "?connect_timeout=2&application_name=mine") as connection:
        shown = connection.info.get_parameters()
        assert (shown["connect_timeout"], shown["application_name"]) == ("2", "mine")
        assert shown["tcp_user_timeout"] == "20000"
    assert isinstance(connection, psycopg.Connection)
    engine = open_engine(postgres.url())
    with engine.connect() as sql:
        assert sql.execute(text("SHOW application_name")).scalar_one() == "headgate"
    assert postgres.password not in repr(engine)
    engine.dispose()


@pytest.fixture
def free_port() -> int:
    """A port on loopback that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_owner_is_the_directorys(machine: MakeMachine) -> None:
    """Two directories on one database have different ids, each the same for ever, in a file only its owner reads."""
    one, two = machine("one"), machine("two")
    assert one.owner != two.owner
    assert one.owner == DataDir(one.path, url=one.url).owner
    for name in ("id", CLAIM):
        assert os.stat(one.path / name).st_mode & 0o077 == 0
