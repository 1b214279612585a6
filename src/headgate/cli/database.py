"""The database of the data directory, as verbs that read records open it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from headgate.cli.options import open_data, store_errors

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.stores.data import DataDir


@contextlib.contextmanager
def open_records(config: str | None, data: str | None) -> Iterator[Engine]:
    """Opens the database for reading, once all that the journal holds now is in it.

    Raises:
        ConfigError: there is no data directory.
        Unavailable: the database does not answer.
    """
    directory = open_data(config, data)
    engine = directory.open_engine()
    try:
        with store_errors():
            wait_for_recorder(directory, engine)
            yield engine
    finally:
        engine.dispose()


def wait_for_recorder(directory: DataDir, engine: Engine) -> None:
    """Waits until all that the journal holds now is in the database; says so where that takes too long."""
    from headgate.stores.catchup import catch_up

    if not catch_up(directory, engine):
        click.echo("the recorder is behind: the newest calls may be missing", err=True)
