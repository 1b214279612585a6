"""Erasures: whose calls are to be forgotten, also those that a recorder stores only later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table, and the number that tells recorders of a new row."""
    op.create_table(
        "erasures",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("erasures_by_time", "erasures", ["time_ns"])
    counters = sa.table("epoch", sa.column("name", sa.String), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "erasures", "value": 0}])
