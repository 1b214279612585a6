"""``headgate keys``: virtual keys, made, listed, changed, rotated and revoked in the data directory's store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.limits import allowances, limit_options
from headgate.cli.options import Words, common
from headgate.cli.registry import day, open_registry, show_fields, show_lines, show_table
from headgate.core.errors import BadRequest

if TYPE_CHECKING:
    from headgate.stores.keys import KeyInfo
    from headgate.stores.registry import Registry

_ALL = "all"


@click.group(cls=Words)
def keys() -> None:
    """Make, list, change, rotate and revoke virtual keys."""


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say what a key may do; None where they are not given."""
    options = (
        click.option("--role", help="viewer, developer or admin [developer]."),
        click.option("--expires", metavar="TIME", help="Valid for so long (30d, 12h), or until a date; `never`."),
        click.option("--models", metavar="A,B", help="The only models it may use, names or patterns; `all`."),
        click.option("--direct/--no-direct", default=None, help="Whether provider/model addressing is allowed too."),
        click.option("--networks", metavar="A,B", help="The only client addresses, like 10.0.0.0/8; `all`."),
        click.option("--require-tag", "tags", multiple=True, metavar="NAME[=VALUE]", help="Calls must carry it."),
        click.option(
            "--payloads", type=click.Choice(["none", "redacted", "full"]), help="How its calls' payloads are kept."
        ),
        click.option("--owner", metavar="PERSON", help="The person it belongs to: id, e-mail or name."),
        click.option("--user", help="The user its calls count for [the owner]."),
        click.option("--team", help="The team its calls count for [the owner's]."),
        click.option("--feature", help="The feature its calls count for."),
        click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="A free word about it; repeatable."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@keys.command()
@common
@click.option("--name", required=True, help="What the key is called in records and lists.")
@_settings
@limit_options
@click.option("--quiet", is_flag=True, help="Print the key alone.")
def create(config: str | None, data: str | None, name: str, quiet: bool, **given: Any) -> None:
    """Make a key and print it: it is stored as a hash and can not be shown again."""
    from headgate.stores.keys import KeySpec

    limits = allowances(given)
    spec = KeySpec(name=name, limits=limits, **_fields(given))
    with open_registry(config, data, create=True, budget=bool(limits)) as registry:
        made = registry.create_key(spec)
        _look_for_team(registry, made.info.team)
    print(made.secret)
    if not quiet:
        click.echo(f"{made.info.id} ({made.info.name}): keep the key now, it can not be shown again.", err=True)


def _look_for_team(registry: Registry, team: str) -> None:
    """Says on standard error where a key counts for a team that there is not: a slip, perhaps, that no budget holds."""
    from headgate.config.reader import nearest

    names = [one.name for one in registry.list_teams()] if team else []
    if team and team not in names:
        hint = nearest(team, names, "there are")
        click.echo(f"note: there is no team {team!r}{hint}; headgate teams create makes one", err=True)


@keys.command("list")
@common
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table].")
def list_(config: str | None, data: str | None, form: str) -> None:
    """List all keys, revoked and expired ones too; never their secrets."""
    with open_registry(config, data) as registry:
        found = registry.list_keys()
    now = time.time_ns()
    if form == "jsonl":
        show_lines(_plain(info, now) for info in found)
        return
    head = ("ID", "NAME", "ROLE", "STATE", "CREATED", "EXPIRES", "MODELS")
    show_table(head, (_row(info, now) for info in found))


@keys.command()
@common
@click.argument("id")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Output form [text].")
def show(config: str | None, data: str | None, id: str, form: str) -> None:
    """Show the key with this ID (or name, where only one has it): everything but its secret."""
    with open_registry(config, data) as registry:
        info = registry.find_key(id)
        limits = registry.list_limits(scope="key", value=info.id)
    fields = _plain(info, time.time_ns())
    fields["limits"] = [one.rule.shown for one in limits]
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(fields)).decode())
        return
    for name in ("created", "expires", "revoked", "old_until"):
        moment = fields.pop(f"{name}_ns")
        fields[name] = None if moment is None else day(moment)
    fields["expires"] = fields["expires"] or "never"
    fields["models"] = fields["models"] or _ALL
    fields["networks"] = fields["networks"] or _ALL
    show_fields(fields)


