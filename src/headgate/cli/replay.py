"""``headgate replay``: a recorded call sent again and compared, many of them, or a failure played from its record."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from headgate.cli.filters import redacted
from headgate.cli.options import common, open_data, overrides
from headgate.core.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Engine

    from headgate.config.settings import Settings
    from headgate.core.call import Principal
    from headgate.observe.replay.changes import Changes
    from headgate.observe.replay.many import Run
    from headgate.observe.replay.outcome import Comparison
    from headgate.observe.replay.recorded import Recorded
    from headgate.stores.where import Where

LIMIT = 100


class _Wanted(NamedTuple):
    """What the command line says of every call that is sent again."""

    settings: Settings
    config: str | None
    data: str | None
    changes: Changes
    tags: dict[str, str]
    form: str


@click.command()
@common
@click.argument("id", required=False)
@click.option("--where", metavar="FILTERS", help='Many calls: "model=fast since=1d outcome=failed tag:team=red".')
@click.option("--model", help="Ask this model: a configured one, or provider/model.")
@click.option("--deployment", metavar="PROVIDER/MODEL", help="Ask this deployment.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a field of the request; repeatable.")
@click.option("--stream/--no-stream", "stream", default=None, help="Streamed or whole [as it was].")
@click.option("--offline", is_flag=True, help="Play what the upstreams said from the record alone; nothing is sent.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag the new calls; repeatable.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, metavar="N", help=f"--where: at most N [{LIMIT}].")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=4, metavar="N", help="--where: so many at once [4]."
)
@click.option("--fresh", is_flag=True, help="--where: begin anew, though a run was broken off.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output form [table].")
def replay(
    config: str | None,
    data: str | None,
    id: str | None,
    where: str | None,
    model: str | None,
    deployment: str | None,
    settings: tuple[str, ...],
    stream: bool | None,
    offline: bool,
    tags: tuple[str, ...],
    form: str,
    **many: Any,
) -> int:
    """Send the call with this ID again, as it was or changed, and show both answers side by side.

    The new call is recorded, tagged replay_of, and charged to you. The exit code is 1 where it failed; with --offline,
    where what was recorded was not reproduced.
    """
    from headgate.config.load import load_settings
    from headgate.observe.replay.changes import Changes, read_set

    if (id is None) == (where is None):
        raise click.UsageError("name the call's ID, or many calls by --where")
    if model is not None and deployment is not None:
        raise click.UsageError("give --model or --deployment, not both")
    changes = Changes(model=_address(deployment) or model, stream=stream, set=read_set(_pairs(settings, "--set")))
    if offline:
        if id is None or changes:
            raise click.UsageError("--offline plays one call as it was: give its ID and no changes")
        return _offline(config, data, id, form)
    loaded = load_settings(config, overrides=overrides(data__dir=("--data", data)))
    wanted = _Wanted(loaded, config, data, changes, _pairs(tags, "--tag"), form)
    if id is not None:
        return _one(wanted, id)
    assert where is not None
    if not where.strip():
        raise click.UsageError("--where names no filter, which would be every call; say since=90d to mean that")
    return _many(wanted, where, **many)


def _one(wanted: _Wanted, id: str) -> int:
    from headgate.cli.replayed import print_comparison
    from headgate.observe.replay.again import send_again

    recorded = _load(wanted.config, wanted.data, id)

    async def send(core: Any, who: Principal) -> Comparison:
        return await send_again(core, recorded, wanted.changes, who, tags=wanted.tags)

    comparison = asyncio.run(_with_core(wanted.settings, send))
    print_comparison(comparison, wanted.form)
    return 0 if comparison.after.outcome == "completed" else 1


def _many(wanted: _Wanted, where: str, *, limit: int, concurrency: int, fresh: bool) -> int:
    from headgate.cli.database import open_records
    from headgate.cli.replayed import print_run
    from headgate.observe.replay.many import open_run
    from headgate.stores.where import read_where

    asked = read_where(where)
    folder = pathlib.Path(wanted.settings.data.dir)
    with open_records(wanted.config, wanted.data) as engine:
        run = open_run(folder, where, wanted.changes, lambda: _find(wanted, engine, asked, limit), fresh=fresh)
        left, all_of_it = len(run.left), len(run.head.ids)
        if left < all_of_it:
            click.echo(f"going on: {all_of_it - left} of {all_of_it} were replayed before", err=True)
        try:
            if left:
                asyncio.run(_with_core(wanted.settings, _replay_left(wanted, engine, run, concurrency)))
        except KeyboardInterrupt:
            click.echo("\nbroken off; the same command goes on from here", err=True)
            raise
        finally:
            run.close()
        print_run(run, wanted.form)
    return 0


def _replay_left(
    wanted: _Wanted, engine: Engine, run: Run, concurrency: int
) -> Callable[[Any, Principal], Awaitable[None]]:
    """Returns what replays the calls of a run that are left, with a bar that shows how far it is."""
    from headgate.observe.replay.again import send_again
    from headgate.observe.replay.many import replay_many
    from headgate.observe.replay.recorded import load_recorded
    from headgate.pipeline.route import unknown_model

    async def work(core: Any, who: Principal) -> None:
        model = wanted.changes.model
        if model is not None and core.plan_of(model, who) is None:
            raise unknown_model(model, core.models)  # once, rather than by each call, refused and recorded

        async def send(id: str) -> Comparison:
            recorded = load_recorded(engine, id)
            return await send_again(core, recorded, wanted.changes, who, tags=wanted.tags, priority="batch")

        bar: Any = click.progressbar(length=len(run.left), label="replaying", file=sys.stderr)
        with bar:
            await replay_many(run, send, concurrency=concurrency, on_done=lambda done: bar.update(1))

    return work


def _find(wanted: _Wanted, engine: Engine, asked: Where, limit: int) -> list[str]:
    """Returns calls that can be replayed, newest first; replays themselves, and calls not kept, are passed over."""
    from headgate.observe.replay.again import TAG
    from headgate.stores.query import CallStore
    from headgate.stores.search import TextStore

    if asked.text is None:
        stories = CallStore(engine).newest_first(asked.filters)
    else:
        said = redacted(wanted.config, wanted.data, asked.text)
        stories = TextStore(engine).newest_first(said, asked.filters)
    found: list[str] = []
    passed = 0
    for story in stories:
        if TAG in story["tags"]:
            continue
        if story["payloads"] == "none":
            passed += 1
        else:
            found.append(story["id"])
        if len(found) >= limit:
            break
    if passed:
        click.echo(f"{passed} calls are passed over: what they asked is not kept", err=True)
    return found


def _offline(config: str | None, data: str | None, id: str, form: str) -> int:
    from headgate.cli.replayed import print_reproduction
    from headgate.compose import every_dialect
    from headgate.observe.replay.offline import reproduce
    from headgate.stores.redaction import open_redactor

    recorded = _load(config, data, id)
    clean = open_redactor(open_data(config, data).path).text
    reproduction = asyncio.run(reproduce(recorded, every_dialect(), clean))
    print_reproduction(recorded, reproduction, form)
    return 1 if reproduction.differs else 0


def _load(config: str | None, data: str | None, id: str) -> Recorded:
    from headgate.cli.database import open_records
    from headgate.observe.replay.recorded import load_recorded

    with open_records(config, data) as engine:
        return load_recorded(engine, id)


async def _with_core(settings: Settings, work: Callable[[Any, Principal], Any]) -> Any:
    """Composes the gateway that this configuration means, in this process, and closes it again."""
    from headgate.cli.registry import actor
    from headgate.compose import open_core
    from headgate.core.call import Principal

    core = await open_core(settings, keyless=False)
    try:
        return await work(core, Principal("", "replay", role="developer", user=actor(), direct=True))
    finally:
        await core.aclose()


def _address(deployment: str | None) -> str | None:
    if deployment is not None and "/" not in deployment:
        raise BadRequest(f"{deployment!r} is no deployment: write provider/model", param="deployment")
    return deployment


def _pairs(words: tuple[str, ...], option: str) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{word!r}: write NAME=VALUE", param_hint=option)
        found[name] = value
    return found
