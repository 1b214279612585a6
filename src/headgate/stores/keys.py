"""Virtual keys in the store: made, listed, revoked; only their SHA-256 is kept. Importing this loads SQLAlchemy."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Connection, Engine, insert, select, update

from headgate.core.errors import BadRequest, ConfigError
from headgate.stores.keyring import digest_of
from headgate.stores.schema import epoch, virtual_keys

PREFIX = "hg-"
ROLES = ("viewer", "developer", "admin")
PAYLOAD_POLICIES = ("", "none", "full")


class KeyInfo(msgspec.Struct, frozen=True):
    """A key as it may be shown: everything but the secret, which nobody can show again.

    ``created_ns``, ``expires_ns``, ``revoked_ns`` in ns since 1970; the latter two None where it is neither.
    ``models`` is None where every model may be used; ``payloads`` is ``""`` (as configured), ``"none"`` or ``"full"``.
    """

    id: str
    name: str
    role: str
    created_ns: int
    expires_ns: int | None = None
    revoked_ns: int | None = None
    user: str = ""
    team: str = ""
    feature: str = ""
    models: list[str] | None = None
    direct: bool = False
    payloads: str = ""

    def state(self, now_ns: int) -> str:
        """Returns ``"active"``, ``"expired"`` or ``"revoked"``."""
        if self.revoked_ns is not None:
            return "revoked"
        return "expired" if self.expires_ns is not None and self.expires_ns <= now_ns else "active"


def create_key(
    engine: Engine,
    name: str,
    *,
    role: str = "developer",
    expires_ns: int | None = None,
    user: str = "",
    team: str = "",
    feature: str = "",
    models: Sequence[str] | None = None,
    direct: bool = False,
    payloads: str = "",
    now_ns: int | None = None,
) -> tuple[str, KeyInfo]:
    """Makes a key of 256 random bits and returns its secret, for the only time, and what is known of it.

    Raises:
        BadRequest: the name is empty, or a role or payload policy is unknown.
    """
    if not name.strip():
        raise BadRequest("a key needs a name", param="name")
    if role not in ROLES:
        raise BadRequest(f"unknown role {role!r}: one of {', '.join(ROLES)}", param="role")
    if payloads not in PAYLOAD_POLICIES:
        raise BadRequest(f"unknown payload policy {payloads!r}: none or full", param="payloads")
    secret = PREFIX + secrets.token_urlsafe(32)
    info = KeyInfo(
        id="key_" + secrets.token_hex(6),
        name=name,
        role=role,
        created_ns=time.time_ns() if now_ns is None else now_ns,
        expires_ns=expires_ns,
        user=user,
        team=team,
        feature=feature,
        models=None if models is None else list(models),
        direct=direct,
        payloads=payloads,
    )
    row = msgspec.structs.asdict(info)
    row["user_id"] = row.pop("user")
    row["models"] = None if models is None else msgspec.json.encode(list(models)).decode()
    with engine.begin() as connection:
        connection.execute(insert(virtual_keys).values(digest=digest_of(secret), **row))
        bump_epoch(connection)
    return secret, info


def list_keys(engine: Engine) -> list[KeyInfo]:
    """Returns all keys, oldest first, revoked and expired ones too."""
    with engine.connect() as connection:
        rows = connection.execute(select(virtual_keys).order_by(virtual_keys.c.created_ns, virtual_keys.c.id))
        return [_info(row._mapping) for row in rows]


def revoke_key(engine: Engine, id_or_name: str, *, now_ns: int | None = None) -> KeyInfo:
    """Revokes a key by its id, or by its name where one key only has it. Workers know within a second.

    Raises:
        BadRequest: there is no such key (``key_not_found``), or several have that name (``ambiguous_key``).
    """
    c = virtual_keys.c
    with engine.begin() as connection:
        found = connection.execute(select(virtual_keys).where(c.id == id_or_name)).all()
        if not found:
            named = (c.name == id_or_name) & c.revoked_ns.is_(None)
            found = connection.execute(select(virtual_keys).where(named)).all()
        if not found:
            raise BadRequest(f"no key has the id or name {id_or_name!r}; see: headgate keys list", code="key_not_found")
        if len(found) > 1:
            ids = ", ".join(row.id for row in found)
            raise BadRequest(
                f"several keys have the name {id_or_name!r}; name one by its id: {ids}", code="ambiguous_key"
            )
        info = _info(found[0]._mapping)
        if info.revoked_ns is not None:
            return info
        info = msgspec.structs.replace(info, revoked_ns=time.time_ns() if now_ns is None else now_ns)
        connection.execute(update(virtual_keys).where(c.id == info.id).values(revoked_ns=info.revoked_ns))
        bump_epoch(connection)
        return info


def bump_epoch(connection: Connection) -> None:
    """Tells every worker that something live has changed; part of the transaction that changes it."""
    done = connection.execute(update(epoch).where(epoch.c.name == "live").values(value=epoch.c.value + 1))
    if done.rowcount != 1:
        raise ConfigError("the database has no epoch: its schema was changed by hand")


def _info(row: sqlalchemy.RowMapping) -> KeyInfo:
    fields: dict[str, Any] = {name: row[name] for name in KeyInfo.__struct_fields__ if name != "user"}
    fields["user"] = row["user_id"]
    if fields["models"] is not None:
        fields["models"] = msgspec.json.decode(fields["models"], type=list[str])
    return KeyInfo(**fields)
