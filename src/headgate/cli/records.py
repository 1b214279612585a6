"""``headgate records`` and ``headgate record``: the calls that were made, and the whole story of one."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from headgate.cli.database import open_records
from headgate.cli.filters import filter_options, make_filters, redacted
from headgate.cli.options import Words, common
from headgate.core.errors import BadRequest
from headgate.core.price import show_cost

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.stores.query import CallStore, Filters, Follower

TABLE_LIMIT = 50
_FOLLOW_SECONDS = 0.3
_FOLLOW_FIRST = 10
_COLUMNS = (
    ("TIME", 23),
    ("ID", 30),
    ("OUTCOME", 9),
    ("STATUS", 6),
    ("MODEL", 20),
    ("DEPLOYMENT", 24),
    ("TOKENS", 13),
    ("COST", 12),
    ("FINISH", 14),
    ("TOOK", 8),
    ("KEY", 14),
)


@click.group(cls=Words, invoke_without_command=True)
@common
@filter_options
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table].")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N calls [table: 50, jsonl: all].")
@click.option("--follow", is_flag=True, help="Show the last few, then new ones as they come in.")
def records(
    config: str | None,
    data: str | None,
    form: str,
    limit: int | None,
    follow: bool,
    text: str | None,
    **given: Any,
) -> None:
    """List the calls that were made, newest first."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    filters = make_filters(**given)
    show = _show_table if form == "table" else _show_lines
    if text is not None:
        if follow:
            raise click.UsageError("--follow shows calls as they come in; it can not search their --text")
        from headgate.stores.search import TextStore

        with open_records(config, data) as engine:
            most = TABLE_LIMIT if limit is None and form == "table" else limit
            show(TextStore(engine).newest_first(redacted(config, data, text), filters, most))
        return
    with _store(config, data) as store:
        if follow:
            show(_follow(store, filters, limit or _FOLLOW_FIRST), endless=True)
            return
        if limit is None and form == "table":
            limit = TABLE_LIMIT
        show(store.newest_first(filters, limit))


@records.command()
@common
@filter_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N calls [all].")
@click.option("--payloads", is_flag=True, help="With requests and answers, where they are kept.")
@click.option("--output", type=click.Path(dir_okay=False, writable=True), help="A file [standard output].")
def export(
    config: str | None,
    data: str | None,
    limit: int | None,
    payloads: bool,
    output: str | None,
    text: str | None,
    **given: Any,
) -> None:
    """Write calls as JSON lines, newest first, one whole story a line."""
    from headgate.stores.search import TextStore

    filters = make_filters(**given)
    encode = msgspec.json.Encoder().encode
    with open_records(config, data) as engine, _out(output) as out:
        store = _reader(engine)
        if text is None:
            stories = store.newest_first(filters, limit)
        else:
            stories = TextStore(engine).newest_first(redacted(config, data, text), filters, limit)
        count = 0
        for story in stories:
            whole = (store.find(story["id"]) or story) if payloads else story
            out.write(encode(whole) + b"\n")
            count += 1
    if output is not None:
        click.echo(f"{count:,} calls written to {output}", err=True)


@contextlib.contextmanager
def _out(path: str | None) -> Iterator[BinaryIO]:
    """What is written may hold payloads: a new file is its owner's alone."""
    if path is None:
        yield sys.stdout.buffer
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        yield file


def _reader(engine: Engine) -> CallStore:
    from headgate.stores.query import CallStore

    return CallStore(engine)


@click.command()
@common
@click.argument("id")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Output form [text].")
def record(config: str | None, data: str | None, id: str, form: str) -> None:
    """Tell the whole story of the call with this ID (the x-headgate-id of its answer)."""
    with _store(config, data) as store:
        story = store.find(id)
    if story is None:
        raise BadRequest(f"no call has the id {id!r}; see: headgate records", code="record_not_found")
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(story)).decode())
        return
    from headgate.cli.story import tell

    for line in tell(story):
        print(line)


@contextlib.contextmanager
def _store(config: str | None, data: str | None) -> Iterator[CallStore]:
    with open_records(config, data) as engine:
        yield _reader(engine)


def _follow(store: CallStore, filters: Filters, first: int) -> Iterator[dict[str, Any]]:
    """Returns the last ``first`` calls, oldest first, then new ones in the order they come in, until interrupted."""
    from headgate.stores.query import Follower

    follower = Follower(store, filters)
    return _coming(follower, list(store.newest_first(filters, first)))


def _coming(follower: Follower, shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from reversed(shown)
    already = {story["id"] for story in shown}
    while True:
        stories = follower.take()
        yield from (story for story in stories if story["id"] not in already)
        if not stories:
            time.sleep(_FOLLOW_SECONDS)


def _show_lines(stories: Iterable[dict[str, Any]], *, endless: bool = False) -> None:
    encode = msgspec.json.Encoder().encode
    for story in stories:
        sys.stdout.write(encode(story).decode() + "\n")
        sys.stdout.flush()


def _show_table(stories: Iterable[dict[str, Any]], *, endless: bool = False) -> None:
    """Shows calls as they are read. An error of the query comes before the header, ``endless`` ones have none."""
    coming = iter(stories)
    first = [] if endless else list(itertools.islice(coming, 1))
    print("  ".join(f"{name:<{width}}" for name, width in _COLUMNS).rstrip())
    for story in itertools.chain(first, coming):
        cells = zip(_cells(story), _COLUMNS, strict=True)
        print("  ".join(f"{cell:<{width}}" for cell, (_, width) in cells).rstrip(), flush=True)
    if not first:
        print("(none)", file=sys.stderr)


def _cells(story: dict[str, Any]) -> tuple[str, ...]:
    from headgate.cli.story import clean, span

    tokens = "-" if story["input_tokens"] is None else f"{story['input_tokens']}>{story['output_tokens']}"
    return (
        story["time"][:23].replace("T", " "),
        story["id"],
        story["outcome"],
        str(story["status"] or "-"),
        clean(story["model"], 40),
        clean(story["deployment"] or "-", 40),
        tokens,
        show_cost(story["cost"], 6),
        clean(story["error"] or story["finish"] or "-", 40),
        span(story["duration_us"]),
        clean(story["key_name"] or story["key_id"] or "-", 20),
    )
