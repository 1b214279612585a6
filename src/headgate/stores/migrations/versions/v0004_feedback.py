"""Feedback: what people thought of answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "feedback",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("call_id", _ID, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("trusted", sa.Boolean, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("label", sa.String),
        sa.Column("comment", sa.Text),
    )
    op.create_index("feedback_by_call", "feedback", ["call_id"])
    op.create_index("feedback_by_time", "feedback", ["time_ns"])
