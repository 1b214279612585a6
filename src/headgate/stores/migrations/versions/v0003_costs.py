"""What calls cost: money in nano-dollars, and what spend is reported by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; calls from before have no cost."""
    op.add_column("calls", sa.Column("cost", sa.BigInteger))
    op.add_column("calls", sa.Column("lost_cost", sa.BigInteger))
    op.add_column("calls", sa.Column("unpriced", sa.SmallInteger))
    op.add_column("calls", sa.Column("prompt", sa.String))
    there = sa.text("prompt IS NOT NULL")
    op.create_index("calls_by_prompt", "calls", ["prompt", "time_ns"], sqlite_where=there, postgresql_where=there)
