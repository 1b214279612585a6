"""``headgate keys``: virtual keys, made, listed and revoked in the data directory's store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from headgate.cli.options import common, open_data, store_errors
from headgate.config.units import parse_seconds

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.stores.keys import KeyInfo


@click.group()
def keys() -> None:
    """Make, list and revoke virtual keys."""


@keys.command()
@common
@click.option("--name", required=True, help="What the key is called in records and lists.")
@click.option("--role", default="developer", help="viewer, developer or admin [developer].")
@click.option("--expires", metavar="TIME", help="How long it is valid, e.g. 30d or 12h [for ever].")
@click.option("--models", metavar="A,B", help="The only models it may use [all that are configured].")
@click.option("--direct", is_flag=True, help="Allow provider/model addressing too.")
@click.option("--payloads", type=click.Choice(["none", "full"]), help="Keep its requests and answers [data.payloads].")
@click.option("--user", default="", help="The user its calls count for.")
@click.option("--team", default="", help="The team its calls count for.")
@click.option("--feature", default="", help="The feature its calls count for.")
@click.option("--quiet", is_flag=True, help="Print the key alone.")
def create(
    config: str | None,
    data: str | None,
    name: str,
    role: str,
    expires: str | None,
    models: str | None,
    direct: bool,
    payloads: str | None,
    user: str,
    team: str,
    feature: str,
    quiet: bool,
) -> None:
    """Make a key and print it: it is stored as a hash and can not be shown again."""
    from headgate.stores.keys import create_key

    now = time.time_ns()
    with _engine(config, data, create=True) as engine:
        secret, info = create_key(
            engine,
            name,
            role=role,
            expires_ns=None if expires is None else now + _lifetime_ns(expires),
            user=user,
            team=team,
            feature=feature,
            models=None if models is None else _names(models),
            direct=direct,
            payloads=payloads or "",
            now_ns=now,
        )
    print(secret)
    if not quiet:
        click.echo(f"{info.id} ({info.name}): keep the key now, it can not be shown again.", err=True)


@keys.command("list")
@common
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table].")
def list_(config: str | None, data: str | None, form: str) -> None:
    """List all keys, revoked and expired ones too; never their secrets."""
    from headgate.stores.keys import list_keys

    with _engine(config, data) as engine:
        found = list_keys(engine)
    now = time.time_ns()
    if form == "jsonl":
        import msgspec

        for info in found:
            print(msgspec.json.encode({"state": info.state(now), **msgspec.structs.asdict(info)}).decode())
        return
    rows = [("ID", "NAME", "ROLE", "STATE", "CREATED", "EXPIRES", "MODELS"), *(_row(info, now) for info in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@common
@click.argument("id")
def revoke(config: str | None, data: str | None, id: str) -> None:
    """Revoke the key with this ID (or name, where only one has it); workers know within a second."""
    from headgate.stores.keys import revoke_key

    with _engine(config, data) as engine:
        info = revoke_key(engine, id)
    print(f"revoked {info.id} ({info.name})")


@contextlib.contextmanager
def _engine(config: str | None, data: str | None, *, create: bool = False) -> Iterator[Engine]:
    engine = open_data(config, data, create=create).open_engine()
    try:
        with store_errors():
            yield engine
    finally:
        engine.dispose()


def _lifetime_ns(text: str) -> int:
    seconds = parse_seconds(text)
    if not seconds or seconds > 36_500 * 86_400:
        raise click.BadParameter(f"{text!r} is no lifetime; write 30d, 12h or 90m", param_hint="--expires")
    return int(seconds * 1_000_000_000)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("name at least one model", param_hint="--models")
    return names


def _row(info: KeyInfo, now: int) -> tuple[str, ...]:
    models = "all" if info.models is None else ",".join(info.models)
    if info.direct:
        models += " +direct"
    expires = "never" if info.expires_ns is None else _day(info.expires_ns)
    return info.id, info.name, info.role, info.state(now), _day(info.created_ns), expires, models


def _day(moment_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment_ns / 1e9))
