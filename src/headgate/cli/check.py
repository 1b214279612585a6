"""``headgate check``: is this deployment ready? The checklist that checks itself."""

from __future__ import annotations

import sys

import click

from headgate.cli.options import common, overrides
from headgate.core.errors import ConfigError, HeadgateError


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
    from headgate.config.load import load_settings

    try:
        settings = load_settings(config, overrides=overrides(data__dir=("--data", data)))
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


def _exists(data: str | None) -> None:
    import pathlib

    if data is not None and not pathlib.Path(data).is_dir():
        raise ConfigError(f"there is no data directory at {data}; name the gateway's own with --data")


def _told(error: Exception) -> str:
    if isinstance(error, HeadgateError):
        return f"{error.message} {error.hint}" if error.hint else error.message
    from headgate.stores.postgres import first_line

    return f"the database does not answer: {first_line(getattr(error, 'orig', None) or error)}"
