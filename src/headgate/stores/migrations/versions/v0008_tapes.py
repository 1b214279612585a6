"""Tapes: what the failed attempts of calls have heard, for calls whose payloads are kept whole."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "tapes",
        sa.Column("call_id", sa.String, primary_key=True),
        sa.Column("stored_ns", sa.BigInteger, nullable=False),
        sa.Column("tapes", sa.LargeBinary, nullable=False),
    )
    op.create_index("tapes_by_time", "tapes", ["stored_ns"])
