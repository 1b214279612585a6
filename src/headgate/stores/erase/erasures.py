"""Erasures: whose calls are to be forgotten, for recorders that store what began before an erase only after it.

A row holds no name, only a salted hash of it. Whoever stores calls takes part in a lock that an erase holds alone
while it begins: after that, nothing of the person comes in any more. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from headgate.core.clock import made_ms
from headgate.core.record import Record
from headgate.stores.database import chunks
from headgate.stores.rows import is_erased, strip
from headgate.stores.schema import calls, epoch, erasures

COUNTER = "erasures"
"""The epoch that tells recorders of a new erasure."""

KEEP_NS = 400 * 86_400 * 10**9
"""How long an erasure waits for calls that nobody has recorded yet."""

_LOCK = 0x6865616467617465 // 7
_T = TypeVar("_T")


class ErasedMeanwhile(Exception):
    """An erase began after a batch was looked through; it is to be looked through again."""


def hold_off(connection: Connection) -> int:
    """Lets no erase begin until this transaction ends, of which it is the first statement.

    Returns:
        How many have begun so far.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    return _count(connection)


def hold_alone(connection: Connection) -> None:
    """Waits for those who store calls, and keeps them out until the transaction ends; on SQLite it has written."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def mark(connection: Connection, users: Iterable[str], id: str, time_ns: int) -> None:
    """Makes it known that calls of these users are to be forgotten, under ``hold_alone``.

    Args:
        connection: in a transaction.
        users: the names of one person.
        id: what the audit log calls the erasure.
        time_ns: calls that began by then.
    """
    c = erasures.c
    salt = connection.execute(select(c.salt).limit(1)).scalar() or secrets.token_bytes(32)
    for user in users:
        digest = digest_of(user, salt)
        connection.execute(delete(erasures).where(c.digest == digest))
        connection.execute(insert(erasures).values(digest=digest, salt=salt, id=id, time_ns=time_ns))
    tell(connection)


def tell(connection: Connection) -> None:
    """Has recorders look at the table again."""
    connection.execute(update(epoch).where(epoch.c.name == COUNTER).values(value=epoch.c.value + 1))


def forget_old(connection: Connection, now_ns: int) -> int:
    """Deletes erasures that have waited long enough; returns how many."""
    return connection.execute(delete(erasures).where(erasures.c.time_ns < now_ns - KEEP_NS)).rowcount


def digest_of(user: str, salt: bytes) -> bytes:
    """Returns how a user stands in the table."""
    return hmac.digest(salt, user.encode("utf-8", "surrogatepass"), hashlib.sha256)


class Erasures:
    """What a recorder knows of them. While none is newer than what it stores, it asks the database one number.

    Attributes:
        seen: how many had begun at the last look; -1 before the first.
        newest: the moment of the newest, in ns since 1970; 0 where there is none.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seen = -1
        self.newest = 0
        self._salts: list[bytes] = []

    def look(self) -> None:
        """Reads how far the table reaches."""
        c = erasures.c
        with self._engine.begin() as connection:
            seen = hold_off(connection)
            self.newest = int(connection.execute(select(func.coalesce(func.max(c.time_ns), 0))).scalar_one())
            self._salts = [bytes(salt) for salt in connection.execute(select(c.salt).distinct()).scalars()]
        self.seen = seen

    def check(self, connection: Connection) -> None:
        """Begins a transaction that stores calls.

        Raises:
            ErasedMeanwhile: what is to be stored was looked through before an erase began.
        """
        if hold_off(connection) != self.seen:
            raise ErasedMeanwhile

    def sift(self, records: Sequence[Record], users: Sequence[str]) -> set[str]:
        """Strips the Records of people who were erased after these calls began.

        Args:
            records: what came.
            users: whom each was for, before anything was taken out of it.

        Returns:
            The ids of those calls.
        """
        late = [
            (record, user)
            for record, user in zip(records, users, strict=True)
            if user and record.time_ns <= self.newest
        ]
        if not late:
            return set()
        with self._engine.connect() as connection:
            until = self.until(connection, {user for _, user in late})
        erased = [record for record, user in late if record.time_ns <= until.get(user, -1)]
        for record in erased:
            strip(record)
        return {record.id for record in erased}

    def keep(self, items: Sequence[_T], ids: Sequence[str], erased: Collection[str]) -> list[_T]:
        """Returns what of calls (payloads, tapes, feedback) is not of somebody who was erased.

        Args:
            items: what came.
            ids: of which call each is.
            erased: ids of calls that ``sift`` has just stripped.
        """
        late = {id for id in ids if id not in erased and self._is_late(id)}
        gone = {*erased, *self.stored(late)} if late else erased
        return [item for item, id in zip(items, ids, strict=True) if id not in gone] if gone else list(items)

    def _is_late(self, id: str) -> bool:
        if not self.newest:
            return False
        made = made_ms(id)
        return made is None or made * 1_000_000 <= self.newest

    def stored(self, ids: Collection[str]) -> set[str]:
        """Which of these calls are stored, and stripped or about to be."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for some in chunks(sorted(ids)):
                c = calls.c
                rows = connection.execute(select(c.id, c.user_id, c.time_ns, c.detail).where(c.id.in_(some))).all()
                until = self.until(connection, {row.user_id for row in rows if row.user_id})
                for row in rows:
                    if row.time_ns <= until.get(row.user_id or "", -1) or is_erased(row.detail):
                        found.add(row.id)
        return found

    def until(self, connection: Connection, users: Collection[str]) -> dict[str, int]:
        """Until which moment calls of these users are to be forgotten; those of others lack."""
        names = {digest_of(user, salt): user for user in users for salt in self._salts}
        c = erasures.c
        found: dict[str, int] = {}
        for some in chunks(sorted(names)):
            for digest, time_ns in connection.execute(select(c.digest, c.time_ns).where(c.digest.in_(some))):
                user = names[bytes(digest)]
                found[user] = max(found.get(user, -1), time_ns)
        return found


def _count(connection: Connection) -> int:
    return int(connection.execute(select(epoch.c.value).where(epoch.c.name == COUNTER)).scalar_one())
