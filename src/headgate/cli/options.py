"""The options that every verb has: where the configuration is, and where the data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from headgate.stores.data import DataDir


class Words(click.Group):
    """A group that answers an unknown command with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but for that."""
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            import difflib

            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}."
            ctx.fail(f"No such command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--config`` and ``--data``; the function gets ``config`` and ``data``, each a str or None."""
    data = click.option("--data", metavar="DIR", help="Data directory [$HEADGATE_DATA, data.dir, ./headgate-data].")
    config = click.option("--config", metavar="FILE", help="Configuration [$HEADGATE_CONFIG, ./headgate.yaml].")
    return config(data(command))


def overrides(**given: tuple[str, Any]) -> dict[str, tuple[str, Any]]:
    """Returns what ``config.load`` takes as overrides: ``overrides(server__port=("--port", 80))``; None is left out."""
    return {name.replace("__", "."): pair for name, pair in given.items() if pair[1] is not None}


def open_data(config: str | None, data: str | None, *, create: bool = False) -> DataDir:
    """Returns the data directory that the options, the environment or the file name, on its database.

    Args:
        config, data: as ``common`` gives them.
        create: False where a missing directory is an error.

    Raises:
        ConfigError: it can not be found or used.
    """
    from headgate.config.load import find_data
    from headgate.stores.data import DataDir

    place = find_data(data, config)
    return DataDir(place.dir, url=place.database_url(), create=create)


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Makes one line of a database that does not answer while the block runs.

    Raises:
        Unavailable: the database failed (``store_unavailable``).
    """
    from sqlalchemy.exc import SQLAlchemyError

    from headgate.core.errors import Unavailable
    from headgate.stores.postgres import first_line

    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        message = f"the database does not answer: {first_line(cause)}"
        raise Unavailable(message, code="store_unavailable") from error
