"""Where the database is and whether its schema is current; a worker gets by with this and never loads SQLAlchemy.

Importing SQLAlchemy takes about 0.1 to 0.3 s and 13 MB on top of a worker, Alembic half as much again:
too dear for a worker that only reads keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, unquote

from headgate.core.errors import ConfigError, Unavailable
from headgate.stores.postgres import PostgresReader, connect, is_postgres, require_driver

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

SCHEMA_HEAD = "0014"
URL_VARIABLE = "HEADGATE_DATABASE_URL"
BUSY_SECONDS = 10.0
_SQLITE = "sqlite:///"
_T = TypeVar("_T")


class Reader(Protocol):
    """A connection that only reads, by SQL that every supported database understands."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns all rows.

        Raises:
            Unavailable: the database does not answer, or is gone.
        """

    def interrupt(self) -> None:
        """Ends a query that another thread waits for; may end the connection. Any thread may call it."""

    def close(self) -> None:
        """Closes the connection. Idempotent."""


def sqlite_url(path: Path) -> str:
    """Returns the URL of a SQLite file."""
    return _SQLITE + quote(str(path.absolute()))


def sqlite_path(url: str) -> Path | None:
    """Returns the file of a SQLite URL, None for any other database's."""
    if not url.startswith(_SQLITE):
        return None
    return Path(unquote(url[len(_SQLITE) :].partition("?")[0]))


class SqliteReader:
    """Reads a SQLite file through the standard library; notices when the file is deleted or replaced."""

    def __init__(self, path: Path) -> None:
        """Raises:
        Unavailable: there is no such file, or it can not be opened.
        """
        self._path = path
        try:
            self._inode = os.stat(path).st_ino
            uri = f"{path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA query_only=1")
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"the database {path} can not be opened: {error}", code="store_unavailable") from error

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``Reader``."""
        try:
            if os.stat(self._path).st_ino != self._inode:
                raise FileNotFoundError(f"{self._path} was replaced")
            return self._connection.execute(sql).fetchall()
        except (OSError, sqlite3.Error) as error:
            message = f"the database {self._path} does not answer: {error}"
            raise Unavailable(message, code="store_unavailable") from error

    def interrupt(self) -> None:
        """See ``Reader``."""
        self._connection.interrupt()

    def close(self) -> None:
        """See ``Reader``."""
        self._connection.close()


def open_reader(url: str) -> Reader:
    """Opens a connection that only reads.

    Raises:
        Unavailable: the database can not be reached.
        ConfigError: the URL is no database's, or its driver is not installed.
    """
    path = sqlite_path(url)
    return SqliteReader(path) if path is not None else PostgresReader(url)


def open_engine(url: str, *, synchronous: str = "NORMAL") -> Engine:
    """Returns a SQLAlchemy engine; a SQLite file is made if missing (0600) and put into WAL mode.

    Args:
        url: a SQLite file's or a Postgres database's.
        synchronous: SQLite's durability: ``"FULL"`` where a commit must survive a power cut.

    Raises:
        ConfigError: the URL is no database's, or its driver is not installed.
    """
    import sqlalchemy

    path = sqlite_path(url)
    if path is None:
        return _postgres_engine(url)
    place = sqlalchemy.URL.create("sqlite", database=str(path))
    engine = sqlalchemy.create_engine(place, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    _let_hints_through(engine)

    @sqlalchemy.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # counts only before the first table
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        # What is deleted or replaced within a page is gone from it at once; see ``erase.space`` for whole pages.
        connection.execute("PRAGMA secure_delete=FAST")

    if not path.exists():
        # Never one that is there: closing it would drop the locks that this process's other connections hold on it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return engine


def chunks(items: Sequence[_T], size: int = 500) -> Iterator[Sequence[_T]]:
    """Yields some items at a time: databases take only so many values in one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert_new(engine: Engine | Connection, table: Table) -> Any:
    """Returns an INSERT in the database's own dialect, which can say what to do with rows that are there already."""
    from sqlalchemy.dialects import postgresql, sqlite

    return (postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert)(table)


def _let_hints_through(engine: Engine) -> None:
    """Has ``with_hint`` write ``INDEXED BY`` behind a table: SQLAlchemy knows no hints of SQLite's by itself."""
    from sqlalchemy.sql.compiler import SQLCompiler

    class Compiler(engine.dialect.statement_compiler):  # type: ignore[name-defined, misc]
        def get_from_hint_text(self: SQLCompiler, table: object, text: str | None) -> str | None:
            return text

    engine.dialect.statement_compiler = Compiler


def _postgres_engine(url: str) -> Engine:
    """psycopg, not SQLAlchemy, reads the URL: whatever libpq understands works, and no engine shows a password."""
    import sqlalchemy

    require_driver(url)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", pool_pre_ping=True, hide_parameters=True)

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, ___: object, options: dict[str, Any]) -> Any:
        return connect(url, **options)

    return engine


def schema_version(url: str) -> str | None:
    """Returns the schema's version, None where there is no schema yet, or no SQLite file. Cheap.

    Raises:
        Unavailable: a Postgres that does not answer.
        ConfigError: see ``open_reader``.
    """
    try:
        reader = open_reader(url)
    except Unavailable:
        if is_postgres(url):
            raise
        return None
    try:
        if is_postgres(url) and reader.query("SELECT to_regclass('alembic_version')") == [(None,)]:
            return None
        rows = reader.query("SELECT version_num FROM alembic_version")
    except Unavailable:
        if is_postgres(url):
            raise
        return None
    finally:
        reader.close()
    return str(rows[0][0]) if rows else None


def ensure_schema(url: str) -> None:
    """Brings the schema to this release's version. Safe for many first starts at once; cheap when it is there.

    The migration runs in a process of its own, so that this one stays small, unless SQLAlchemy is loaded already.

    Raises:
        ConfigError: the migration failed, or a newer release made this database.
        Unavailable: a Postgres that does not answer; the migration was ended by a signal.
    """
    if schema_version(url) == SCHEMA_HEAD:
        return
    if "sqlalchemy" in sys.modules:
        from headgate.stores.migrations import migrate

        migrate(url)
        return
    done = subprocess.run(
        [sys.executable, "-m", "headgate.stores.migrations"],
        env={**os.environ, URL_VARIABLE: url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        raise Unavailable(
            f"the start was cut off by {signal.Signals(-done.returncode).name} while the database schema was prepared; "
            "start again"
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"the database schema could not be prepared: {last}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file (made if missing, 0600) while the block runs."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
