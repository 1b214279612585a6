"""``headgate check``: is this deployment ready? The checklist that checks itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headgate.cli.options import common, overrides
from headgate.core.errors import ConfigError, HeadgateError

if TYPE_CHECKING:
    from headgate.config.settings import Settings


@click.command()
@common
@click.option("--days", type=click.FloatRange(min=0.01), default=7.0, help="Calls of the last so many days [7].")
@click.option("--strict", is_flag=True, help="What no call has shown yet counts as a failure.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output form [table].")
def check(config: str | None, data: str | None, days: float, strict: bool, form: str) -> int:
    """Go through the deployment checklist, on the live configuration and the recorded calls.

    Exit code: 0 where every item passes or is not applicable, 1 where one fails, 2 where it could not be checked.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from headgate.check.checklist import ask, failures, plain, show_text
    from headgate.check.facts import gather
    from headgate.cli.tables import print_json

    try:
        settings = _settings(config, data)
        _exists(data)
        facts = gather(settings, days=days)
    except (HeadgateError, SQLAlchemyError) as error:
        print(f"Error: could not check: {_told(error)}", file=sys.stderr)
        return 2
    items = ask(facts)
    if form == "json":
        print_json(plain(items, facts, strict=strict))
    else:
        print(show_text(items, strict=strict))
    return 1 if failures(items, strict=strict) else 0


def _settings(config: str | None, data: str | None) -> Settings:
    """Reads the configuration as the gateway has it: secrets of its own environment are not needed."""
    from headgate.config.load import load

    loaded = load(config, overrides=overrides(data__dir=("--data", data)), secrets="placeholders")
    for reference in loaded.absent:
        print(f"note: {reference} is not here; checked as if it were, as where the gateway runs", file=sys.stderr)
    return loaded.settings


def _exists(data: str | None) -> None:
    import pathlib

    if data is not None and not pathlib.Path(data).is_dir():
        raise ConfigError(f"there is no data directory at {data}; name the gateway's own with --data")


def _told(error: Exception) -> str:
    if isinstance(error, HeadgateError):
        return f"{error.message} {error.hint}" if error.hint else error.message
    from headgate.stores.postgres import first_line

    return f"the database does not answer: {first_line(getattr(error, 'orig', None) or error)}"
