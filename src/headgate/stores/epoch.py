"""The epoch: a number that grows with every live change, which workers look at twice a second."""

from __future__ import annotations

from sqlalchemy import Connection, update

from headgate.core.errors import ConfigError
from headgate.stores.schema import epoch


def bump_epoch(connection: Connection) -> None:
    """Tells every worker that something live has changed; part of the transaction that changes it."""
    done = connection.execute(update(epoch).where(epoch.c.name == "live").values(value=epoch.c.value + 1))
    if done.rowcount != 1:
        raise ConfigError("the database has no epoch: its schema was changed by hand")
