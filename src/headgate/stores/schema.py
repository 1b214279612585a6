"""The tables, as SQLAlchemy Core sees them; the same on SQLite and Postgres. Importing this loads SQLAlchemy.

``calls`` has a column for what is asked for or counted, and one blob (``detail``, see ``stores.rows``) for the rest of
the story, attempts included: a call takes about 0.5 kB with its indexes. Optional words are NULL rather than empty, so
that their indexes hold only the calls that have one. Times are integers: ``*_ns`` since 1970, ``*_us`` since the start.
Money is integers of nano-dollars: ``cost`` of all attempts that have a price (NULL where what was billed had none),
``lost_cost`` of it of those that did not answer; ``unpriced`` counts billed attempts without a price. NULL for none.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

_Serial = BigInteger().with_variant(Integer, "sqlite")
# By bytes, so that an index finds what begins alike; other words are only compared for equality.
_Id = String().with_variant(String(collation="C"), "postgresql")

TROUBLE = "status >= 400 OR outcome <> 'completed' OR error IS NOT NULL OR tried IS NOT NULL"
"""Which calls stand in an index of their own: few. A query that has one of these terms can use it."""

SLOT_NS = 300 * 10**9
SLOT = f"(CAST(time_ns / {SLOT_NS} AS INTEGER))"
"""The five minutes (counted since 1970) that a call began in: so indexes of frequent values know when it was.

