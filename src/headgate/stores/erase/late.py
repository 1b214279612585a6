"""What a recorder does, once a minute, for erasures of before: names that came in late, words of what it dropped."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Engine, select

from headgate.core.record import Record
from headgate.stores.erase import space
from headgate.stores.erase.erasures import Erasures, forget_old, hold_off
from headgate.stores.erase.files import erase_aside
from headgate.stores.leases.closing import ERASED, erase_windows
from headgate.stores.schema import lease_windows

RECENT_NS = 15 * 60 * 10**9
"""For so long after an erase a worker may still open a window for a call that began before it."""


_log = logging.getLogger("headgate.recorder")


def follow_up(engine: Engine, journal: Path, now_ns: int, known: int = -1) -> int:
    """Takes names off windows that were opened late, overwrites what late calls left, forgets old erasures.

    Args:
        engine: the database.
        journal: a data directory's journal; what was put aside in it is gone through once for each erasure.
        now_ns: the moment.
        known: what the last call returned.

    Returns:
        How many erasures there have been.
    """
    erasures = Erasures(engine)
    erasures.look()
    if erasures.newest and erasures.seen != known:
        _erase_aside(engine, erasures, journal)
    w = lease_windows.c
    named = (w.scope == "user") & w.member.not_in(["", ERASED]) & (w.start_ns <= erasures.newest)
    with engine.begin() as connection:
        hold_off(connection)
        forget_old(connection, now_ns)
        if erasures.newest > now_ns - RECENT_NS:
            members = set(connection.execute(select(w.member).where(named).distinct()).scalars())
            for member, until_ns in erasures.until(connection, members).items():
                erase_windows(connection, member, until_ns)
    if space.is_pending(engine):
        space.overwrite(engine, patience=0.0)
    return erasures.seen


def _erase_aside(engine: Engine, erasures: Erasures, journal: Path) -> None:
    """This machine's part: whoever erased has only their own files."""

    def began_before(record: Record) -> bool:
        with engine.connect() as connection:
            return record.time_ns <= erasures.until(connection, [record.user]).get(record.user, -1)

    def theirs(ids: Collection[str]) -> Collection[str]:
        return erasures.stored(ids)

    try:
        erase_aside(journal, [], theirs, began_before)
    except OSError as error:
        _log.error("%s can not be erased (%s): run headgate erase here again", error.filename, error.strerror)
