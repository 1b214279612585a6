"""What threads and processes beside the gateway need to live with a store for long: it goes away, and is replaced."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from headgate.core.errors import HeadgateError
from headgate.stores.database import sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.stores.data import DataDir

QUIET_S = 60.0
"""Between two complaints."""


def file_inode(url: str) -> int:
    """Returns what changes when a SQLite file is replaced: -1 where there is none, 0 of any other database."""
    path = sqlite_path(url)
    try:
        return path.stat().st_ino if path is not None else 0
    except FileNotFoundError:
        return -1


class LiveStore:
    """The store of a data directory: opened when first asked for, and anew once its file was deleted or replaced."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._engine: Engine | None = None
        self._inode = 0

    def open(self) -> Engine:
        """Returns the engine: another one than the last time where that one's file is gone."""
        if self._engine is not None and file_inode(self._data.url) != self._inode:
            self.close()
        if self._engine is None:
            self._engine = self._data.open_engine()
            self._inode = file_inode(self._data.url)
        return self._engine

    def close(self) -> None:
        """Lets go of the database; ``open`` opens it again. Idempotent."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


class Complaints:
    """Says what keeps somebody from working, at most once a minute; they try on."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said = -QUIET_S

    def say(self, what: str, error: Exception) -> None:
        """Writes what happens now, and why, where nothing was said lately."""
        now = time.monotonic()
        if now - self._said < QUIET_S:
            return
        self._said = now
        if isinstance(error, HeadgateError):
            self._log.error("%s: %s", what, error.message)
        else:
            cause = getattr(error, "orig", None) or error
            self._log.error("%s: %s: %s", what, type(cause).__name__, cause)
