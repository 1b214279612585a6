"""Connections to Postgres by psycopg alone, so that a worker, which only reads keys, need not load SQLAlchemy.

Importing psycopg takes about 70 ms and 11 MB; it happens at the first connection, never for a SQLite store.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from headgate.core.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    import psycopg

QUERY_SECONDS = 10.0
"""How long a worker's question may stay unanswered before its connection is given up."""

_SCHEME = re.compile(r"(?:postgresql(?:\+psycopg)?|postgres)://")
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%]+\]|[^:\[\]]*)(?::\d{1,5})?")
_PASSWORDS = frozenset({"password", "sslpassword"})
# What libpq would do without these: wait for minutes on a machine that is gone.
_PATIENCE = {
    "connect_timeout": "4",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "fallback_application_name": "headgate",
}


def is_postgres(url: str) -> bool:
    """Returns whether a URL is a Postgres's: ``postgresql://``, ``postgres://`` or ``postgresql+psycopg://``."""
    return _SCHEME.match(url) is not None


def check_url(url: str) -> str:
    """Returns what is wrong with a Postgres URL, or "". Never repeats any of it: a part may be a password's."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return "expected a URL like postgresql://user@host:5432/database"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "not a URL: it holds spaces or characters outside ASCII; percent-encode them"
    place = url[scheme.end() :]
    authority = re.split(r"[/?]", place, maxsplit=1)[0]
    # A raw @ or / in a password would make libpq take the rest of it for a host, and name it in its error.
    if authority.count("@") > 1 or "@" in place[len(authority) :]:
        return "not a URL: percent-encode @, / and ? where they belong to a user or password (%40, %2F, %3F)"
    if not all(_HOST.fullmatch(host) for host in authority.rpartition("@")[2].split(",")):
        return "not a URL: expected host or host:port behind the @, the port a number"
    return ""


def has_password(url: str) -> bool:
    """Returns whether a URL that ``check_url`` lets pass holds a password."""
    place = _SCHEME.sub("", url, count=1)
    user, at, _ = re.split(r"[/?]", place, maxsplit=1)[0].partition("@")
    query = place.partition("?")[2]
    return bool(at and ":" in user) or any(name in _PASSWORDS for name, _ in parse_qsl(query, keep_blank_values=True))


def shown(url: str) -> str:
    """Returns the URL as it may be shown and kept: without password and parameters."""
    place = _SCHEME.sub("", url, count=1).partition("?")[0]
    authority, slash, database = place.partition("/")
    user, at, host = authority.rpartition("@")
    return f"postgresql://{user.partition(':')[0]}{at}{host}{slash}{database}"


def connect(url: str, **options: Any) -> psycopg.Connection[Any]:
    """Opens a connection; gives up on machines that do not answer within seconds, unless the URL says otherwise.

    Args:
        url: see ``is_postgres``; any parameter of libpq may stand in its query.
        **options: as ``psycopg.connect`` takes them.

    Raises:
        ConfigError: psycopg is not installed, or the URL is malformed.
        psycopg.OperationalError: no connection.
    """
    driver = require_driver(url)
    wrong = check_url(url)
    try:
        given = driver.conninfo.conninfo_to_dict(_SCHEME.sub("postgresql://", url, count=1))
    except driver.ProgrammingError:
        wrong = wrong or "a parameter is malformed or unknown"
    if wrong:
        raise ConfigError(f"the database URL can not be used: {wrong}") from None
    # Statements are not prepared: a pooler between us and the server (PgBouncer) may not know them.
    connection: psycopg.Connection[Any] = driver.connect(**{**_PATIENCE, **given, "prepare_threshold": None, **options})
    return connection


def first_line(error: BaseException) -> str:
    """Returns a driver's own words in one line; they hold no password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class PostgresReader:
    """Reads a Postgres database; a ``Reader``. One thread queries, any may interrupt.

    Args:
        url: the database's.
        seconds: how long a query may take.

    Raises:
        Unavailable: the database can not be reached.
        ConfigError: see ``connect``.
    """

    def __init__(self, url: str, *, seconds: float = QUERY_SECONDS) -> None:
        self._seconds = seconds
        self._error: type[Exception] = require_driver(url).Error
        try:
            self._connection = connect(url, autocommit=True)
        except self._error as error:
            message = f"the database {shown(url)} can not be reached: {first_line(error)}"
            raise Unavailable(message, code="store_unavailable") from error
        self._shown = shown(url)
        self._late = False
        self._lock = threading.Lock()  # held while the socket's number is looked up or let go
        self._open = True

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``Reader``."""
        watchdog = threading.Timer(self._seconds, self._give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._connection.execute(sql.encode()).fetchall()
        except self._error as error:
            said = f"nothing for {self._seconds:g} s" if self._late else first_line(error)
            message = f"the database {self._shown} does not answer: {said}"
            raise Unavailable(message, code="store_unavailable") from error
        finally:
            watchdog.cancel()

    def interrupt(self) -> None:
        """Ends a query that another thread waits for, and the connection with it. Nothing where it is closed."""
        with self._lock:
            if not self._open or self._connection.closed:
                return
            duplicate = socket.socket(fileno=os.dup(self._connection.fileno()))
        with duplicate:
            try:
                duplicate.shutdown(socket.SHUT_RDWR)
            except OSError:  # the server was first
                return

    def close(self) -> None:
        """See ``Reader``."""
        with self._lock:
            self._open = False
            self._connection.close()

    def _give_up(self) -> None:
        self._late = True
        self.interrupt()


def require_driver(url: str) -> Any:
    """Returns the module psycopg.

    Raises:
        ConfigError: it is not installed, or the URL is no Postgres's.
    """
    if not is_postgres(url):
        raise ConfigError(f"the database URL can not be used: {check_url(url)}")
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise ConfigError(
            "a Postgres store needs psycopg, which is not installed: pip install 'headgate[postgres]'",
            hint=f"({first_line(error)})",
        ) from error
    return psycopg
