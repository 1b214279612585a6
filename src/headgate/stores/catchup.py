"""Waits until the store holds what the journal held a moment ago, so that a reader misses nothing."""

from __future__ import annotations

import os
import time

from sqlalchemy import Engine, select

from headgate.stores.data import DataDir
from headgate.stores.journal.framing import PREFIX_SIZE
from headgate.stores.journal.segments import list_segments
from headgate.stores.keeper import take_recorder_lock
from headgate.stores.recorder import Recorder
from headgate.stores.schema import journal_offsets

_POLL_S = 0.05


def catch_up(data: DataDir, engine: Engine, timeout: float = 3.0) -> bool:
    """Waits for the recorder to store all that the journal holds now, or does it where no recorder runs.

    Args:
        data: the data directory.
        engine: its database.
        timeout: seconds to wait for a recorder that runs.

    Returns:
        False where the recorder did not get there in time, or works for another database: the newest calls may
        be missing.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away.
    """
    goal = {name: size for name, size in list_segments(data.journal_path) if size > PREFIX_SIZE}
    until = time.monotonic() + timeout
    c = journal_offsets.c
    while goal:
        with engine.connect() as connection:
            rows = connection.execute(select(c.segment, c.position).where(c.owner == data.owner))
            done = {row.segment: row.position for row in rows}
        there = {name for name, _ in list_segments(data.journal_path)}
        goal = {name: size for name, size in goal.items() if name in there and done.get(name, 0) < size}
        if not goal:
            return True
        if data.claimed != data.database:
            return False
        lock = take_recorder_lock(data.path)
        if lock is not None:
            _drain(data, lock)
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)
    return True


def _drain(data: DataDir, lock: int) -> None:
    recorder = Recorder(data)
    try:
        recorder.drain()
    finally:
        recorder.close()
        os.close(lock)
