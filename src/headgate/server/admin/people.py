"""The admin API's routes for people and teams."""

from __future__ import annotations

from datetime import datetime

import msgspec

from headgate.server.admin.route import Ask, Route, moment
from headgate.stores.people import TeamInfo, TeamSpec, UserChange, UserInfo, UserSpec


class Team(msgspec.Struct):
    """A team."""

    name: str
    description: str
    created: datetime


class Teams(msgspec.Struct):
    """All teams, by name."""

    data: list[Team]


class User(msgspec.Struct):
    """A person. Keys of theirs can do no more than `role` may."""

    id: str
    name: str
    email: str
    team: str
    role: str
    created: datetime


class Users(msgspec.Struct):
    """All people, by name."""

    data: list[User]


def _team(info: TeamInfo) -> Team:
    return Team(info.name, info.description, moment(info.created_ns))


def _user(info: UserInfo) -> User:
    return User(info.id, info.name, info.email, info.team, info.role, moment(info.created_ns))


def _list_teams(ask: Ask) -> Teams:
    return Teams([_team(info) for info in ask.registry.list_teams()])


def _list_users(ask: Ask) -> Users:
    return Users([_user(info) for info in ask.registry.list_users()])


_TEAMS = (
    Route(
        method="GET",
        path="/teams",
        name="list_teams",
        about="Lists teams.",
        role="admin",
        does=_list_teams,
        gives=Teams,
    ),
    Route(
        method="POST",
        path="/teams",
        name="create_team",
        about="Makes a team.",
        role="admin",
        does=lambda ask: _team(ask.registry.create_team(ask.body)),
        gives=Team,
        takes=TeamSpec,
        status=201,
    ),
    Route(
        method="GET",
        path="/teams/{name}",
        name="get_team",
        about="Shows one team.",
        role="admin",
        does=lambda ask: _team(ask.registry.find_team(ask.path["name"])),
        gives=Team,
    ),
    Route(
        method="DELETE",
        path="/teams/{name}",
        name="delete_team",
        about="Deletes a team, once no people and no keys are in it.",
        role="admin",
        does=lambda ask: _team(ask.registry.delete_team(ask.path["name"])),
        gives=Team,
    ),
)
_USERS = (
    Route(
        method="GET",
        path="/users",
        name="list_users",
        about="Lists people.",
        role="admin",
        does=_list_users,
        gives=Users,
    ),
    Route(
        method="POST",
        path="/users",
        name="create_user",
        about="Makes a person.",
        role="admin",
        does=lambda ask: _user(ask.registry.create_user(ask.body)),
        gives=User,
        takes=UserSpec,
        status=201,
    ),
    Route(
        method="GET",
        path="/users/{id}",
        name="get_user",
        about="Shows one person, by id, e-mail or name.",
        role="admin",
        does=lambda ask: _user(ask.registry.find_user(ask.path["id"])),
        gives=User,
    ),
    Route(
        method="PATCH",
        path="/users/{id}",
        name="update_user",
        about="Changes what of a person is named; it counts for their keys within a second.",
        role="admin",
        does=lambda ask: _user(ask.registry.update_user(ask.path["id"], ask.body)),
        gives=User,
        takes=UserChange,
    ),
    Route(
        method="DELETE",
        path="/users/{id}",
        name="delete_user",
        about="Deletes a person and revokes their keys.",
        role="admin",
        does=lambda ask: _user(ask.registry.delete_user(ask.path["id"])),
        gives=User,
    ),
)
ROUTES = _TEAMS + _USERS
