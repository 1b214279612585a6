"""Deletes what retention no longer keeps, in small batches, so that nobody waits for a long delete."""

from __future__ import annotations

import time

from sqlalchemy import Column, Connection, Engine, Table, delete, func, select

from headgate.stores.erase.space import give_back
from headgate.stores.payloads import delete_payloads
from headgate.stores.retention import Retention
from headgate.stores.schema import calls, feedback, payloads, tapes

BATCH = 1000
SWEEP_LOCK = 0x6865616467617465 // 3
_DAY_NS = 86_400 * 1_000_000_000


def sweep(engine: Engine, retention: Retention, now_ns: int | None = None) -> bool:
    """Deletes at most one small batch of each kind. Returns True where there may be more to delete."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    more = False
    postgres = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        # Of several machines' recorders one sweeps at a time; two would wait for each other's rows.
        if postgres and not connection.execute(select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))).scalar_one():
            return False
        if retention.retention_days is not None:
            before = now_ns - int(retention.retention_days * _DAY_NS)
            more |= _delete_before(connection, calls, calls.c.n, calls.c.time_ns, before)
            more |= _forget_before(connection, before)
            more |= _delete_before(connection, tapes, tapes.c.call_id, tapes.c.stored_ns, before)
            more |= _delete_before(connection, feedback, feedback.c.id, feedback.c.time_ns, before)
        if retention.payload_days is not None:
            before = now_ns - int(retention.payload_days * _DAY_NS)
            more |= _forget_before(connection, before)
            more |= _delete_before(connection, tapes, tapes.c.call_id, tapes.c.stored_ns, before)
        if retention.payload_bytes is not None:
            more |= _forget_above(connection, retention.payload_bytes)
        if retention.max_bytes is not None and not postgres:
            more |= _make_room(connection, retention.max_bytes)
    if more and not postgres:
        with engine.connect() as connection:
            give_back(connection, 2000)
    return more


def used_bytes(connection: Connection) -> int:
    """Returns how much of a SQLite file is in use, in bytes."""
    pages, free, size = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _delete_before(connection: Connection, table: Table, key: Column[int], time: Column[int], before: int) -> bool:
    oldest = select(key).where(time < before).order_by(time).limit(BATCH)
    return connection.execute(delete(table).where(key.in_(oldest))).rowcount >= BATCH


def _forget_before(connection: Connection, before: int) -> bool:
    """Deletes payloads that were stored before a moment, the oldest first."""
    c = payloads.c
    oldest = select(c.n).where(c.stored_ns < before).order_by(c.stored_ns).limit(BATCH)
    numbers = list(connection.execute(oldest).scalars())
    delete_payloads(connection, numbers)
    return len(numbers) >= BATCH


def _forget_above(connection: Connection, most: int) -> bool:
    """Deletes the oldest payloads while all of them are larger than ``most`` bytes."""
    c = payloads.c
    over = int(connection.execute(select(func.coalesce(func.sum(c.stored), 0))).scalar_one()) - most
    numbers: list[int] = []
    if over > 0:
        for row in connection.execute(select(c.n, c.stored).order_by(c.stored_ns).limit(BATCH)):
            if over <= 0:
                break
            numbers.append(row.n)
            over -= row.stored
        delete_payloads(connection, numbers)
    return len(numbers) >= BATCH


def _make_room(connection: Connection, max_bytes: int) -> bool:
    if used_bytes(connection) <= max_bytes:
        return False
    edge = select(func.max(calls.c.time_ns)).where(
        calls.c.n.in_(select(calls.c.n).order_by(calls.c.time_ns).limit(BATCH))
    )
    before = connection.execute(edge).scalar_one_or_none()
    if before is None:
        return False
    _forget_before(connection, before + 1)
    _delete_before(connection, tapes, tapes.c.call_id, tapes.c.stored_ns, before + 1)
    _delete_before(connection, feedback, feedback.c.id, feedback.c.time_ns, before + 1)
    return (
        connection.execute(
            delete(calls).where(calls.c.n.in_(select(calls.c.n).order_by(calls.c.time_ns).limit(BATCH)))
        ).rowcount
        > 0
    )
