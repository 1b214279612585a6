"""The virtual keys in memory: a dict look-up per request, kept fresh by a thread that asks the store twice a second."""

from __future__ import annotations

import hashlib
import logging
import threading
from typing import Any

import msgspec

from headgate.core.call import Principal
from headgate.core.clock import Clock, SystemClock
from headgate.core.errors import ConfigError, Unavailable
from headgate.stores.database import Reader, open_reader

POLL_SECONDS = 0.5
GRACE_SECONDS = 600.0
ADMIN_VARIABLE = "HEADGATE_ADMIN_KEY"
_ADMIN_MIN = 16

_EPOCH_SQL = "SELECT value FROM epoch WHERE name = 'live'"
_ANY_SQL = "SELECT 1 FROM virtual_keys LIMIT 1"
_KEYS_SQL = (
    "SELECT digest, id, name, role, user_id, team, feature, models, direct, payloads, expires_ns"
    " FROM virtual_keys WHERE revoked_ns IS NULL"
)
_NEVER = 1 << 63
_log = logging.getLogger("headgate.keys")


def digest_of(secret: str | bytes) -> bytes:
    """Returns the 32 bytes under which a key is stored."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).digest()


class _Snapshot:
    """All keys as of one moment; a row becomes a Principal when its key is first seen."""

    __slots__ = ("empty", "known", "rows")

    def __init__(self, rows: dict[bytes, tuple[Any, ...]], *, empty: bool) -> None:
        self.rows = rows
        self.empty = empty
        self.known: dict[bytes, tuple[Principal, int]] = {}


class KeyRingCache:
    """Port ``KeyRing`` over the store.

    A change is seen within ``poll_seconds``. While the store does not answer, known keys stay valid for
    ``grace_seconds``; then all are refused, and keyless mode with them, for nobody knows any more what exists.

    Args:
        url: the database.
        admin_key: one more key, with the role ``admin``, that lives in memory only; "" for none.

    Raises:
        Unavailable: the store can not be read at start.
        ConfigError: the admin key is too short to be a secret.
    """

    def __init__(
        self,
        url: str,
        *,
        admin_key: str = "",
        clock: Clock | None = None,
        poll_seconds: float = POLL_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._url = url
        clock = clock or SystemClock()
        self._monotonic = clock.monotonic
        self._time_ns = clock.time_ns
        self._grace = grace_seconds
        self._poll_seconds = poll_seconds
        self._admin: dict[bytes, Principal] = {}
        self.set_admin_key(admin_key)
        self._reader: Reader | None = None
        self._epoch = -1
        self._snapshot = _Snapshot({}, empty=True)
        self._valid_until = 0.0
        self.refresh()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="headgate-keys", daemon=True)
        self._thread.start()

    def set_admin_key(self, admin_key: str) -> None:
        """Makes this the one key that lives in memory only, instead of the one before; "" for none.

        Raises:
            ConfigError: it is too short to be a secret; the one before stays.
        """
        admin: dict[bytes, Principal] = {}
        if admin_key:
            if len(admin_key) < _ADMIN_MIN:
                raise ConfigError(
                    f"{ADMIN_VARIABLE} is too short to be a secret: give it {_ADMIN_MIN} characters or more"
                )
            admin[digest_of(admin_key)] = Principal("admin", ADMIN_VARIABLE, role="admin", direct=True)
        self._admin = admin

    def set_url(self, url: str) -> None:
        """Uses this URL for connections to the same database from now on: its password may be another."""
        self._url = url

    @property
    def empty(self) -> bool:
        """True while no key exists, revoked and expired ones counted (see the port)."""
        return self._snapshot.empty and not self._admin and self._monotonic() < self._valid_until

    @property
    def stale(self) -> bool:
        """True once the store has been away for longer than known keys stay valid."""
        return self._monotonic() >= self._valid_until

    def find(self, digest: bytes) -> Principal | None:
        """Returns whose key it is (see the port)."""
        snapshot = self._snapshot
        known = snapshot.known.get(digest)
        if known is None:
            row = snapshot.rows.get(digest)
            if row is None:
                return self._admin.get(digest)
            known = snapshot.known[digest] = (_principal(row), _NEVER if row[10] is None else row[10])
        if self._time_ns() >= known[1] or self._monotonic() >= self._valid_until:
            return self._admin.get(digest)
        return known[0]

    def refresh(self) -> None:
        """Asks the store now, on this thread; blocks while it answers.

        Raises:
            Unavailable: it does not answer.
        """
        asked = self._monotonic()
        try:
            if self._reader is None:
                self._reader = open_reader(self._url)
            # The epoch first: a change made while the keys are read shows as a new epoch at the next poll.
            rows = self._reader.query(_EPOCH_SQL)
            epoch = int(rows[0][0]) if rows else 0
            if epoch != self._epoch:
                keys = self._reader.query(_KEYS_SQL)
                empty = not keys and not self._reader.query(_ANY_SQL)
                self._snapshot = _Snapshot({bytes(row[0]): row for row in keys}, empty=empty)
                self._epoch = epoch
        except Unavailable:
            if self._reader is not None:
                self._reader.close()
            self._reader, self._epoch = None, -1
            raise
        self._valid_until = asked + self._grace

    def close(self) -> None:
        """Stops the thread and lets go of the store. Idempotent."""
        self._stop.set()
        reader = self._reader
        if reader is not None:
            reader.interrupt()  # a server that is frozen would keep the thread waiting
        self._thread.join()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _poll(self) -> None:
        away = False
        while not self._stop.wait(self._poll_seconds):
            try:
                self.refresh()
            except Unavailable as error:
                if not away:
                    _log.warning("keys can not be refreshed, known ones stay valid for %d s: %s", self._grace, error)
                away = True
            else:
                if away:
                    _log.warning("keys are fresh again")
                away = False


def _principal(row: tuple[Any, ...]) -> Principal:
    _, id, name, role, user, team, feature, models, direct, payloads, _ = row
    return Principal(
        id,
        name,
        role=role,
        user=user,
        team=team,
        feature=feature,
        models=None if models is None else frozenset(msgspec.json.decode(models, type=list[str])),
        direct=bool(direct),
        payloads=payloads,
    )
