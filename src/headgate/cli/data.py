"""``headgate data``: the data directory as a whole; today, its move to a shared Postgres."""

from __future__ import annotations

import click

from headgate.cli.options import Words, common, open_data, store_errors

_SHOWN = {"virtual_keys": "keys", "old_secrets": "rotated keys", "audit_log": "audit entries"}


@click.group(cls=Words)
def data() -> None:
    """Move the data."""


@data.command()
@common
def copy(config: str | None, data: str | None) -> None:
    """Copy the data directory's SQLite store into the Postgres that is configured. Stop the gateway first."""
    from headgate.stores.move import copy_store

    directory = open_data(config, data)
    with store_errors():
        counts = copy_store(directory)
    what = ", ".join(f"{count:,} {_SHOWN.get(name, name)}" for name, count in counts.items() if count)
    what = what or "nothing"
    print(f"copied {what} into {directory.database}")
