"""Brings a database to this release's schema, by Alembic, from inside the package. Importing this loads SQLAlchemy."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from alembic.util import CommandError

from headgate.core.errors import ConfigError
from headgate.stores.database import SCHEMA_HEAD, locked, open_engine, schema_version, sqlite_path

_LOCK_NUMBER = 0x6865616467617465 >> 1


def migrate(url: str) -> None:
    """Migrates to this release's version, alone: others who start at the same time wait.

    Raises:
        ConfigError: the database can not be migrated, or a newer release made it.
        Unavailable: a Postgres that does not answer.
    """
    path = sqlite_path(url)
    try:
        if path is not None:
            with locked(path.with_name(path.name + ".lock")):
                _migrate_once(url)
        else:
            _migrate_once(url)
    except (OSError, CommandError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise ConfigError(f"the database schema could not be prepared: {_without_url(error)}") from error


def _migrate_once(url: str) -> None:
    version = schema_version(url)
    if version == SCHEMA_HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise ConfigError(
            f"the database has schema {version}, made by a newer Headgate; this one knows {SCHEMA_HEAD}: upgrade"
        )
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK_NUMBER})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _without_url(error: Exception) -> str:
    """Returns what went wrong in one line; a driver's own words only, which hold no password."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]
