"""Virtual keys in the store: made, found, changed, rotated, revoked; only their SHA-256 is kept.

What changes something takes a ``Change``: use ``stores.registry``. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, delete, insert, select, update

from headgate.core.errors import BadRequest
from headgate.core.terms import ROLES, lesser_role
from headgate.stores.allowance import Allowance
from headgate.stores.change import Change
from headgate.stores.people import find_user
from headgate.stores.schema import old_secrets, virtual_keys
from headgate.stores.words import (
    LABEL_LIMIT,
    PAYLOAD_POLICIES,
    check_choice,
    check_metadata,
    check_models,
    check_networks,
    check_role,
    check_tags,
    check_word,
    findable,
    is_secret,
    parse_end,
    parse_span,
    shown,
    wrong,
)

PREFIX = "hg-"


class KeyInfo(msgspec.Struct, frozen=True):
    """A key as it may be shown: everything but the secret, which nobody can show again.

    ``created_ns``, ``expires_ns``, ``revoked_ns`` in ns since 1970; the latter two None where it is neither.
    ``models`` is None where every model may be used; ``payloads`` is ``""`` (as configured) or one of
    ``PAYLOAD_POLICIES``.
    ``owner`` is the id of the person that it belongs to, or "". ``networks`` is None where every client address may
    use it. ``old_until_ns`` is until when a secret from before the last rotation is valid, None if none was kept.
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
    owner: str = ""
    networks: list[str] | None = None
    required_tags: list[str] = []
    metadata: dict[str, str] = {}
    old_until_ns: int | None = None

    def state(self, now_ns: int) -> str:
        """Returns ``"active"``, ``"expired"`` or ``"revoked"``."""
        if self.revoked_ns is not None:
            return "revoked"
        return "expired" if self.expires_ns is not None and self.expires_ns <= now_ns else "active"


_Name = Annotated[
    str, Meta(description="What it is called in records and lists.", extra_json_schema={"maxLength": 100})
]
_Role = Annotated[
    str,
    Meta(
        description="viewer (reads), developer (also makes calls) or admin (also changes keys).",
        extra_json_schema={"enum": list(ROLES)},
    ),
]
_Expires = Annotated[str | None, Meta(description="When it ends: `30d`, `12h`, a date or a time; null for never.")]
_User = Annotated[str, Meta(description="The user its calls count for; the owner's name where empty.")]
_Team = Annotated[str, Meta(description="The team its calls count for; the owner's team where empty.")]
_Feature = Annotated[str, Meta(description="The feature its calls count for.")]
_Models = Annotated[
    list[str] | None, Meta(description="The only models it may use, as names or patterns (`gpt-*`); null for all.")
]
_Direct = Annotated[bool, Meta(description="Whether it may address `provider/model` too.")]
_Payloads = Annotated[
    str,
    Meta(
        description="`none`, `redacted`, `full`, or empty for what `data.payloads` says.",
        extra_json_schema={"enum": list(PAYLOAD_POLICIES)},
    ),
]
_Owner = Annotated[str, Meta(description="The person that it belongs to: id, e-mail or name.")]
_Networks = Annotated[
    list[str] | None, Meta(description="The only client addresses, as networks (`10.0.0.0/8`); null for all.")
]
_Tags = Annotated[list[str], Meta(description="Tags that every call must carry: `app`, or `app=billing`.")]
_Limits = Annotated[list[Allowance], Meta(description="Limits to set; others that it has stay.")]
_Metadata = Annotated[dict[str, str], Meta(description="Free words about it; shown, never used.")]


class KeySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key is to be."""

    name: _Name
    role: _Role = "developer"
    expires: _Expires = None
    user: _User = ""
    team: _Team = ""
    feature: _Feature = ""
    models: _Models = None
    direct: _Direct = False
    payloads: _Payloads = ""
    owner: _Owner = ""
    networks: _Networks = None
    required_tags: _Tags = []
    metadata: _Metadata = {}
    limits: _Limits = []


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What of a key is to change; what is left out stays."""

    name: _Name | UnsetType = UNSET
    role: _Role | UnsetType = UNSET
    expires: _Expires | UnsetType = UNSET
    user: _User | UnsetType = UNSET
    team: _Team | UnsetType = UNSET
    feature: _Feature | UnsetType = UNSET
    models: _Models | UnsetType = UNSET
    direct: _Direct | UnsetType = UNSET
    payloads: _Payloads | UnsetType = UNSET
    owner: _Owner | UnsetType = UNSET
    networks: _Networks | UnsetType = UNSET
    required_tags: _Tags | UnsetType = UNSET
    metadata: _Metadata | UnsetType = UNSET
    limits: _Limits | UnsetType = UNSET