@keys.command()
@common
@click.argument("id")
@click.option("--name", help="A new name.")
@_settings
@limit_options
def update(config: str | None, data: str | None, id: str, name: str | None, **given: Any) -> None:
    """Change the key with this ID; what is not named stays. An empty value takes a setting away."""
    from headgate.stores.keys import KeyChange

    limits = allowances(given)
    fields = _fields(given)
    if limits:
        fields["limits"] = limits
    if name is not None:
        fields["name"] = name
    if not fields:
        raise click.UsageError("say what to change; see: headgate keys update --help")
    with open_registry(config, data, budget=bool(limits)) as registry:
        info = registry.update_key(id, KeyChange(**fields))
        _look_for_team(registry, str(fields.get("team", "")))
    print(f"updated {info.id} ({info.name})")


@keys.command()
@common
@click.argument("id")
@click.option("--overlap", default="1h", metavar="TIME", help="How long the old key stays valid too; 0s: not [1h].")
@click.option("--quiet", is_flag=True, help="Print the new key alone.")
def rotate(config: str | None, data: str | None, id: str, overlap: str, quiet: bool) -> None:
    """Give the key with this ID a new secret and print it; the old one stays valid for the overlap."""
    from headgate.stores.words import parse_span

    _or_usage(lambda: parse_span(overlap, "overlap"), "--overlap")
    with open_registry(config, data) as registry:
        made = registry.rotate_key(id, overlap)
    print(made.secret)
    if not quiet:
        until = made.info.old_until_ns
        old = "the old key is not valid any more" if until is None else f"the old key is valid until {day(until)} UTC"
        click.echo(f"{made.info.id} ({made.info.name}): keep the key now; {old}.", err=True)


@keys.command()
@common
@click.argument("id")
def revoke(config: str | None, data: str | None, id: str) -> None:
    """Revoke the key with this ID (or name, where only one has it); workers know within a second."""
    with open_registry(config, data) as registry:
        info = registry.revoke_key(id)
    print(f"revoked {info.id} ({info.name})")


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given, as a KeySpec or KeyChange has them."""
    from headgate.stores.words import parse_end

    fields = {
        name: given[name]
        for name in ("role", "direct", "payloads", "owner", "user", "team", "feature")
        if given[name] is not None
    }
    expires = given["expires"]
    if expires is not None:
        fields["expires"] = None if expires in ("never", "") else expires
        if fields["expires"]:
            _or_usage(lambda: parse_end(expires, time.time_ns()), "--expires")
    for name in ("models", "networks"):
        if given[name] is not None:
            fields[name] = None if given[name] in (_ALL, "") else _names(given[name], f"--{name}")
    if given["tags"]:
        fields["required_tags"] = [tag for tag in given["tags"] if tag]
    if given["metadata"]:
        fields["metadata"] = dict(_pair(pair) for pair in given["metadata"] if pair)
    return fields


def _or_usage(check: Callable[[], object], option: str) -> None:
    """A value that can be seen to be wrong before anything is opened is wrong usage."""
    try:
        check()
    except BadRequest as error:
        raise click.BadParameter(error.message, param_hint=option) from error


def _names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("name at least one", param_hint=option)
    return names


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter("write NAME=VALUE", param_hint="--metadata")
    return name, value


def _plain(info: KeyInfo, now: int) -> dict[str, Any]:
    return {"state": info.state(now), **msgspec.structs.asdict(info)}


def _row(info: KeyInfo, now: int) -> Sequence[str]:
    models = _ALL if info.models is None else ",".join(info.models)
    if info.direct:
        models += " +direct"
    return info.id, info.name, info.role, info.state(now), day(info.created_ns), day(info.expires_ns), models
