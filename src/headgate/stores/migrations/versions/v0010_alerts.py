"""Alerts: their states, events, deliveries, silences and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    _states()
    _outbox()
    op.create_table(
        "alert_leases",
        sa.Column("rule", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
    )


def _states() -> None:
    op.create_table(
        "alert_states",
        sa.Column("rule", sa.String, primary_key=True),
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("level", sa.String, primary_key=True),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("since_ns", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("above", sa.Double, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("fired_ns", "calm_ns", "told_ns")),
        sa.Column("told", sa.Integer, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alert_silences",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )


def _outbox() -> None:
    op.create_table(
        "alert_events",
        sa.Column("id", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("kind", "rule", "subject", "level")),
        sa.Column("value", sa.Double),
        sa.Column("above", sa.Double, nullable=False),
        sa.Column("since_ns", sa.BigInteger, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("alert_events_by_time", "alert_events", ["time_ns"])
    op.create_table(
        "alert_deliveries",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("receiver", sa.String, primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_ns", sa.BigInteger),
        sa.Column("done_ns", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    waiting = sa.text("next_ns IS NOT NULL")
    op.create_index(
        "alert_deliveries_due", "alert_deliveries", ["next_ns"], sqlite_where=waiting, postgresql_where=waiting
    )