def new_secret() -> str:
    """Returns a new key: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def add_key(change: Change, spec: KeySpec, digest: bytes) -> KeyInfo:
    """Makes the key whose secret has this digest.

    Raises:
        BadRequest: something in ``spec`` makes no sense, or the owner is unknown.
    """
    fields = _checked(change, msgspec.structs.asdict(spec))
    _check_owner(change, fields["owner"], fields["role"])
    info = KeyInfo(id="key_" + secrets.token_hex(6), created_ns=change.now_ns, **fields)
    change.connection.execute(insert(virtual_keys).values(digest=digest, **_columns(info)))
    change.note("key.create", info.id, None, info)
    return info


def change_key(change: Change, id_or_name: str, wanted: KeyChange) -> KeyInfo:
    """Changes what is named; nothing is written where nothing differs.

    Raises:
        BadRequest: as ``find_key``; a value that makes no sense; a revoked key (``key_revoked``).
    """
    before = _live(change.connection, id_or_name)
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    fields = _checked(change, given)
    if "owner" in fields or "role" in fields:
        _check_owner(change, fields.get("owner", before.owner), fields.get("role", before.role))
    return _replace(change, "key.update", before, **fields)


def rotate_key(change: Change, id_or_name: str, overlap: str, digest: bytes) -> KeyInfo:
    """Gives a key a new secret; the old one stays valid for the overlap (``"1h"``; ``"0s"``: no longer).

    Raises:
        BadRequest: as ``find_key``; no time; a key that is not active (``key_revoked``, ``key_expired``).
    """
    before = _live(change.connection, id_or_name)
    if before.state(change.now_ns) == "expired":
        raise BadRequest(f"the key {before.id} has expired; give it a new end first", code="key_expired")
    kept_ns = parse_span(overlap, "overlap")
    until = change.now_ns + kept_ns if kept_ns else None
    connection, c = change.connection, virtual_keys.c
    connection.execute(delete(old_secrets).where(old_secrets.c.expires_ns <= change.now_ns))
    if until is None:
        connection.execute(delete(old_secrets).where(old_secrets.c.key_id == before.id))
    else:
        # Those of earlier rotations end no later than this one.
        mine = (old_secrets.c.key_id == before.id) & (old_secrets.c.expires_ns > until)
        connection.execute(update(old_secrets).where(mine).values(expires_ns=until))
        old = connection.execute(select(c.digest).where(c.id == before.id)).scalar_one()
        connection.execute(insert(old_secrets).values(digest=old, key_id=before.id, expires_ns=until))
    connection.execute(update(virtual_keys).where(c.id == before.id).values(digest=digest))
    return _replace(change, "key.rotate", before, always=True, old_until_ns=until)


def revoke_key(change: Change, id_or_name: str) -> KeyInfo:
    """Revokes a key, its old secrets with it; one that is revoked already stays as it is.

    Raises:
        BadRequest: as ``find_key``.
    """
    before = find_key(change.connection, id_or_name)
    if before.revoked_ns is not None:
        return before
    change.connection.execute(delete(old_secrets).where(old_secrets.c.key_id == before.id))
    return _replace(change, "key.revoke", before, revoked_ns=change.now_ns, old_until_ns=None)


def find_key(connection: Connection, id_or_name: str) -> KeyInfo:
    """Returns a key by its id, or by its name where one key only that is not revoked has it.

    Raises:
        BadRequest: there is no such key (``key_not_found``), or several have that name (``ambiguous_key``).
    """
    if is_secret(id_or_name):
        raise BadRequest("that is a key itself; name it by its id, see: headgate keys list", code="key_not_found")
    c, word = virtual_keys.c, findable(id_or_name)
    found = connection.execute(select(virtual_keys).where(c.id == word)).all()
    if not found:
        named = (c.name == word) & c.revoked_ns.is_(None)
        found = connection.execute(select(virtual_keys).where(named)).all()
    if not found:
        raise BadRequest(
            f"no key has the id or name {shown(id_or_name)}; see: headgate keys list", code="key_not_found"
        )
    if len(found) > 1:
        ids = ", ".join(row.id for row in found)
        raise BadRequest(
            f"several keys have the name {shown(id_or_name)}; name one by its id: {ids}", code="ambiguous_key"
        )
    return _info(found[0]._mapping)


def list_keys(
    connection: Connection, *, owner: str | None = None, limit: int | None = None, after: tuple[int, str] | None = None
) -> list[KeyInfo]:
    """Returns keys, oldest first, revoked and expired ones too.

    Args:
        connection: the store.
        owner: only those that belong to this person (id).
        limit: at most so many.
        after: ``(created_ns, id)`` of the key behind which to begin.
    """
    c = virtual_keys.c
    query = select(virtual_keys).order_by(c.created_ns, c.id).limit(limit)
    if owner is not None:
        query = query.where(c.owner == owner)
    if after is not None:
        query = query.where(sqlalchemy.tuple_(c.created_ns, c.id) > sqlalchemy.tuple_(*after))
    return [_info(row._mapping) for row in connection.execute(query)]


def _live(connection: Connection, id_or_name: str) -> KeyInfo:
    info = find_key(connection, id_or_name)
    if info.revoked_ns is not None:
        raise BadRequest(f"the key {info.id} is revoked, for good; make a new one", code="key_revoked")
    return info


def _replace(change: Change, action: str, before: KeyInfo, *, always: bool = False, **fields: Any) -> KeyInfo:
    after = msgspec.structs.replace(before, **fields)
    if after != before or always:
        row = update(virtual_keys).where(virtual_keys.c.id == before.id)
        change.connection.execute(row.values(**_columns(after)))
        change.note(action, before.id, before, after)
    return after


def _checked(change: Change, given: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a KeyInfo for what was given of a KeySpec or KeyChange."""
    checks: dict[str, Any] = {
        "name": lambda text: check_word(text, "name"),
        "role": check_role,
        "expires": lambda text: None if text is None else parse_end(text, change.now_ns),
        "models": lambda models: None if models is None else check_models(models),
        "payloads": lambda text: check_choice(text, "payloads", PAYLOAD_POLICIES),
        "owner": lambda text: find_user(change.connection, text).id if text else "",
        "networks": lambda networks: None if networks is None else check_networks(networks),
        "required_tags": check_tags,
        "metadata": check_metadata,
        "direct": bool,
    }
    for label in ("user", "team", "feature"):
        checks[label] = lambda text, label=label: check_word(text, label, limit=LABEL_LIMIT, empty=True)
    given = {name: value for name, value in given.items() if name != "limits"}  # stored beside the key
    return {"expires_ns" if name == "expires" else name: checks[name](value) for name, value in given.items()}


def _check_owner(change: Change, owner: str, role: str) -> None:
    if owner:
        theirs = find_user(change.connection, owner).role
        if lesser_role(theirs, role) != role:
            raise wrong(f"the owner has the role {theirs}: a key of theirs can not be {role}", "role")


def _columns(info: KeyInfo) -> dict[str, Any]:
    row = msgspec.structs.asdict(info)
    row["user_id"] = row.pop("user")
    row["owner"] = info.owner or None
    for name in ("models", "networks"):
        row[name] = _json(row[name])
    for name in ("required_tags", "metadata"):
        row[name] = _json(row[name] or None)
    return row


def _json(value: Sequence[str] | dict[str, str] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _info(row: sqlalchemy.RowMapping) -> KeyInfo:
    fields: dict[str, Any] = {name: row[name] for name in KeyInfo.__struct_fields__ if name != "user"}
    fields["user"] = row["user_id"]
    fields["owner"] = row["owner"] or ""
    for name, empty in (("models", None), ("networks", None), ("required_tags", []), ("metadata", {})):
        fields[name] = msgspec.json.decode(fields[name]) if fields[name] is not None else empty
    return KeyInfo(**fields)
