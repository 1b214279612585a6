"""Closing what dead workers leave behind: the recorder's part of the lease protocol. Loads SQLAlchemy.

Only a recorder of the machine where a worker ran can tell that it is dead: its meter file's lock is free then. A
machine that is gone keeps its leases until it comes back, or an admin writes them off.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update

from headgate.stores.leases.decide import Lease, end_of_dead
from headgate.stores.leases.meter_file import FOLDER, SUFFIX, list_meters, read_dead
from headgate.stores.schema import lease_grants, lease_holders, lease_windows

_log = logging.getLogger("headgate.recorder")
KEEP_NS = 400 * 86_400 * 10**9
"""Windows that are over are kept for reports for so long."""

ERASED = "[erased]"
"""The member of windows whose user was erased: what was used of them counts until they are over."""


def erase_windows(connection: Connection, member: str, until_ns: int | None = None) -> int:
    """Takes a user's name off their windows; limits go on to hold, for workers know windows by id. Returns how many.

    ``until_ns``: only of windows that begin by then.
    """
    w = lease_windows.c
    theirs = (w.scope == "user") & (w.member == member)
    if until_ns is not None:
        theirs &= w.start_ns <= until_ns
    return connection.execute(update(lease_windows).where(theirs).values(member=ERASED)).rowcount


def close_dead(engine: Engine, data: Path, owner: str) -> int:
    """Closes the leases of this data directory's dead workers; returns how many workers there were.

    Each in one transaction: killed in between, it is done again. What was settled counts, what was reserved counts in
    full, as presumed, and nothing above what had been granted.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away; nothing is lost.
    """
    directory = data / FOLDER
    files = {path.name.removesuffix(SUFFIX): path for path in list_meters(directory)}
    dead: dict[str, dict[int, tuple[int, int]]] = {}
    for holder, path in list(files.items()):
        try:
            left = read_dead(path)
        except FileNotFoundError:
            del files[holder]
            continue
        if left is not None:
            dead[holder] = left
    with engine.connect() as connection:
        known = set(connection.execute(select(lease_holders.c.id).where(lease_holders.c.owner == owner)).scalars())
    closed = 0
    for holder in known:
        if holder in files and holder not in dead:
            continue
        if holder not in files and (directory / f"{holder}{SUFFIX}").exists():
            continue  # it has just begun
        with engine.begin() as connection:
            # A file that somebody removed tells nothing: all that was granted counts.
            presumed = close_holder(connection, holder, dead.get(holder))
        _log.warning("worker %s is dead: its leases are closed, %d presumed used", holder, presumed)
        closed += 1
    for holder in dead:
        files[holder].unlink(missing_ok=True)
    return closed


def close_holder(connection: Connection, holder: str, left: dict[int, tuple[int, int]] | None) -> int:
    """Ends every lease of a worker that will never use one again.

    Args:
        connection: in a transaction.
        holder: whose.
        left: what it has settled and reserved, by slot; None where nobody knows: all that was granted counts.

    Returns:
        The sum of what is presumed used, in the windows' units.
    """
    g, w = lease_grants.c, lease_windows.c
    total = 0
    query = select(lease_grants, w.unit).join(lease_windows, w.id == g.window_id).where(g.holder == holder)
    for row in connection.execute(query.order_by(g.window_id)).all():
        # The row of the window is locked by its update; of leases nobody else has any business with this worker's.
        settled, presumed = _spent(row, left)
        connection.execute(
            update(lease_windows)
            .where(w.id == row.window_id)
            .values(
                settled=w.settled + (settled - row.settled),
                held=w.held - (row.granted - row.settled),
                presumed=w.presumed + presumed,
            )
        )
        total += presumed
    connection.execute(delete(lease_grants).where(g.holder == holder))
    connection.execute(delete(lease_holders).where(lease_holders.c.id == holder))
    return total


def _spent(row: Row[Any], left: dict[int, tuple[int, int]] | None) -> tuple[int, int]:
    lease = Lease(row.granted, row.settled, row.reserved)
    if row.unit == "concurrency":
        return 0, 0  # who is dead calls nobody
    if left is None:
        return max(lease.granted, lease.settled), max(0, lease.granted - lease.settled)
    settled, reserved = left.get(row.slot, (0, 0))
    return end_of_dead(lease, settled, reserved)


def sweep_windows(engine: Engine, now_ns: int) -> int:
    """Deletes windows that have long been over (those of erased users: at once), and that nobody holds a lease in.

    Returns:
        How many.
    """
    w = lease_windows.c
    with engine.begin() as connection:
        nobodys = (w.member == ERASED) & (w.end_ns < now_ns)
        old = (w.end_ns > 0) & ((w.end_ns < now_ns - KEEP_NS) | nobodys) & (w.held == 0)
        return connection.execute(delete(lease_windows).where(old)).rowcount
