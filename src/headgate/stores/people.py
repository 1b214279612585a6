"""People and teams in the store: who keys belong to, and what their calls count for.

What changes something takes a ``Change``: use ``stores.registry``. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec
import sqlalchemy
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, delete, func, insert, select, update

from headgate.core.errors import BadRequest
from headgate.core.terms import ROLES
from headgate.stores.allowance import Allowance
from headgate.stores.change import Change
from headgate.stores.schema import teams, users, virtual_keys
from headgate.stores.words import VALUE_LIMIT, check_email, check_role, check_word, findable, shown, wrong


class TeamInfo(msgspec.Struct, frozen=True):
    """A team; ``created_ns`` in ns since 1970."""

    name: str
    description: str
    created_ns: int


class UserInfo(msgspec.Struct, frozen=True):
    """A person. ``email`` and ``team`` may be ""; keys of theirs can do no more than ``role`` may."""

    id: str
    name: str
    email: str
    team: str
    role: str
    created_ns: int


_Name = Annotated[str, Meta(description="What their calls count for in records and limits; unique.")]
_Email = Annotated[str, Meta(description="Their e-mail address; unique; may be empty.")]
_TeamName = Annotated[str, Meta(description="The team that they are in; may be empty.")]
_Limits = Annotated[list[Allowance], Meta(description="Limits to set; others that it has stay.")]
_Role = Annotated[
    str,
    Meta(
        description="viewer, developer or admin: keys of theirs can do no more.",
        extra_json_schema={"enum": list(ROLES)},
    ),
]


class TeamSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new team is to be."""

    name: Annotated[str, Meta(description="What keys and records call it; unique, without a slash.")]
    description: str = ""
    limits: _Limits = []


class UserSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new person is to be."""

    name: _Name
    email: _Email = ""
    team: _TeamName = ""
    role: _Role = "developer"
    limits: _Limits = []


class UserChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What of a person is to change; what is left out stays."""

    name: _Name | UnsetType = UNSET
    email: _Email | UnsetType = UNSET
    team: _TeamName | UnsetType = UNSET
    role: _Role | UnsetType = UNSET
    limits: _Limits | UnsetType = UNSET


def add_team(change: Change, spec: TeamSpec) -> TeamInfo:
    """Makes a team.

    Raises:
        BadRequest: a name that can not be, or that another team has (``already_exists``).
    """
    name = check_word(spec.name, "name")
    if "/" in name:
        raise wrong("a team's name has no slash", "name")
    info = TeamInfo(name, check_word(spec.description, "description", limit=VALUE_LIMIT, empty=True), change.now_ns)
    if any(_folded(team.name) == _folded(name) for team in list_teams(change.connection)):
        raise BadRequest("a team of this name exists already", code="already_exists", param="name")
    change.connection.execute(insert(teams).values(msgspec.structs.asdict(info)))
    change.note("team.create", info.name, None, info)
    return info


def find_team(connection: Connection, name: str) -> TeamInfo:
    """Returns a team.

    Raises:
        BadRequest: there is none of that name (``team_not_found``).
    """
    row = connection.execute(select(teams).where(teams.c.name == findable(name))).one_or_none()
    if row is None:
        raise BadRequest(
            f"there is no team {shown(name)}; see: headgate teams list", code="team_not_found", param="team"
        )
    return TeamInfo(*row)


def list_teams(connection: Connection) -> list[TeamInfo]:
    """Returns all teams by name."""
    return [TeamInfo(*row) for row in connection.execute(select(teams).order_by(teams.c.name))]


def delete_team(change: Change, name: str) -> TeamInfo:
    """Deletes a team that nobody is in any more.

    Raises:
        BadRequest: as ``find_team``; people or keys that are not revoked are in it (``team_in_use``).
    """
    connection, key = change.connection, virtual_keys.c
    info = find_team(connection, name)
    people = _count(connection, users.c.team == info.name)
    keys = _count(connection, (key.team == info.name) & key.revoked_ns.is_(None))
    if people or keys:
        raise BadRequest(
            f"the team still has {_some(people, 'person', 'people')} and {_some(keys, 'key', 'keys')}; "
            "move or end them first",
            code="team_in_use",
        )
    connection.execute(delete(teams).where(teams.c.name == info.name))
    change.note("team.delete", info.name, info, None)
    return info


def add_user(change: Change, spec: UserSpec) -> UserInfo:
    """Makes a person.

    Raises:
        BadRequest: a value that can not be, an unknown team, a name or e-mail that somebody has (``already_exists``).
    """
    fields = _checked(change, msgspec.structs.asdict(spec), "")
    info = UserInfo(id="user_" + secrets.token_hex(6), created_ns=change.now_ns, **fields)
    change.connection.execute(insert(users).values(_columns(info)))
    change.note("user.create", info.id, None, info)
    return info


def find_user(connection: Connection, word: str) -> UserInfo:
    """Returns a person by id, e-mail or name.

    Raises:
        BadRequest: there is none (``user_not_found``).
    """
    c, name = users.c, findable(word)
    for match in (c.id == name, c.email == name.lower(), c.name == name):
        row = connection.execute(select(users).where(match)).mappings().one_or_none()
        if row is not None:
            return _info(row)
    raise BadRequest(
        f"nobody has the id, e-mail or name {shown(word)}; see: headgate users list",
        code="user_not_found",
        param="user",
    )


def list_users(connection: Connection) -> list[UserInfo]:
    """Returns all people by name."""
    return [_info(row) for row in connection.execute(select(users).order_by(users.c.name)).mappings()]


def change_user(change: Change, word: str, wanted: UserChange) -> UserInfo:
    """Changes what is named; nothing is written where nothing differs. Raises as ``find_user`` and ``add_user``."""
    before = find_user(change.connection, word)
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    after = msgspec.structs.replace(before, **_checked(change, given, before.id))
    if after != before:
        change.connection.execute(update(users).where(users.c.id == before.id).values(_columns(after)))
        change.note("user.update", before.id, before, after)
    return after


def remove_user(change: Change, user: UserInfo) -> None:
    """Deletes a person, whose keys have been revoked before."""
    change.connection.execute(delete(users).where(users.c.id == user.id))
    change.note("user.delete", user.id, user, None)


def _checked(change: Change, given: dict[str, Any], id: str) -> dict[str, Any]:
    """Returns the fields of a UserInfo for what was given, for the person with this id ("" for a new one)."""
    fields = {name: value for name, value in given.items() if name != "limits"}  # stored beside
    if "name" in fields:
        fields["name"] = check_word(fields["name"], "name")
    if "email" in fields:
        fields["email"] = check_email(fields["email"]) or ""
    if "role" in fields:
        check_role(fields["role"])
    if fields.get("team"):
        fields["team"] = find_team(change.connection, fields["team"]).name
    for other in list_users(change.connection):
        if other.id == id:
            continue
        if "name" in fields and _folded(other.name) == _folded(fields["name"]):
            raise BadRequest("somebody of this name exists already", code="already_exists", param="name")
        if fields.get("email") and other.email == fields["email"]:
            raise BadRequest("somebody with this e-mail exists already", code="already_exists", param="email")
    return fields


def _count(connection: Connection, condition: sqlalchemy.ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).where(condition)).scalar_one())


def _columns(info: UserInfo) -> dict[str, Any]:
    return {**msgspec.structs.asdict(info), "email": info.email or None}


def _info(row: sqlalchemy.RowMapping) -> UserInfo:
    return UserInfo(**{**row, "email": row["email"] or ""})


def _folded(text: str) -> str:
    return text.casefold()


def _some(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
