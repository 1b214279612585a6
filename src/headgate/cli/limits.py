"""Options that say what somebody may use: ``--budget 5 --per day`` and ``--limit '60 requests/minute'``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click

from headgate.core.errors import BadRequest
from headgate.core.rule import PERIODS

if TYPE_CHECKING:
    from headgate.stores.allowance import Allowance

_LIMIT = re.compile(r"(\S+)\s+([a-z_ ]+?)(?:(?:\s*/\s*|\s+per\s+)([a-z]+))?", re.ASCII)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the function gets ``budget``, ``per`` and ``limit``, for ``allowances``."""
    options = (
        click.option("--budget", metavar="DOLLARS", help="Most dollars in a window; needs --per."),
        click.option("--per", type=click.Choice(PERIODS), help="The budget's window, by the calendar (UTC)."),
        click.option(
            "--limit",
            multiple=True,
            metavar="'N UNIT/WINDOW'",
            help="Another limit: '60 requests/minute', '100000 tokens/day', '5 concurrency'; repeatable.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def allowances(given: dict[str, Any]) -> list[Allowance]:
    """Takes the options out of ``given`` and returns the limits that they stand for.

    Raises:
        click.UsageError: they make no sense.
    """
    from headgate.stores.allowance import Allowance

    budget, per, texts = given.pop("budget"), given.pop("per"), given.pop("limit")
    if per is not None and budget is None:
        raise click.UsageError("--per is the window of a --budget")
    found = []
    if budget is not None:
        if per is None:
            raise click.UsageError(f"say in which window the budget holds: --per {'|'.join(PERIODS)}")
        found.append(checked(Allowance(amount=budget, per=per), "--budget"))
    for text in texts:
        match = _LIMIT.fullmatch(text.strip())
        if match is None:
            raise click.BadParameter(f"{text[:60]!r} is no limit; write '60 requests/minute'", param_hint="--limit")
        unit = match[2].replace(" ", "_")
        found.append(checked(Allowance(amount=match[1], unit=unit, per=match[3] or ""), "--limit"))
    return found


def checked(one: Allowance, option: str, fields: Collection[str] = ()) -> Allowance:
    """Returns it.

    Args:
        one: what was given.
        option: what holds its amount.
        fields: of its other fields, those that have options of their own.

    Raises:
        click.BadParameter: what can be seen to be wrong before anything is opened.
    """
    from headgate.stores.allowance import check_allowance

    try:
        check_allowance(one)
    except BadRequest as error:
        hint = f"--{error.param}" if error.param in fields else option
        raise click.BadParameter(error.message, param_hint=hint) from error
    return one
