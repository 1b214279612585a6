"""Leases: what workers hold of limits that they share, and what is used of each limit's window."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables; nothing is leased to begin with."""
    op.create_table(
        "lease_windows",
        sa.Column("id", _ID, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("scope", "member", "unit", "per", "priority")),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("amount", "settled", "held", "presumed", "short_ns")
        ),
    )
    op.create_index("lease_windows_by_end", "lease_windows", ["end_ns"])
    op.create_index("lease_windows_by_member", "lease_windows", ["scope", "member"])
    op.create_table(
        "lease_holders",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("opened_ns", sa.BigInteger, nullable=False),
        sa.Column("renewed_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lease_grants",
        sa.Column("holder", sa.String, primary_key=True),
        sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("window_id", _ID, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("granted", "settled", "reserved")),
    )
    op.create_index("lease_grants_by_window", "lease_grants", ["window_id"])
