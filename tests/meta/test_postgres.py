"""The tests' own PostgreSQL: fresh databases, stopped and frozen and started at will, gone at the end."""

from __future__ import annotations

import subprocess

import psycopg
import pytest
from tests import conftest
from tests.postgres import Postgres, sweep


def connect(url: str, **settings: object) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), **settings)  # type: ignore[arg-type]


def test_every_test_gets_a_database_of_its_own(postgres: Postgres, postgres_url: str) -> None:
    """A database is empty when a test gets it, and sorts as people do; what one holds no other sees."""
    other = postgres.new_database()
    with connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mine (word text)")
        connection.execute("INSERT INTO mine VALUES ('b'), ('A'), ('a')")
        words = connection.execute("SELECT word FROM mine ORDER BY word").fetchall()
        assert [word for (word,) in words] == ["a", "A", "b"]
    with connect(other) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
    postgres.drop_database(other)
    with pytest.raises(psycopg.OperationalError):
        connect(other)


def test_a_server_of_ones_own_can_go_and_come_back(own_postgres: Postgres, postgres: Postgres) -> None:
    """What was committed is there after a crash, on the same port; a frozen server answers nothing until it thaws."""
    assert own_postgres.port != postgres.port
    url = own_postgres.new_database()
    with connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    own_postgres.stop("immediate")
    with pytest.raises(psycopg.OperationalError):
        connect(url)
    own_postgres.start()
    with connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
        own_postgres.freeze()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            connect(url, connect_timeout=2)
        own_postgres.thaw()
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    assert postgres.execute("SELECT 1") == [(1,)]


def test_nothing_is_left_of_a_server(postgres: Postgres) -> None:
    """Its process and its files are gone once it is closed, whatever happened meanwhile."""
    used: list[Postgres] = []

    def fail() -> None:
        with Postgres() as server:
            used.append(server)
            assert (server.home / "data").is_dir()
            server.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        fail()
    (server,) = used
    assert server.process is None
    with pytest.raises(psycopg.OperationalError):
        connect(server.url())
    assert not server.home.exists()


def test_in_ci_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI lacks a server, tests fail instead of being skipped."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no server"):
        conftest.pass_over("no server")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no server"):
        conftest.pass_over("no server")


def test_what_a_killed_run_left_is_removed(postgres: Postgres) -> None:
    """A session first clears away directories of processes that are gone, in memory too, and no others."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = postgres.home.parent / f"headgate-pg-{gone.pid}-left"
    left.mkdir()
    sweep()
    assert not left.exists()
    assert postgres.home.exists()
    assert postgres.execute("SELECT 1") == [(1,)]
