"""Limits: what keys, people, teams, features, models and everything may use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; there are none to begin with."""
    words = ("scope", "value", "unit", "per", "priority")
    op.create_table(
        "limits",
        sa.Column("id", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in words),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("limits_by_what", "limits", list(words), unique=True)