That takes less than half of what the time itself does, and Postgres keeps the calls of one value and slot as one entry,
a third to a fifth of the room. What asks by such a value and a time has to name the slots, too: see ``query.during``.
"""

calls = Table(
    "calls",
    metadata,
    Column("n", _Serial, primary_key=True),
    Column("id", _Id, nullable=False, unique=True),
    Column("time_ns", BigInteger, nullable=False),
    Column("key_id", String, nullable=False),
    Column("user_id", String),
    Column("team", String),
    Column("feature", String),
    Column("trace", String),
    Column("session", String),
    Column("tags", Text),
    Column("dialect", String, nullable=False),
    Column("model", String, nullable=False),
    Column("deployment", String),
    Column("tried", Text),
    Column("stream", Boolean, nullable=False),
    Column("outcome", String, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("error", String),
    Column("finish", String),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("first_content_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("detail", LargeBinary, nullable=False),
    Column("cost", BigInteger),
    Column("lost_cost", BigInteger),
    Column("unpriced", SmallInteger),
    Column("prompt", String),
    Index("calls_by_time", "time_ns"),
    Index("calls_by_key", "key_id", text(SLOT)),
    Index("calls_by_model", "model", text(SLOT)),
    Index("calls_by_deployment", "deployment", text(SLOT)),
    Index(
        "calls_in_trouble",
        *("time_ns", "n", "status", "outcome", "error", "tried"),
        sqlite_where=text(TROUBLE),
        postgresql_where=text(TROUBLE),
    ),
    *(
        Index(
            f"calls_by_{name}",
            *(name, text(SLOT) if name in ("user_id", "feature", "prompt") else "time_ns"),
            sqlite_where=text(f"{name} IS NOT NULL"),
            postgresql_where=text(f"{name} IS NOT NULL"),
        )
        for name in ("user_id", "feature", "trace", "session", "error", "tried", "prompt")
    ),
)

CALLS_BY: dict[str, Column[Any]] = {
    "key": calls.c.key_id,
    "user": calls.c.user_id,
    "team": calls.c.team,
    "feature": calls.c.feature,
    "prompt": calls.c.prompt,
    "model": calls.c.model,
    "deployment": calls.c.deployment,
}
"""What calls are grouped and told apart by, under the names that people ask by."""

payloads = Table(
    "payloads",
    metadata,
    Column("n", _Serial, primary_key=True),
    Column("call_id", String, nullable=False, unique=True),
    Column("stored_ns", BigInteger, nullable=False),
    Column("policy", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("payloads_by_time", "stored_ns", "stored"),
)
"""See ``stores.payloads``. ``size`` is bytes of both as they came, ``stored`` of ``body``. The words in them are in
``payload_words``, which each database makes in its own way: FTS5 on SQLite, a tsvector with a GIN index on Postgres."""

tapes = Table(
    "tapes",
    metadata,
    Column("call_id", String, primary_key=True),
    Column("stored_ns", BigInteger, nullable=False),
    Column("tapes", LargeBinary, nullable=False),
    Index("tapes_by_time", "stored_ns"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("call_id", _Id, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("key_id", String, nullable=False),
    Column("source", String, nullable=False),
    Column("trusted", Boolean, nullable=False),
    Column("score", Double),
    Column("label", String),
    Column("comment", Text),
    Index("feedback_by_call", "call_id"),
    Index("feedback_by_time", "time_ns"),
)

virtual_keys = Table(
    "virtual_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger),
    Column("revoked_ns", BigInteger),
    Column("user_id", String, nullable=False),
    Column("team", String, nullable=False),
    Column("feature", String, nullable=False),
    Column("models", Text),
    Column("direct", Boolean, nullable=False),
    Column("payloads", String, nullable=False),
    Column("owner", String),
    Column("networks", Text),
    Column("required_tags", Text),
    Column("metadata", Text),
    Column("old_until_ns", BigInteger),
    Index("keys_by_owner", "owner"),
)

old_secrets = Table(
    "old_secrets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
)

teams = Table(
    "teams",
    metadata,
    Column("name", String, primary_key=True),
    Column("description", String, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("email", String, unique=True),
    Column("team", String, nullable=False),
    Column("role", String, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    Column("id", String, primary_key=True),
    Column("scope", String, nullable=False),
    Column("value", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("per", String, nullable=False),
    Column("priority", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Index("limits_by_what", "scope", "value", "unit", "per", "priority", unique=True),
)

# Alerts: what is wrong now; what was to be told; to whom, and whether that is done (an outbox, ``next_ns`` NULL once it
# is over); and which data directory's recorder looks after a rule.
alert_states = Table(
    "alert_states",
    metadata,
    Column("rule", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("level", String, primary_key=True),
    Column("phase", String, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
    Column("value", Double),
    Column("above", Double, nullable=False),
    Column("fired_ns", BigInteger, nullable=False),
    Column("calm_ns", BigInteger, nullable=False),
    Column("told_ns", BigInteger, nullable=False),
    Column("told", Integer, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
)

alert_events = Table(
    "alert_events",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("level", String, nullable=False),
    Column("value", Double),
    Column("above", Double, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Index("alert_events_by_time", "time_ns"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("receiver", String, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("next_ns", BigInteger),
    Column("done_ns", BigInteger),
    Column("error", Text),
    Index(
        "alert_deliveries_due",
        "next_ns",
        sqlite_where=text("next_ns IS NOT NULL"),
        postgresql_where=text("next_ns IS NOT NULL"),
    ),
)

alert_silences = Table(
    "alert_silences",
    metadata,
    Column("id", String, primary_key=True),
    Column("rule", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
)

alert_leases = Table(
    "alert_leases",
    metadata,
    Column("rule", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("target", String, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)

answered = Table(
    "answered",
    metadata,
    Column("caller", String, primary_key=True),
    Column("key_hash", LargeBinary, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),
    Column("nonce", LargeBinary),
    Column("secret_digest", LargeBinary),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("key_digest", LargeBinary, nullable=False),
    Column("actor", String, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Index("console_sessions_by_key", "key_digest"),
)

journal_offsets = Table(
    "journal_offsets",
    metadata,
    Column("segment", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("position", BigInteger, nullable=False),
)

epoch = Table(
    "epoch",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)


# Whose calls are forgotten (salted hashes of user ids): those that began by ``time_ns``, whenever they are recorded.
erasures = Table(
    "erasures",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("id", String, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Index("erasures_by_time", "time_ns"),
)


def _figures() -> tuple[Column[Any], ...]:
    """The columns of a rollup row behind its key, see ``figures.Figures``; NULL for 0. ``more``: what has a name."""
    small = ("calls", "completed", "failed", "cancelled", "refused")
    large = ("input_tokens", "output_tokens", "cached_tokens", "cost", "lost_cost")
    rest = ("unpriced", "attempts", "fallbacks", "empty")
    return (
        *(Column(name, Integer) for name in small),
        *(Column(name, BigInteger) for name in large),
        *(Column(name, Integer) for name in rest),
        Column("more", LargeBinary, nullable=False),
    )


# Rollups: what calls came to, by time and one thing more. ``bucket`` is the minute, hour or day (UTC) since 1970 in
# which calls began. Each data directory adds to rows of its own (``shard``): recorders never wait for each other.
minutes = Table(
    "minutes",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("model", String, primary_key=True),
    Column("deployment", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("status", Integer, primary_key=True, autoincrement=False),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    *_figures(),
    sqlite_with_rowid=False,
)

# ``dimension`` is an index of ``rollups.DIMENSIONS``, ``value`` the key's id, user, team, … "" for none.
hours, days = (
    Table(
        name,
        metadata,
        Column("dimension", SmallInteger, primary_key=True, autoincrement=False),
        Column("bucket", Integer, primary_key=True, autoincrement=False),
        Column("value", _Id, primary_key=True),
        Column("shard", Integer, primary_key=True, autoincrement=False),
        *_figures(),
        sqlite_with_rowid=False,
    )
    for name in ("hours", "days")
)

# For sums over many days of many users: only what is summed, in the order of the groups. Days are written once a day.
Index(
    "days_by_value",
    *(days.c[name] for name in ("dimension", "value", "bucket", "calls", "completed", "failed")),
    *(days.c[name] for name in ("input_tokens", "output_tokens", "cached_tokens", "cost", "unpriced")),
)

# Days before ``folded`` of a shard stand in ``days``, too.
rollup_shards = Table(
    "rollup_shards",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("owner", String, nullable=False, unique=True),
    Column("folded", Integer, nullable=False),
)

# What is still to be done with calls from before: those with ``n`` above ``position``, up to ``goal``.
backlog = Table(
    "backlog",
    metadata,
    Column("name", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("goal", BigInteger, nullable=False),
)

# What all workers count of one limit's window: ``settled`` is used for good, ``held`` leased and not reported as used.
lease_windows = Table(
    "lease_windows",
    metadata,
    Column("id", _Id, primary_key=True),
    *(Column(name, String, nullable=False) for name in ("scope", "member", "unit", "per", "priority")),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("amount", "settled", "held", "presumed", "short_ns")),
    Index("lease_windows_by_end", "end_ns"),
    Index("lease_windows_by_member", "scope", "member"),
)

lease_holders = Table(
    "lease_holders",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("opened_ns", BigInteger, nullable=False),
    Column("renewed_ns", BigInteger, nullable=False),
)

lease_grants = Table(
    "lease_grants",
    metadata,
    Column("holder", String, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("window_id", _Id, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("granted", "settled", "reserved")),
    Index("lease_grants_by_window", "window_id"),
)
