"""The first schema: calls, payloads, keys, journal offsets, epoch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_SPARSE = ("user_id", "feature", "trace", "session", "error", "tried")


def upgrade() -> None:
    """Makes the tables."""
    _make_calls()
    op.create_table(
        "payloads",
        sa.Column("call_id", sa.String, primary_key=True),
        sa.Column("stored_ns", sa.BigInteger, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
    )
    op.create_index("payloads_by_time", "payloads", ["stored_ns"])
    op.create_table(
        "virtual_keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("expires_ns", sa.BigInteger),
        sa.Column("revoked_ns", sa.BigInteger),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("team", sa.String, nullable=False),
        sa.Column("feature", sa.String, nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("direct", sa.Boolean, nullable=False),
        sa.Column("payloads", sa.String, nullable=False),
    )
    op.create_table(
        "journal_offsets",
        sa.Column("segment", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    epoch = op.create_table(
        "epoch",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(epoch, [{"name": "live", "value": 1}])


def _make_calls() -> None:
    op.create_table(
        "calls",
        sa.Column("n", _SERIAL, primary_key=True),
        sa.Column("id", _ID, nullable=False, unique=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String),
        sa.Column("team", sa.String),
        sa.Column("feature", sa.String),
        sa.Column("trace", sa.String),
        sa.Column("session", sa.String),
        sa.Column("tags", sa.Text),
        sa.Column("dialect", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("deployment", sa.String),
        sa.Column("tried", sa.Text),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("finish", sa.String),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
        sa.Column("cached_tokens", sa.Integer),
        sa.Column("first_content_us", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.LargeBinary, nullable=False),
    )
    op.create_index("calls_by_time", "calls", ["time_ns"])
    for name in ("key_id", "model", "deployment"):
        op.create_index(f"calls_by_{name.removesuffix('_id')}", "calls", [name, "time_ns"])
    for name in _SPARSE:
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"calls_by_{name}", "calls", [name, "time_ns"], sqlite_where=there, postgresql_where=there)
