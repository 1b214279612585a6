"""Rollups: what calls came to, by minute, hour and day."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables; the recorder adds the calls from before to them, bit by bit."""
    word = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "minutes",
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("deployment", sa.String, primary_key=True),
        sa.Column("outcome", sa.String, primary_key=True),
        sa.Column("status", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        *_figures(),
        sqlite_with_rowid=False,
    )
    for name in ("hours", "days"):
        op.create_table(
            name,
            sa.Column("dimension", sa.SmallInteger, primary_key=True, autoincrement=False),
            sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("value", word, primary_key=True),
            sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
            *_figures(),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "rollup_shards",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String, nullable=False, unique=True),
        sa.Column("folded", sa.Integer, nullable=False),
    )
    op.create_table(
        "backlog",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("goal", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO epoch (name, value) VALUES ('rollups', 0)")
    op.execute(
        "INSERT INTO backlog (name, position, goal) "
        "SELECT 'rollups', 0, top FROM (SELECT max(n) AS top FROM calls) AS there WHERE top IS NOT NULL"
    )


def _figures() -> list[sa.Column[Any]]:
    small = ("calls", "completed", "failed", "cancelled", "refused")
    large = ("input_tokens", "output_tokens", "cached_tokens", "cost", "lost_cost")
    rest = ("unpriced", "attempts", "fallbacks", "empty")
    return [
        *(sa.Column(name, sa.Integer) for name in small),
        *(sa.Column(name, sa.BigInteger) for name in large),
        *(sa.Column(name, sa.Integer) for name in rest),
        sa.Column("more", sa.LargeBinary, nullable=False),
    ]
