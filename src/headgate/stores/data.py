"""The data directory: one place that holds journal, database and recorder, and opens them for whoever asks."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.core.errors import ConfigError
from headgate.stores.database import ensure_schema, open_engine, sqlite_url
from headgate.stores.journal.writer import Fsync, JournalWriter
from headgate.stores.keyring import ADMIN_VARIABLE, KeyRingCache, any_key
from headgate.stores.postgres import is_postgres, shown

if TYPE_CHECKING:
    from sqlalchemy import Engine

JOURNAL = "journal"
DATABASE = "headgate.db"
OWNER = "id"
CLAIM = "database"


class DataDir:
    """A data directory, made if missing, closed to everybody else (0700).

    Args:
        path: where it is.
        url: the database's URL, a Postgres's or a SQLite file's; None for ``headgate.db`` in the directory.
        create: False where a missing directory is an error.

    Attributes:
        path: where it is, absolute.
        url: the database's URL.
        given_url: the URL as given, None for the directory's own file.

    Raises:
        ConfigError: it can not be made or entered, is somebody else's, or is missing with ``create`` False.
    """

    def __init__(self, path: Path | str, *, url: str | None = None, create: bool = True) -> None:
        self.path = Path(path).absolute()
        self.given_url = url
        self.url = url or sqlite_url(self.path / DATABASE)
        if not create and not self.path.is_dir():
            raise ConfigError(f"there is no data directory at {self.path}; name the gateway's own with --data")
        try:
            _make_private(self.path)
            _make_private(self.journal_path)
        except OSError as error:
            raise ConfigError(f"the data directory {self.path} can not be used: {error.strerror or error}") from error

    @property
    def journal_path(self) -> Path:
        """Where the journal's segments lie."""
        return self.path / JOURNAL

    @property
    def owner(self) -> str:
        """The directory's own id, made at first use: tells its journal from other machines' in a shared database."""
        file = self.path / OWNER
        try:
            return file.read_text()
        except FileNotFoundError:
            new = file.with_name(f"{OWNER}.{secrets.token_hex(4)}")
            new.write_text(secrets.token_hex(8))
            new.chmod(0o600)
            try:
                os.link(new, file)
            except FileExistsError:  # another process was first
                pass
            finally:
                new.unlink()
            return file.read_text()

    def set_url(self, url: str) -> None:
        """Uses this URL for the same Postgres from now on: its password may be another."""
        self.url = self.given_url = url

    @property
    def database(self) -> str:
        """The Postgres database it feeds, as it may be shown, "" for a SQLite file."""
        return shown(self.url) if is_postgres(self.url) else ""

    @property
    def claimed(self) -> str:
        """As ``database``, but of the gateway that last began to write here."""
        try:
            return (self.path / CLAIM).read_text().strip()
        except FileNotFoundError:
            return ""

    def claim(self) -> None:
        """Makes known which database this directory feeds from now on; a recorder for another one goes.

        Raises:
            ConfigError: see ``prepare``.
        """
        self._check_claim()
        if self.database == self.claimed:
            return
        new = self.path / f"{CLAIM}.{secrets.token_hex(4)}"
        new.write_text(self.database + "\n")
        new.chmod(0o600)
        new.replace(self.path / CLAIM)

    def prepare(self) -> None:
        """Brings the database's schema up to date; cheap when it is.

        Raises:
            ConfigError: it can not be done, or the directory feeds a Postgres and this is a SQLite file.
            Unavailable: a Postgres that does not answer.
        """
        self._check_claim()
        ensure_schema(self.url)

    def _check_claim(self) -> None:
        """A forgotten variable must not begin a second store: no key would exist there, and records part ways."""
        claimed = self.claimed
        if claimed and not self.database:
            raise ConfigError(
                f"the data directory {self.path} belongs to the database {claimed}, and none is configured: set "
                f"data.database or HEADGATE_DATABASE_URL (to go back to SQLite for good, remove {self.path / CLAIM})"
            )

    def open_engine(self) -> Engine:
        """Returns a SQLAlchemy engine on the prepared database; the caller disposes of it."""
        self.prepare()
        return open_engine(self.url)

    def open_journal(self, *, fsync: Fsync = "interval", segment_bytes: int = 64 << 20) -> JournalWriter:
        """Opens a journal for this process to write; a ``RecorderKeeper`` beside it sees that it reaches the store.

        Args:
            fsync: see ``JournalWriter``.
            segment_bytes: size at which a segment is closed.

        Raises:
            ConfigError: nothing can be written in the directory.
        """
        try:
            return JournalWriter(self.journal_path, fsync=fsync, rotate_bytes=segment_bytes)
        except OSError as error:
            raise ConfigError(f"no journal can be written in {self.path}: {error.strerror or error}") from error

    def open_keys(self, *, admin_key: str | None = None) -> KeyRingCache:
        """Prepares the database and opens the keys in it.

        Args:
            admin_key: one more admin key, in memory only; None takes ``HEADGATE_ADMIN_KEY`` from the environment.
        """
        self.prepare()
        if admin_key is None:
            admin_key = os.environ.get(ADMIN_VARIABLE, "")
        return KeyRingCache(self.url, admin_key=admin_key)

    def has_keys(self) -> bool:
        """Prepares the database, and returns whether a key exists in it, revoked and expired ones counted.

        Raises:
            Unavailable: the database can not be read.
        """
        self.prepare()
        return any_key(self.url)


def _make_private(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = path.stat()
    if state.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user")
    if state.st_mode & 0o077:
        path.chmod(0o700)
