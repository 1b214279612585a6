"""``headgate config``: is the configuration right, and what does it come to?"""

from __future__ import annotations

import sys

import click

from headgate.cli.options import Words, common, overrides
from headgate.core.errors import ConfigError


@click.group(cls=Words)
def config() -> None:
    """Check and explain the configuration."""


@config.command()
@common
def check(config: str | None, data: str | None) -> int:
    """Tell everything that is wrong with the configuration; exit code 1 if anything is."""
    from headgate.config.load import load
    from headgate.config.priced import check_tables

    try:
        loaded = load(config, overrides=overrides(data__dir=("--data", data)))
        check_tables(loaded)
    except ConfigError as error:
        print(error.message, file=sys.stderr)
        return 1
    settings = loaded.settings
    print(f"ok: {_count(len(settings.providers), 'provider')}, {_count(len(settings.models), 'model')}")
    return 0


@config.command()
@common
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Output form [text].")
def explain(config: str | None, data: str | None, form: str) -> None:
    """Show every effective value and where it came from; secrets by reference only."""
    from headgate.config.explain import explain, show_json, show_text
    from headgate.config.load import load

    loaded = load(config, overrides=overrides(data__dir=("--data", data)))
    lines = explain(loaded)
    print(show_json(loaded, lines) if form == "json" else show_text(lines))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
