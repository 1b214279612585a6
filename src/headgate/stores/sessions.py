"""Sessions of the console in the store: who is logged in, until when; tokens only as hashes. Loads SQLAlchemy."""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import ColumnElement, Engine, delete, insert, or_, select, update

from headgate.stores.change import changing
from headgate.stores.keyring import digest_of
from headgate.stores.schema import console_sessions

HOURS_NS = 3600 * 10**9
LIFE_NS = 12 * HOURS_NS
"""How long a session lasts at most."""
IDLE_NS = 2 * HOURS_NS
"""How long it lasts without a request."""
_TOUCH_NS = 60 * 10**9
_MOST = 50
"""Sessions that one key can have open; the oldest makes room."""

_c = console_sessions.c


class Session(msgspec.Struct, frozen=True):
    """One login that is still good.

    Attributes:
        digest: SHA-256 of the token in the cookie.
        key_digest: SHA-256 of the key that logged in: what it may do is asked of the key ring at every request.
        actor: the key's id, for the audit log.
        created_ns, seen_ns: of the login and of about the last request, in ns since 1970.
    """

    digest: bytes
    key_digest: bytes
    actor: str
    created_ns: int
    seen_ns: int


def open_session(engine: Engine, key_digest: bytes, actor: str, now_ns: int) -> str:
    """Logs a key in; returns the token for the cookie, which is stored as a hash only. The audit log tells.

    Raises:
        Unavailable: the database does not answer.
    """
    token = secrets.token_urlsafe(32)
    digest = digest_of(token)
    with changing(engine, actor, now_ns) as change:
        connection = change.connection
        connection.execute(delete(console_sessions).where(_over(now_ns)))
        open_ones = select(_c.digest).where(_c.key_digest == key_digest).order_by(_c.created_ns.desc())
        surplus = connection.execute(open_ones.offset(_MOST - 1)).scalars().all()
        if surplus:
            connection.execute(delete(console_sessions).where(_c.digest.in_(surplus)))
        row = {"digest": digest, "key_digest": key_digest, "actor": actor, "created_ns": now_ns, "seen_ns": now_ns}
        connection.execute(insert(console_sessions).values(row))
        change.note("console.login", actor, None, None)
    return token


def find_session(engine: Engine, token: str, now_ns: int) -> Session | None:
    """Returns the session that this token opened, None where there is none (any more)."""
    digest = digest_of(token)
    with engine.connect() as connection:
        row = connection.execute(select(console_sessions).where(_c.digest == digest)).one_or_none()
    if row is None or row.created_ns <= now_ns - LIFE_NS or row.seen_ns <= now_ns - IDLE_NS:
        return None
    if row.seen_ns <= now_ns - _TOUCH_NS:
        with engine.begin() as connection:
            connection.execute(update(console_sessions).where(_c.digest == digest).values(seen_ns=now_ns))
    return Session(digest, bytes(row.key_digest), row.actor, row.created_ns, row.seen_ns)


def close_session(engine: Engine, session: Session, now_ns: int) -> None:
    """Logs out; the token is good for nothing from now on.

    Raises:
        Unavailable: the database does not answer.
    """
    with changing(engine, session.actor, now_ns) as change:
        change.connection.execute(delete(console_sessions).where(_c.digest == session.digest))
        change.note("console.logout", session.actor, None, None)


def close_sessions(engine: Engine, session: Session, now_ns: int) -> int:
    """Logs out every session of the same key; returns how many there were.

    Raises:
        Unavailable: the database does not answer.
    """
    with changing(engine, session.actor, now_ns) as change:
        theirs = console_sessions.c.actor == session.actor
        closed = change.connection.execute(delete(console_sessions).where(theirs)).rowcount
        change.note("console.logout_everywhere", session.actor, None, None)
    return closed


def _over(now_ns: int) -> ColumnElement[bool]:
    return or_(_c.created_ns <= now_ns - LIFE_NS, _c.seen_ns <= now_ns - IDLE_NS)
