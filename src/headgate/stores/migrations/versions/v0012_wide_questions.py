"""Indexes for questions about long times: sums of many users over many days, and the few calls that went wrong."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TROUBLE = sa.text("status >= 400 OR outcome <> 'completed' OR error IS NOT NULL OR tried IS NOT NULL")


def upgrade() -> None:
    """Makes the indexes; the second one reads all calls once, some seconds for ten million."""
    summed = ("calls", "completed", "failed", "input_tokens", "output_tokens", "cached_tokens", "cost", "unpriced")
    op.create_index("days_by_value", "days", ["dimension", "value", "bucket", *summed])
    op.create_index(
        "calls_in_trouble",
        "calls",
        ["time_ns", "n", "status", "outcome", "error", "tried"],
        sqlite_where=_TROUBLE,
        postgresql_where=_TROUBLE,
    )
