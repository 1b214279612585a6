"""The schema: migrations and tables agree, newer databases are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine, text

from headgate.core.errors import ConfigError
from headgate.stores.data import DataDir
from headgate.stores.database import SCHEMA_HEAD, schema_version
from headgate.stores.migrations import migrate
from headgate.stores.schema import SLOT, calls, metadata

_BY_SLOT = frozenset(str(index.name) for index in calls.indexes if SLOT in map(str, index.expressions))


def _is_ours(_: object, name: str | None, *__: object) -> bool:
    """The index of words is each database's own, and no table of SQLAlchemy's; indexes by slot are compared apart."""
    return not (name or "").startswith("payload_words") and name not in _BY_SLOT


def _by_slot(connection: Connection, schema: str) -> dict[str, str]:
    """How the database defines the indexes by slot, which SQLAlchemy can not read."""
    if connection.dialect.name == "postgresql":
        query = text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = :schema").bindparams(schema=schema)
    else:
        query = text("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
    found = {row[0]: str(row[1]).replace(f" {schema}.", " ") for row in connection.execute(query)}
    return {name: definition for name, definition in found.items() if name in _BY_SLOT}


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_migrations_make_what_the_code_expects(data: DataDir) -> None:
    """After all migrations there is no difference to the tables in ``schema``, and the version is the head."""
    engine = data.open_engine()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _is_ours})
        assert compare_metadata(context, metadata) == []
    with engine.connect() as connection:
        migrated = _by_slot(connection, "public")
        assert len(migrated) == len(_BY_SLOT) == 6
        if connection.dialect.name == "postgresql":
            connection.execute(text("CREATE SCHEMA twin"))
            calls.to_metadata(MetaData(), schema="twin").create(connection)
            assert _by_slot(connection, "twin") == migrated
        else:
            with create_engine("sqlite://").connect() as twin:
                calls.create(twin)
                assert _by_slot(twin, "main") == migrated
        connection.rollback()
    engine.dispose()
    assert schema_version(data.url) == SCHEMA_HEAD


def test_a_sqlite_file_is_made_for_readers_beside_a_writer(sqlite_data: DataDir) -> None:
    """It is in WAL mode, and gives deleted space back in small steps."""
    engine = sqlite_data.open_engine()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
    engine.dispose()


def test_a_newer_database_is_refused(data: DataDir) -> None:
    """A database that a later release migrated is not touched, and the error says to upgrade."""
    engine = data.open_engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(ConfigError, match="newer Headgate"):
        migrate(data.url)


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    """A broken database file is told as such, not overwritten."""
    data = DataDir(tmp_path / "data")
    (data.path / "headgate.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        migrate(data.url)
