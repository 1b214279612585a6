"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest
from tests import postgres as servers

ROOT = pathlib.Path(__file__).resolve().parent.parent


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
def own_postgres(postgres: servers.Postgres) -> Iterator[servers.Postgres]:
    """A PostgreSQL server of this test's own, to stop, freeze and start again; it starts in 0.1 s."""
    with servers.Postgres() as server:
        yield server
