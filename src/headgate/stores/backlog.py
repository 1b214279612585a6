"""Work on calls that an older release stored: adds them to the rollups, some at a time, each exactly once."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, delete, select, update

from headgate.stores.erase.erasures import hold_off
from headgate.stores.rollups import RollupWriter
from headgate.stores.rows import to_record
from headgate.stores.schema import backlog, calls

ROLLUPS = "rollups"
"""The name of the rollups' row in ``backlog``: made by the migration, gone once all is done."""

BATCH = 2000


class RollupBacklog:
    """The calls that the rollups lack, and how far a recorder has come with them.

    Args:
        engine: the database.
        rollups: where to add them.
    """

    def __init__(self, engine: Engine, rollups: RollupWriter) -> None:
        self._engine = engine
        self._rollups = rollups
        self._done = False

    def step(self) -> int:
        """Adds one batch, unless another machine's recorder is at it. Returns how many calls; 0 when all is done."""
        if self._done:
            return 0
        self._rollups.open()
        try:
            with self._engine.begin() as connection:
                hold_off(connection)
                return self._step(connection)
        except BaseException:
            self._rollups.forget()
            raise

    def _step(self, connection: Connection) -> int:
        c = backlog.c
        row = connection.execute(
            select(c.position, c.goal).where(c.name == ROLLUPS).with_for_update(skip_locked=True)
        ).one_or_none()
        if row is None:
            self._done = not is_behind(connection)
            return 0
        mine = (calls.c.n > row.position, calls.c.n <= row.goal)
        query = select(calls).where(*mine).order_by(calls.c.n).limit(BATCH)
        rows = connection.execute(query).mappings().all()
        if not rows:
            connection.execute(delete(backlog).where(c.name == ROLLUPS))
            self._done = True
            return 0
        self._rollups.add(connection, [to_record(dict(row)) for row in rows])
        connection.execute(update(backlog).where(c.name == ROLLUPS).values(position=rows[-1]["n"]))
        return len(rows)


def is_behind(connection: Connection) -> bool:
    """Returns whether calls are in the store that the rollups do not have yet."""
    return connection.execute(select(backlog.c.name).where(backlog.c.name == ROLLUPS)).first() is not None
