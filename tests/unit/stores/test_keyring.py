"""Keys: made once, looked up in memory, gone within moments of being revoked."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.conftest import Outage

from headgate.core.clock import FixedClock
from headgate.core.errors import BadRequest, ConfigError, Unavailable
from headgate.stores.data import DataDir
from headgate.stores.keyring import KeyRingCache, digest_of
from headgate.stores.keys import KeyInfo, KeySpec
from headgate.stores.people import TeamSpec
from headgate.stores.registry import Registry


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The store's engine."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


def create_key(engine: Engine, name: str, **fields: object) -> tuple[str, KeyInfo]:
    """Makes a key as the command line does."""
    made = Registry(engine, "cli:test").create_key(KeySpec(name=name, **fields))  # type: ignore[arg-type]
    return made.secret, made.info


def revoke_key(engine: Engine, word: str) -> KeyInfo:
    """Revokes one as the command line does."""
    return Registry(engine, "cli:test").revoke_key(word)


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits at most a minute for what a thread is to do."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


def test_a_key_is_known_from_its_making_to_its_end(data: DataDir, engine: Engine) -> None:
    """A new key is found by its digest with all that it allows, a revoked one no more; keyless mode ends for good."""
    ring = KeyRingCache(data.url, poll_seconds=0.02)
    assert ring.empty
    secret, info = create_key(
        engine, "one", role="admin", models=["fast"], user="u", team="t", feature="f", direct=True
    )
    assert secret.startswith("hg-")
    assert len(secret) == 46
    wait_for(lambda: not ring.empty)
    who = ring.find(digest_of(secret))
    assert who is not None
    assert (who.key_id, who.key_name, who.role, who.direct) == (info.id, "one", "admin", True)
    assert (who.models, who.user, who.team, who.feature) == (frozenset({"fast"}), "u", "t", "f")
    assert ring.find(digest_of(secret)) is who
    assert ring.find(digest_of("hg-other")) is None
    revoke_key(engine, "one")
    wait_for(lambda: ring.find(digest_of(secret)) is None)
    assert not ring.empty
    ring.close()


def test_the_secret_is_nowhere_on_disk(data: DataDir, engine: Engine) -> None:
    """Only the SHA-256 of a key is stored."""
    secret, _ = create_key(engine, "one")
    engine.dispose()
    for file in data.path.iterdir():
        if file.is_file():
            assert secret.encode() not in file.read_bytes()


def test_an_expired_key_is_refused(data: DataDir, engine: Engine) -> None:
    """A key is good until its end and not a moment longer, without asking the store."""
    clock = FixedClock()
    spec = KeySpec(name="one", expires="1s")
    secret = Registry(engine, "cli:test", time_ns=clock.time_ns).create_key(spec).secret
    ring = KeyRingCache(data.url, clock=clock, poll_seconds=60)
    assert ring.find(digest_of(secret)) is not None
    clock.advance(1)
    assert ring.find(digest_of(secret)) is None
    assert not ring.empty
    ring.close()


def test_known_keys_outlive_the_store_for_a_while(data: DataDir, engine: Engine, outage: Outage) -> None:
    """Without the store, known keys stay valid for the grace time; then all but the admin key are refused."""
    clock = FixedClock()
    secret, _ = create_key(engine, "one")
    admin = "an-admin-key-of-our-own"
    ring = KeyRingCache(data.url, clock=clock, admin_key=admin, poll_seconds=60)
    engine.dispose()
    outage.begin()
    with pytest.raises(Unavailable):
        ring.refresh()
    clock.advance(599)
    assert ring.find(digest_of(secret)) is not None
    clock.advance(1)
    assert ring.stale
    assert ring.find(digest_of(secret)) is None
    found = ring.find(digest_of(admin))
    assert found is not None
    assert found.role == "admin"
    ring.close()


def test_a_store_that_comes_back_is_read_again(data: DataDir, engine: Engine, outage: Outage) -> None:
    """A database that was away and is back, changed, is noticed by the thread."""
    ring = KeyRingCache(data.url, poll_seconds=0.02)
    engine.dispose()
    outage.begin()
    time.sleep(0.1)
    assert ring.empty
    outage.end()
    secret, _ = create_key(engine, "one")
    wait_for(lambda: ring.find(digest_of(secret)) is not None)
    ring.close()


def test_keyless_mode_ends_when_nobody_knows_what_exists(data: DataDir) -> None:
    """Once the store has been away too long, even an empty ring is not empty: it fails closed."""
    clock = FixedClock()
    ring = KeyRingCache(data.url, clock=clock, poll_seconds=60)
    assert ring.empty
    clock.advance(601)
    assert not ring.empty
    ring.close()


def test_the_admin_key_must_be_a_secret(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """``HEADGATE_ADMIN_KEY`` makes an admin; a short one is refused without being shown."""
    with pytest.raises(ConfigError) as refused:
        data.open_keys(admin_key="tiny")
    assert "tiny" not in refused.value.message
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", "long-enough-to-be-one")
    ring = data.open_keys()
    assert not ring.empty
    assert ring.find(digest_of("long-enough-to-be-one")) is not None
    ring.close()


def test_wrong_keys_are_refused_by_name(engine: Engine) -> None:
    """Unknown role, unknown policy, no name, unknown and ambiguous keys are errors that say what to do."""
    for wrong in ({"role": "king"}, {"payloads": "some"}):
        with pytest.raises(BadRequest):
            create_key(engine, "x", **wrong)
    with pytest.raises(BadRequest):
        create_key(engine, " ")
    with pytest.raises(BadRequest) as unknown:
        revoke_key(engine, "nobody")
    assert unknown.value.code == "key_not_found"
    _, first = create_key(engine, "twin")
    create_key(engine, "twin")
    with pytest.raises(BadRequest) as ambiguous:
        revoke_key(engine, "twin")
    assert first.id in ambiguous.value.message
    revoked = revoke_key(engine, first.id)
    assert revoke_key(engine, first.id) == revoked
    revoke_key(engine, "twin")
    assert [key.state(9) for key in Registry(engine, "cli:test").list_keys()] == ["revoked", "revoked"]


def test_a_data_directory_is_private(tmp_path: Path) -> None:
    """Directory 0700 (made so if it is not), files 0600, odd characters in the path are no trouble."""
    path = tmp_path / "odd %20?#name"
    path.mkdir(mode=0o755)
    data = DataDir(path)
    data.prepare()
    ring = data.open_keys(admin_key="")
    ring.close()
    for entry in [path, *path.rglob("*")]:
        expected = 0o700 if entry.is_dir() else 0o600
        assert stat.S_IMODE(entry.stat().st_mode) == expected, entry
    assert (path / "headgate.db").exists()
    assert data.owner == DataDir(path).owner


def test_a_missing_or_impossible_directory_is_an_error(tmp_path: Path) -> None:
    """A directory that is not there, or a file in its place, is told by name."""
    with pytest.raises(ConfigError, match="no data directory"):
        DataDir(tmp_path / "none", create=False)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can not be used"):
        DataDir(tmp_path / "file")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_first_starts_at_the_same_time_and_a_light_worker(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """Several processes may open a fresh store at once; none of them needs to load SQLAlchemy for it."""
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    script = (
        "import sys\nfrom headgate.stores.data import DataDir\n"
        f"ring = DataDir({str(tmp_path / 'data')!r}, url={url!r}).open_keys(admin_key='')\n"
        "assert ring.empty and 'sqlalchemy' not in sys.modules\n"
        f"assert ('psycopg' in sys.modules) == {kind == 'postgres'}\nring.close()\n"
    )
    starts = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(3)]
    for start in starts:
        _, errors = start.communicate(timeout=120)
        assert start.returncode == 0, errors.decode()


def test_the_admin_key_changes_while_it_runs(data: DataDir) -> None:
    """The new one is known, the old one is not; one that is too short changes nothing; without one, keyless again."""
    ring = KeyRingCache(data.url, admin_key="a" * 32)
    ring.set_admin_key("b" * 32)
    assert ring.find(digest_of("a" * 32)) is None
    found = ring.find(digest_of("b" * 32))
    assert found is not None
    assert found.role == "admin"
    with pytest.raises(ConfigError, match="too short"):
        ring.set_admin_key("c")
    assert ring.find(digest_of("b" * 32)) is not None
    ring.set_admin_key("")
    assert ring.find(digest_of("b" * 32)) is None
    assert ring.empty
    ring.close()


def test_a_process_that_reads_and_writes_keeps_its_locks(sqlite_data: DataDir) -> None:
    """A worker reads keys and, when administered, writes: other processes that come and go lose nothing of that.

    Whoever opens and closes the file by hand drops the locks of every connection in the process; the next one to leave
    from outside would then take the write-ahead log away.
    """
    ring = KeyRingCache(sqlite_data.url, poll_seconds=60)
    engine = sqlite_data.open_engine()
    registry = Registry(engine, "cli:test")
    script = (
        "import sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1])\n"
        "print(connection.execute('SELECT count(*) FROM teams').fetchone()[0])\nconnection.close()"
    )
    for number in (1, 2, 3):
        registry.create_team(TeamSpec(name=str(number)))
        told = subprocess.check_output([sys.executable, "-c", script, str(sqlite_data.path / "headgate.db")])
        assert int(told) == number
    ring.close()
    engine.dispose()
