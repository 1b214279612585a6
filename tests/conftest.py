"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tests import postgres as servers
from tests.schema import lay_schema, new_database

if TYPE_CHECKING:
    from headgate.stores.data import DataDir

# Timing belongs in bench/: a machine that is busy for a moment fails no test.
settings.register_profile("headgate", deadline=None)
settings.load_profile("headgate")

ROOT = pathlib.Path(__file__).resolve().parent.parent


LONG_FIRST = ("tests/scenarios/", "tests/contract/", "tests/meta/", "tests/unit/stores/")
"""Where files take long, the longest first: what begins last leaves the other processes idle at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has the long files run first, whichever process takes them; the order in a file, and of their kind, stays."""

    def place(item: pytest.Item) -> int:
        return next((n for n, begin in enumerate(LONG_FIRST) if item.nodeid.startswith(begin)), len(LONG_FIRST))

    items.sort(key=place)


def pass_over(reason: str) -> None:
    """Skips the test for want of something that CI has; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of public data that nobody here wrote; skips where absent, fails where CI should have it."""
    path = pathlib.Path(os.environ.get("HEADGATE_SHARED_DATA") or ROOT / ".." / "shared" / "data").resolve()
    if not path.is_dir():
        pass_over(f"no shared data at {path}; set HEADGATE_SHARED_DATA")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """A PostgreSQL server that all tests share; leave it running. Skips where there is none, fails in CI."""
    reason = servers.why_not()
    if reason:
        pass_over(reason)
    with servers.session() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    """The URL (``postgresql+psycopg://…``) of an empty database, dropped after the test."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def migrated_url(postgres: servers.Postgres) -> Iterator[str]:
    """As ``postgres_url``, of a database whose schema is there."""
    url = new_database(postgres)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def own_postgres(postgres: servers.Postgres) -> Iterator[servers.Postgres]:
    """A PostgreSQL server of this test's own, to stop, freeze and start again; it starts in 0.1 s."""
    with servers.Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def data(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> DataDir:
    """A data directory whose schema is there: with a SQLite file of its own, and with a Postgres."""
    from headgate.stores.data import DataDir

    if request.param == "postgres":
        directory = DataDir(tmp_path / "data", url=request.getfixturevalue("migrated_url"))
    else:
        directory = DataDir(lay_schema(tmp_path / "data"))
    directory.claim()
    return directory


@pytest.fixture
def sqlite_data(tmp_path: pathlib.Path) -> DataDir:
    """A data directory with a SQLite file whose schema is there, for what only a file can suffer."""
    from headgate.stores.data import DataDir

    return DataDir(lay_schema(tmp_path / "data"))


class Outage:
    """Takes a data directory's store away and gives it back, unchanged."""

    def __init__(self, data: DataDir, server: servers.Postgres | None) -> None:
        self._data = data
        self._server = server
        self._away = data.path / "away"

    def begin(self) -> None:
        """Nobody can use the store any more, whoever is connected to it is cut off."""
        if self._server is None:
            self._away.mkdir()
            for file in self._data.path.glob("headgate.db*"):
                file.rename(self._away / file.name)
            return
        name = self._data.url.rpartition("/")[2]
        self._server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self._server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def end(self) -> None:
        """The store is back."""
        if self._server is None:
            for file in self._away.iterdir():
                file.rename(self._data.path / file.name)
            self._away.rmdir()
            return
        self._server.execute(f"ALTER DATABASE {self._data.url.rpartition('/')[2]} ALLOW_CONNECTIONS true")


@pytest.fixture
def outage(request: pytest.FixtureRequest, data: DataDir) -> Outage:
    """An outage of ``data``'s store, to begin and end."""
    return Outage(data, request.getfixturevalue("postgres") if data.database else None)
