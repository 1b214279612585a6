"""Calls and what was said in them, read from the store for the exporter. Importing this loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from headgate.core.record import Record
from headgate.observe.traces.content import read_content
from headgate.observe.traces.span import Value
from headgate.stores.data import DataDir
from headgate.stores.database import chunks
from headgate.stores.live_store import LiveStore
from headgate.stores.payloads import Body, unpack
from headgate.stores.rows import to_record
from headgate.stores.schema import calls, payloads


class StoreSource:
    """The store of a data directory; opened when something is asked of it."""

    def __init__(self, data: DataDir) -> None:
        self._store = LiveStore(data)

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Returns the calls that the store has, by id. Raises what SQLAlchemy does."""
        found = {}
        with self._store.open().connect() as connection:
            for some in chunks(ids):
                query = select(calls).where(calls.c.id.in_(some))
                for row in connection.execute(query).mappings():
                    found[row["id"]] = to_record(dict(row))
        return found

    def content(self, records: Sequence[Record]) -> Mapping[str, Mapping[str, Value]]:
        """Returns what was said, by call, as redacted as the store keeps it. Raises what SQLAlchemy does."""
        kept = {record.id: record for record in records if record.payloads != "none"}
        bodies: dict[str, Body] = {}
        with self._store.open().connect() as connection:
            for some in chunks(list(kept)):
                c = payloads.c
                query = select(c.call_id, c.body).where(c.call_id.in_(some))
                for row in connection.execute(query):
                    bodies[row.call_id] = unpack(row.body)
        return {id: read_content(kept[id], body) for id, body in bodies.items()}

    def close(self) -> None:
        """Lets go of the database; what is asked next opens it again. Idempotent."""
        self._store.close()
