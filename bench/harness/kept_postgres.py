"""A PostgreSQL server whose files stay: a bench fills it once, and later runs only ask it."""

from __future__ import annotations

import pathlib
import secrets
import shutil

from tests.postgres import SETTINGS, Postgres, find_binaries

SETTLED = {
    "fsync": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "autovacuum": "on",
    "jit": "on",
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "max_wal_size": "8GB",
    "random_page_cost": "1.1",
}
"""As a server of this size would be set up, for SSDs."""


class KeptPostgres(Postgres):
    """A server in a directory of its own, made at first use; ``close`` stops it, its files stay.

    Args:
        home: the directory; the user postgres must be able to go there.
        settings: see ``Postgres``; ``SETTLED`` where nothing is said.
    """

    def __init__(self, home: pathlib.Path, **settings: str) -> None:
        binaries = find_binaries()
        assert binaries is not None
        self._bin = binaries
        self._settings = {**SETTINGS, **SETTLED, **settings}
        self.home = home
        self._log = home / "log"
        self.process = None
        self.port = 0
        self.template = ""
        self._frozen = False
        secret = home / "password"
        if secret.exists():
            self.password = secret.read_text()
        else:
            home.mkdir(parents=True)
            self.password = secrets.token_hex(8)
            self._make_cluster()
            secret.touch(mode=0o600)
            secret.write_text(self.password)
            if Postgres._initdb is not None:
                shutil.rmtree(Postgres._initdb.parent, ignore_errors=True)
                Postgres._initdb = None
        self.start()

    def close(self) -> None:
        """Stops it, as one that will be started again. Idempotent."""
        self.stop()
