"""The admin API's routes for virtual keys."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.server.admin.page import Cursor, read_cursor, show_cursor
from headgate.server.admin.route import MOST, PAGE, Ask, Route, moment, moment_or_none
from headgate.stores.keys import KeyChange, KeyInfo, KeySpec
from headgate.stores.registry import NewKey


class Key(msgspec.Struct, kw_only=True):
    """A virtual key: everything but its secret."""

    id: str
    name: str
    state: Annotated[str, Meta(description="active, expired or revoked.")]
    role: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    old_until: Annotated[datetime | None, Meta(description="Until when a secret from before a rotation is valid.")]
    owner: str
    user: str
    team: str
    feature: str
    models: list[str] | None
    direct: bool
    payloads: str
    networks: list[str] | None
    required_tags: list[str]
    metadata: dict[str, str]


class FreshKey(Key, kw_only=True):
    """A key just made or rotated."""

    key: Annotated[str, Meta(description="The secret itself, told this once; it is stored as a hash.")]


class Keys(msgspec.Struct):
    """A page of keys, oldest first."""

    data: list[Key]
    next: Annotated[str | None, Meta(description="Give it as `after` for the next page; null at the end.")]


class KeysQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which keys."""

    limit: Annotated[int, Meta(ge=1, le=MOST)] = PAGE
    after: str | None = None


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """How to rotate."""

    overlap: Annotated[str, Meta(description="How long the old secret stays valid too: `1h`, `0s` for no longer.")] = (
        "1h"
    )


def _show(info: KeyInfo) -> Key:
    return Key(**_fields(info))


def _fresh(made: NewKey) -> FreshKey:
    return FreshKey(key=made.secret, **_fields(made.info))


def _fields(info: KeyInfo) -> dict[str, Any]:
    fields = msgspec.structs.asdict(info)
    for name in ("expires", "revoked", "old_until"):
        fields[name] = moment_or_none(fields.pop(f"{name}_ns"))
    fields["created"] = moment(fields.pop("created_ns"))
    fields["state"] = info.state(time.time_ns())
    return fields


def _list(ask: Ask) -> Keys:
    limit, after = ask.query.limit, ask.query.after
    cursor = None if after is None else read_cursor(after)
    found = ask.registry.list_keys(
        limit=limit + 1, after=None if cursor is None else (cursor.first, str(cursor.second))
    )
    last = found[limit - 1] if len(found) > limit else None
    return Keys(
        [_show(info) for info in found[:limit]], None if last is None else show_cursor(Cursor(last.created_ns, last.id))
    )


ROUTES = (
    Route(
        method="GET",
        path="/keys",
        name="list_keys",
        about="Lists keys, revoked and expired ones too.",
        role="admin",
        does=_list,
        gives=Keys,
        query=KeysQuery,
    ),
    Route(
        method="POST",
        path="/keys",
        name="create_key",
        about="Makes a key and tells its secret, this once.",
        role="admin",
        does=lambda ask: _fresh(ask.registry.create_key(ask.body)),
        gives=FreshKey,
        takes=KeySpec,
        status=201,
    ),
    Route(
        method="GET",
        path="/keys/{id}",
        name="get_key",
        about="Shows one key, by its id (or its name, where one only has it).",
        role="admin",
        does=lambda ask: _show(ask.registry.find_key(ask.path["id"])),
        gives=Key,
    ),
    Route(
        method="PATCH",
        path="/keys/{id}",
        name="update_key",
        about="Changes what of a key is named; workers know within a second.",
        role="admin",
        does=lambda ask: _show(ask.registry.update_key(ask.path["id"], ask.body)),
        gives=Key,
        takes=KeyChange,
    ),
    Route(
        method="POST",
        path="/keys/{id}/rotate",
        name="rotate_key",
        about="Gives a key a new secret and tells it, this once; the old one stays valid for the overlap.",
        role="admin",
        does=lambda ask: _fresh(ask.registry.rotate_key(ask.path["id"], ask.body.overlap)),
        gives=FreshKey,
        takes=Rotation,
    ),
    Route(
        method="POST",
        path="/keys/{id}/revoke",
        name="revoke_key",
        about="Revokes a key for good; workers know within a second.",
        role="admin",
        does=lambda ask: _show(ask.registry.revoke_key(ask.path["id"])),
        gives=Key,
    ),
)
