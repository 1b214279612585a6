"""Deletes what hangs on calls: payloads and their words, tapes, feedback. Importing this loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from headgate.stores.database import chunks
from headgate.stores.erase import space
from headgate.stores.payloads import delete_payloads
from headgate.stores.schema import feedback, payloads, tapes


class Forgotten(NamedTuple):
    """How many there were."""

    payloads: int = 0
    tapes: int = 0
    feedback: int = 0


def forget_calls(connection: Connection, ids: Sequence[str]) -> Forgotten:
    """Deletes all of these calls but their rows, and has SQLite overwrite it."""
    space.thorough(connection)
    found = Forgotten()
    for some in chunks(ids):
        numbers = list(connection.execute(select(payloads.c.n).where(payloads.c.call_id.in_(some))).scalars())
        if numbers:
            delete_payloads(connection, numbers)
            space.note_words(connection)
        heard = connection.execute(delete(tapes).where(tapes.c.call_id.in_(some))).rowcount
        judged = connection.execute(delete(feedback).where(feedback.c.call_id.in_(some))).rowcount
        found = Forgotten(found.payloads + len(numbers), found.tapes + heard, found.feedback + judged)
    return found
