"""The options that say which calls: what ``headgate records`` and its export filter by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from headgate.cli.options import open_data

if TYPE_CHECKING:
    from headgate.stores.query import Filters

OUTCOMES = ("completed", "failed", "cancelled", "refused")


_Option = Callable[[Callable[..., Any]], Callable[..., Any]]
_TRIED = "calls that this deployment answered or was tried for."


def whose_options(word: str = "Only", *, deployment: str = _TRIED) -> _Option:
    """Returns what adds the options that say whose calls, and which; ``word`` begins what each is told to do."""
    options: tuple[_Option, ...] = (
        click.option("--key", help=f"{word} calls with this key, by id or name."),
        click.option("--user", help=f"{word} this user's calls."),
        click.option("--team", help=f"{word} this team's calls."),
        click.option("--feature", help=f"{word} this feature's calls."),
        click.option("--prompt", help=f"{word} calls with this prompt, by the name they gave it."),
        click.option("--model", help=f"{word} calls for this model."),
        click.option("--deployment", help=f"{word} {deployment}"),
    )
    return lambda command: add_options(command, *options)


def add_options(command: Callable[..., Any], *options: _Option) -> Callable[..., Any]:
    """Adds options to a command; its help shows them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the filter options; ``make_filters`` takes what they give, but for ``text``."""
    options: tuple[_Option, ...] = (
        click.option("--since", metavar="TIME", help="Only calls since then: 90s, 30m, 1h, 7d, or a date (UTC)."),
        click.option("--until", metavar="TIME", help="Only calls before then."),
        whose_options(),
        click.option("--outcome", type=click.Choice(OUTCOMES), help="Only calls that ended so."),
        click.option(
            "--status", type=click.IntRange(0, 599), metavar="CODE", help="An HTTP status; 5 means 500 to 599."
        ),
        click.option("--error", metavar="CODE", help="Only calls with this error code; '*' for any error."),
        click.option("--finish", metavar="REASON", help="Only answers that ended so, e.g. length."),
        click.option("--trace", metavar="ID", help="Only calls of this trace."),
        click.option("--session", metavar="ID", help="Only calls of this session."),
        click.option(
            "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only calls with this tag; repeatable."
        ),
        click.option("--text", metavar="WORDS", help='Only calls that say so: word "some words" begin* -not.'),
        click.option("--id", "id_prefix", metavar="PREFIX", help="Only calls whose id begins so."),
    )
    return add_options(command, *options)


def make_filters(tags: tuple[str, ...], since: str | None, until: str | None, **plain: Any) -> Filters:
    """Returns the filters that the options ask for.

    Raises:
        BadRequest: a time can not be understood, or nothing is between them.
    """
    from headgate.stores.period import read_period
    from headgate.stores.query import Filters

    since_ns, until_ns = read_period(since, until, time.time_ns())
    return Filters(
        since_ns=since_ns,
        until_ns=until_ns,
        tags=dict(_tag(tag) for tag in tags),
        **plain,
    )


def redacted(config: str | None, data: str | None, text: str) -> str:
    """Returns a search as it is made: what is private in it stands in the store under its pseudonym."""
    from headgate.stores.redaction import open_redactor

    return open_redactor(open_data(config, data).path).text(text)


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is no tag; write NAME=VALUE", param_hint="--tag")
    return name, value
