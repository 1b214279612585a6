"""``headgate teams`` and ``headgate users``: who keys belong to, in the data directory's store."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from headgate.cli.limits import allowances, limit_options
from headgate.cli.options import Words, common
from headgate.cli.registry import day, open_registry, show_lines, show_table

_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table]."
)


@click.group(cls=Words)
def teams() -> None:
    """Make, list and delete teams."""


@teams.command("create")
@common
@click.argument("name")
@click.option("--description", default="", help="What the team is.")
@limit_options
def create_team(config: str | None, data: str | None, name: str, description: str, **given: Any) -> None:
    """Make a team of this NAME."""
    from headgate.stores.people import TeamSpec

    limits = allowances(given)
    with open_registry(config, data, create=True, budget=bool(limits)) as registry:
        team = registry.create_team(TeamSpec(name=name, description=description, limits=limits))
    print(f"created the team {team.name}")


@teams.command("list")
@common
@_FORM
def list_teams(config: str | None, data: str | None, form: str) -> None:
    """List all teams."""
    with open_registry(config, data) as registry:
        found = registry.list_teams()
    if form == "jsonl":
        show_lines(map(msgspec.structs.asdict, found))
        return
    show_table(
        ("NAME", "CREATED", "DESCRIPTION"), ((team.name, day(team.created_ns), team.description) for team in found)
    )


@teams.command("delete")
@common
@click.argument("name")
def delete_team(config: str | None, data: str | None, name: str) -> None:
    """Delete the team of this NAME, once no people and no keys are in it."""
    with open_registry(config, data) as registry:
        team = registry.delete_team(name)
    print(f"deleted the team {team.name}")


@click.group(cls=Words)
def users() -> None:
    """Make, list, change and delete people."""


@users.command("create")
@common
@click.argument("name")
@click.option("--email", default="", help="Their e-mail address.")
@click.option("--team", default="", help="The team that they are in; it must exist.")
@click.option(
    "--role", default="developer", help="viewer, developer or admin: keys of theirs can do no more [developer]."
)
@limit_options
def create_user(
    config: str | None, data: str | None, name: str, email: str, team: str, role: str, **given: Any
) -> None:
    """Make a person of this NAME: what the calls of their keys count for."""
    from headgate.stores.people import UserSpec

    limits = allowances(given)
    with open_registry(config, data, create=True, budget=bool(limits)) as registry:
        user = registry.create_user(UserSpec(name=name, email=email, team=team, role=role, limits=limits))
    print(f"created {user.id} ({user.name})")


@users.command("list")
@common
@_FORM
def list_users(config: str | None, data: str | None, form: str) -> None:
    """List all people."""
    with open_registry(config, data) as registry:
        found = registry.list_users()
    if form == "jsonl":
        show_lines(map(msgspec.structs.asdict, found))
        return
    rows = (
        (user.id, user.name, user.email or "-", user.team or "-", user.role, day(user.created_ns)) for user in found
    )
    show_table(("ID", "NAME", "EMAIL", "TEAM", "ROLE", "CREATED"), rows)


@users.command("update")
@common
@click.argument("person")
@click.option("--name", help="A new name.")
@click.option("--email", help="A new e-mail address; empty for none.")
@click.option("--team", help="Another team; empty for none.")
@click.option("--role", help="Another role; it counts for their keys within a second.")
@limit_options
def update_user(config: str | None, data: str | None, person: str, **given: Any) -> None:
    """Change a PERSON (id, e-mail or name); what is not named stays."""
    from headgate.stores.people import UserChange

    limits = allowances(given)
    fields = {name: value for name, value in given.items() if value is not None}
    if limits:
        fields["limits"] = limits
    if not fields:
        raise click.UsageError("say what to change; see: headgate users update --help")
    with open_registry(config, data, budget=bool(limits)) as registry:
        user = registry.update_user(person, UserChange(**fields))
    print(f"updated {user.id} ({user.name})")


@users.command("delete")
@common
@click.argument("person")
def delete_user(config: str | None, data: str | None, person: str) -> None:
    """Delete a PERSON (id, e-mail or name) and revoke their keys; workers know within a second."""
    with open_registry(config, data) as registry:
        user = registry.delete_user(person)
    print(f"deleted {user.id} ({user.name}) and revoked their keys")
