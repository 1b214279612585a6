"""Copies what a data directory's SQLite file holds into its Postgres, as often as need be. Loads SQLAlchemy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, Table, select
from sqlalchemy.dialects import postgresql

from headgate.core.errors import ConfigError
from headgate.stores.data import DATABASE, DataDir
from headgate.stores.database import open_engine, sqlite_url
from headgate.stores.epoch import bump_epoch
from headgate.stores.erase.erasures import tell
from headgate.stores.keeper import take_recorder_lock
from headgate.stores.move_rollups import MovedRollups
from headgate.stores.payloads import Payload, PayloadWriter, unpack
from headgate.stores.recorder import Recorder
from headgate.stores.rows import COLUMNS, fit_row
from headgate.stores.schema import (
    audit_log,
    calls,
    erasures,
    feedback,
    lease_windows,
    limits,
    old_secrets,
    payloads,
    tapes,
    teams,
    users,
    virtual_keys,
)

COPIED = (teams, users, virtual_keys, old_secrets, limits, lease_windows, audit_log, erasures, calls, tapes, feedback)
"""The tables that are copied as they are, in this order; payloads come after them."""

OTHERS = frozenset({"payloads"})
"""Tables that are copied in a way of their own."""

ALERTS = ("alert_states", "alert_events", "alert_deliveries", "alert_silences", "alert_leases")
LEASES = ("lease_holders", "lease_grants")
LEFT = frozenset({"answered", "epoch", "journal_offsets", "backlog", "console_sessions", *ALERTS, *LEASES})
"""The tables that mean nothing elsewhere: each database counts its own changes and remembers its own answers, and the
journal is read to its end, and no worker holds a lease any more; what is still wrong is told anew by the alerts
there."""

ROLLED = frozenset({"minutes", "hours", "days", "rollup_shards"})
"""The tables that are made of the calls that arrive; ``stores.move_rollups`` carries what no call is left of."""

BATCH = 2000


def copy_store(data: DataDir) -> dict[str, int]:
    """Copies keys, calls and payloads; what is there already stays as it is. The SQLite file stays, too.

    From then on the directory belongs to the Postgres (see ``DataDir.claim``).

    Args:
        data: the directory, on the Postgres to copy to.

    Returns:
        How many rows of each table were read.

    Raises:
        ConfigError: no Postgres is configured, there is no SQLite file, or a gateway still runs on the directory.
        Unavailable: the Postgres does not answer.
    """
    file = data.path / DATABASE
    if not data.database:
        raise ConfigError("there is no Postgres to copy to: set data.database or HEADGATE_DATABASE_URL")
    if not file.is_file():
        raise ConfigError(f"there is nothing to copy: no {file}")
    lock = take_recorder_lock(data.path)
    if lock is None:
        raise ConfigError(f"a gateway or its recorder runs on {data.path}: stop it, and wait a few seconds")
    try:
        if data.claimed != data.database:
            _read_journal(DataDir(data.path))
        source, target = open_engine(sqlite_url(file)), data.open_engine()
        try:
            rollups = MovedRollups(source, target, data.owner)
            counts = {table.name: _copy_table(source, target, table, rollups) for table in COPIED}
            counts[payloads.name] = _copy_payloads(source, target)
            with target.begin() as connection:
                bump_epoch(connection)
                tell(connection)
        finally:
            source.dispose()
            target.dispose()
        data.claim()
    finally:
        os.close(lock)
    return counts


def _read_journal(file: DataDir) -> None:
    """Moves what the journal still holds into the SQLite file, so that it is copied with the rest."""
    recorder = Recorder(file)
    try:
        if recorder.has_writer():
            raise ConfigError(f"a gateway still writes to {file.path}: stop it first")
        recorder.drain()
        recorder.close_dead()
    finally:
        recorder.close()


def _copy_table(source: Engine, target: Engine, table: Table, rollups: MovedRollups) -> int:
    count = 0
    statement = postgresql.insert(table).on_conflict_do_nothing()
    for rows in _batches(source, table):
        with target.begin() as connection:
            if table is calls:
                new = set(connection.execute(statement.returning(calls.c.id), rows).scalars())
                rollups.add(connection, [row for row in rows if row["id"] in new])
            else:
                connection.execute(statement, rows)
        count += len(rows)
    return count


def _copy_payloads(source: Engine, target: Engine) -> int:
    """Numbers them anew, and makes their words findable there."""
    count = 0
    writer = PayloadWriter(target)
    for rows in _batches(source, payloads):
        with target.begin() as connection:
            for row in rows:
                text = unpack(row["body"]).text
                one = Payload(row["call_id"], row["policy"], row["body"], row["size"], text)
                writer.run(connection, [one], row["stored_ns"])
        count += len(rows)
    return count


def _batches(source: Engine, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Reads a table in the order of its key. Calls are numbered anew, and cut to what a strict database can hold."""
    (key,) = table.primary_key
    columns = [table.c[name] for name in COLUMNS] if table is calls else list(table.c)
    last: Any = None
    while True:
        query = select(key.label("key_"), *columns).order_by(key).limit(BATCH)
        with source.connect() as connection:
            rows = connection.execute(query if last is None else query.where(key > last)).all()
        if not rows:
            return
        last = rows[-1][0]
        names = [column.name for column in columns]
        yield [dict(zip(names, fit_row(row[1:]) if table is calls else row[1:], strict=True)) for row in rows]
