"""Deletes what retention no longer keeps, in small batches, so that nobody waits for a long delete."""

from __future__ import annotations

import time

from sqlalchemy import Column, Connection, Engine, Table, delete, func, select

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
            more |= _delete_before(connection, payloads, payloads.c.call_id, payloads.c.stored_ns, before)
            more |= _delete_before(connection, tapes, tapes.c.call_id, tapes.c.stored_ns, before)
            more |= _delete_before(connection, feedback, feedback.c.id, feedback.c.time_ns, before)
        if retention.payload_days is not None:
            before = now_ns - int(retention.payload_days * _DAY_NS)
            more |= _delete_before(connection, payloads, payloads.c.call_id, payloads.c.stored_ns, before)
            more |= _delete_before(connection, tapes, tapes.c.call_id, tapes.c.stored_ns, before)
        if retention.max_bytes is not None and not postgres:
            more |= _make_room(connection, retention.max_bytes)
    if more and not postgres:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA incremental_vacuum(2000)").close()
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


def _make_room(connection: Connection, max_bytes: int) -> bool:
    if used_bytes(connection) <= max_bytes:
        return False
    edge = select(func.max(calls.c.time_ns)).where(
        calls.c.n.in_(select(calls.c.n).order_by(calls.c.time_ns).limit(BATCH))
    )
    before = connection.execute(edge).scalar_one_or_none()
    if before is None:
        return False
    _delete_before(connection, payloads, payloads.c.call_id, payloads.c.stored_ns, before + 1)
    _delete_before(connection, tapes, tapes.c.call_id, tapes.c.stored_ns, before + 1)
    _delete_before(connection, feedback, feedback.c.id, feedback.c.time_ns, before + 1)
    return (
        connection.execute(
            delete(calls).where(calls.c.n.in_(select(calls.c.n).order_by(calls.c.time_ns).limit(BATCH)))
        ).rowcount
        > 0
    )
