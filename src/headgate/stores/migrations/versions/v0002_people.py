"""People, teams, more of a key, old secrets during a rotation, the audit log, and what admin calls were answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables. The new columns of keys may be NULL: a worker of the release before writes none."""
    for name in ("owner", "networks", "required_tags", "metadata", "old_until_ns"):
        kind = {"owner": sa.String, "old_until_ns": sa.BigInteger}.get(name, sa.Text)
        op.add_column("virtual_keys", sa.Column(name, kind))
    op.create_index("keys_by_owner", "virtual_keys", ["owner"])
    op.create_table(
        "old_secrets",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("expires_ns", sa.BigInteger, nullable=False),
    )
    _make_people()
    _make_log()
    op.create_table(
        "answered",
        sa.Column("caller", sa.String, primary_key=True),
        sa.Column("key_hash", sa.LargeBinary, primary_key=True),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("nonce", sa.LargeBinary),
        sa.Column("secret_digest", sa.LargeBinary),
    )


def _make_people() -> None:
    op.create_table(
        "teams",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("description", sa.String, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("email", sa.String, unique=True),
        sa.Column("team", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )


def _make_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    epoch = sa.table("epoch", sa.column("name", sa.String), sa.column("value", sa.BigInteger))
    op.bulk_insert(epoch, [{"name": "audit", "value": 0}])
