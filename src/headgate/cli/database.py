"""The database of the data directory, as verbs that read records open it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from headgate.core.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextlib.contextmanager
def open_records(config: str | None, data: str | None) -> Iterator[Engine]:
    """Opens the database for reading, once all that the journal holds now is in it.

    Raises:
        ConfigError: there is no data directory.
        Unavailable: the database does not answer.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from headgate.config.load import find_data_dir
    from headgate.stores.catchup import catch_up
    from headgate.stores.data import DataDir

    directory = DataDir(find_data_dir(data, config), create=False)
    engine = directory.open_engine()
    try:
        if not catch_up(directory, engine):
            click.echo("the recorder is behind: the newest calls may be missing", err=True)
        yield engine
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise Unavailable(f"the database does not answer: {cause}", code="store_unavailable") from error
    finally:
        engine.dispose()
