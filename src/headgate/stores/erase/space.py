"""Overwrites what SQLite leaves behind of deleted rows: in its search index, in free pages, in its write-ahead log.

Every connection overwrites what it deletes within a page (``secure_delete=FAST``). Whole pages that came free go back
to the file system here, and the index, which only notes deletions until its parts are merged, is merged. Postgres
does the like by itself, when it vacuums. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.dialects import sqlite

from headgate.stores.schema import backlog

TASK = "erased space"
"""Its row in ``backlog``: somebody has deleted words from the index, and not yet merged it."""

_MERGED = 256
_VACUUMED = 2000
_PATIENCE_S = 10.0
_POLL_S = 0.05


def thorough(connection: Connection) -> None:
    """Has this connection overwrite whatever it deletes from now on, whole pages too."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON").close()


def note_words(connection: Connection) -> None:
    """Notes that words were deleted, in the transaction that does it."""
    if connection.dialect.name == "sqlite":
        row = {"name": TASK, "position": 0, "goal": 0}
        connection.execute(sqlite.insert(backlog).values(row).on_conflict_do_nothing())


def is_pending(engine: Engine) -> bool:
    """Whether words were deleted that are not overwritten yet."""
    with engine.connect() as connection:
        return connection.execute(select(backlog.c.name).where(backlog.c.name == TASK)).first() is not None


def overwrite(engine: Engine, patience: float = _PATIENCE_S) -> bool:
    """Overwrites what is left in a SQLite file, in steps that others can come between.

    Args:
        engine: the database; nothing is done for a Postgres.
        patience: seconds to wait for those who read the write-ahead log.

    Returns:
        False where the write-ahead log was in use all the time: it holds old pages until it is next emptied.
    """
    if engine.dialect.name != "sqlite":
        return True
    if is_pending(engine):
        _merge_words(engine)
        with engine.begin() as connection:
            connection.execute(delete(backlog).where(backlog.c.name == TASK))
    while _vacuum(engine):
        pass
    return _empty_log(engine, patience)


def _merge_words(engine: Engine) -> None:
    """Makes one part of all parts of the index, a bounded piece at a time: then no deleted word is in it."""
    pages = -_MERGED
    while True:
        with engine.begin() as connection:
            thorough(connection)
            driver: Any = connection.connection.driver_connection
            before = driver.total_changes
            merge = "INSERT INTO payload_words (payload_words, rank) VALUES ('merge', ?)"
            connection.exec_driver_sql(merge, (pages,))
            if pages > 0 and driver.total_changes - before < 2:
                return
        pages = _MERGED


def _vacuum(engine: Engine) -> bool:
    """Gives some free pages back; returns whether there are more."""
    with engine.connect() as connection:
        before = _free(connection)
        give_back(connection, _VACUUMED)
        return 0 < _free(connection) < before


def give_back(connection: Connection, pages: int) -> None:
    """Gives free pages of a SQLite file back to the file system, at most so many; outside of a transaction."""
    driver: Any = connection.connection.driver_connection
    # A step a page, each with an empty row: only a script is stepped to its end.
    driver.executescript(f"PRAGMA incremental_vacuum({pages})")


def _free(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())


def _empty_log(engine: Engine, patience: float) -> bool:
    until = time.monotonic() + patience
    while True:
        with engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        if not busy:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)
