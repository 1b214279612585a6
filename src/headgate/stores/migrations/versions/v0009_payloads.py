"""Payloads are compressed, know their policy, and can be searched by their words."""

from __future__ import annotations

import zlib

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BATCH = 200


def upgrade() -> None:
    """Makes the table anew and moves its rows; those from before are kept whole, and not found by their words."""
    connection = op.get_bind()
    op.drop_index("payloads_by_time", "payloads")
    op.rename_table("payloads", "payloads_before")
    if connection.dialect.name == "postgresql":
        op.execute("ALTER INDEX payloads_pkey RENAME TO payloads_before_pkey")
    new = op.create_table(
        "payloads",
        sa.Column("n", _SERIAL, primary_key=True),
        sa.Column("call_id", sa.String, nullable=False, unique=True),
        sa.Column("stored_ns", sa.BigInteger, nullable=False),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("payloads_by_time", "payloads", ["stored_ns", "stored"])
    if connection.dialect.name == "postgresql":
        op.execute("CREATE TABLE payload_words (n BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX payload_words_by_word ON payload_words USING gin (words)")
    else:
        op.execute(
            "CREATE VIRTUAL TABLE payload_words USING"
            " fts5(words, content='', columnsize=0, tokenize='unicode61 remove_diacritics 0')"
        )
    _move(connection, new)
    op.drop_table("payloads_before")


def _move(connection: sa.Connection, new: sa.Table) -> None:
    old = sa.table(
        "payloads_before",
        *(sa.column(name) for name in ("call_id", "stored_ns")),
        *(sa.column(name, sa.LargeBinary) for name in ("request", "response")),
    )
    last = ""
    while True:
        query = sa.select(old).where(old.c.call_id > last).order_by(old.c.call_id).limit(_BATCH)
        rows = connection.execute(query).all()
        if not rows:
            return
        last = rows[-1].call_id
        made = []
        for row in rows:
            body = zlib.compress(msgspec.msgpack.encode([bytes(row.request), bytes(row.response), ""]), 3)
            size = len(row.request) + len(row.response)
            made.append({"call_id": row.call_id, "stored_ns": row.stored_ns, "policy": "full", "size": size})
            made[-1] |= {"stored": len(body), "body": body}
        connection.execute(sa.insert(new), made)
