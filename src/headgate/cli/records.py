"""``headgate records`` and ``headgate record``: the calls that were made, and the whole story of one."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.database import open_records
from headgate.cli.options import common
from headgate.core.errors import BadRequest
from headgate.core.price import show_cost

if TYPE_CHECKING:
    from headgate.stores.query import CallStore, Filters

TABLE_LIMIT = 50
OUTCOMES = ("completed", "failed", "cancelled", "refused")
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


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the filter options."""
    options = (
        click.option("--since", metavar="TIME", help="Only calls since then: 90s, 30m, 1h, 7d, or a date (UTC)."),
        click.option("--until", metavar="TIME", help="Only calls before then."),
        click.option("--key", help="Only calls with this key, by id or name."),
        click.option("--user", help="Only this user's calls."),
        click.option("--team", help="Only this team's calls."),
        click.option("--feature", help="Only this feature's calls."),
        click.option("--prompt", help="Only calls with this prompt, by the name they gave it."),
        click.option("--model", help="Only calls for this model."),
        click.option("--deployment", help="Only calls that this deployment answered or was tried for."),
        click.option("--outcome", type=click.Choice(OUTCOMES), help="Only calls that ended so."),
        click.option("--status", type=int, metavar="CODE", help="An HTTP status; 5 means 500 to 599."),
        click.option("--error", metavar="CODE", help="Only calls with this error code; '*' for any error."),
        click.option("--finish", metavar="REASON", help="Only answers that ended so, e.g. length."),
        click.option("--trace", metavar="ID", help="Only calls of this trace."),
        click.option("--session", metavar="ID", help="Only calls of this session."),
        click.option(
            "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only calls with this tag; repeatable."
        ),
        click.option("--id", "id_prefix", metavar="PREFIX", help="Only calls whose id begins so."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@common
@_filters
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table].")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N calls [table: 50, jsonl: all].")
@click.option("--follow", is_flag=True, help="Show the last few, then new ones as they come in.")
def records(
    config: str | None,
    data: str | None,
    form: str,
    limit: int | None,
    follow: bool,
    tags: tuple[str, ...],
    since: str | None,
    until: str | None,
    **plain: Any,
) -> None:
    """List the calls that were made, newest first."""
    from headgate.stores.query import Filters, parse_time

    now = time.time_ns()
    filters = Filters(
        since_ns=None if since is None else parse_time(since, now),
        until_ns=None if until is None else parse_time(until, now),
        tags=dict(_tag(tag) for tag in tags),
        **plain,
    )
    show = _show_table if form == "table" else _show_lines
    with _store(config, data) as store:
        if follow:
            show(_follow(store, filters, limit or _FOLLOW_FIRST))
            return
        if limit is None and form == "table":
            limit = TABLE_LIMIT
        show(store.newest_first(filters, limit))


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
    from headgate.stores.query import CallStore

    with open_records(config, data) as engine:
        yield CallStore(engine)


def _follow(store: CallStore, filters: Filters, first: int) -> Iterator[dict[str, Any]]:
    """Yields the last ``first`` calls, oldest first, then new ones in the order they come in, until interrupted."""
    from headgate.stores.query import Follower

    follower = Follower(store, filters)
    shown = list(store.newest_first(filters, first))
    yield from reversed(shown)
    already = {story["id"] for story in shown}
    while True:
        stories = follower.take()
        yield from (story for story in stories if story["id"] not in already)
        if not stories:
            time.sleep(_FOLLOW_SECONDS)


def _show_lines(stories: Iterable[dict[str, Any]]) -> None:
    encode = msgspec.json.Encoder().encode
    for story in stories:
        sys.stdout.write(encode(story).decode() + "\n")
        sys.stdout.flush()


def _show_table(stories: Iterable[dict[str, Any]]) -> None:
    print("  ".join(f"{name:<{width}}" for name, width in _COLUMNS).rstrip())
    for story in stories:
        cells = zip(_cells(story), _COLUMNS, strict=True)
        print("  ".join(f"{cell:<{width}}" for cell, (_, width) in cells).rstrip(), flush=True)


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


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is no tag; write NAME=VALUE", param_hint="--tag")
    return name, value
