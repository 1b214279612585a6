"""Erases alerts that name a user: what is wrong with their calls, what was told of it, silences. Loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, or_, select

from headgate.stores.database import chunks
from headgate.stores.schema import alert_deliveries, alert_events, alert_silences, alert_states


class _Message(msgspec.Struct):
    """What of an event's message says what its subject is."""

    by: str = ""


def count_alerts(connection: Connection, users: Collection[str]) -> int:
    """Returns how many states, events and silences name one of these users."""
    count = len(_events(connection, users))
    for table in (alert_states, alert_silences):
        query = select(func.count()).select_from(table).where(_names(table.c.subject, users))
        count += connection.execute(query).scalar_one()
    return count


def erase_alerts(connection: Connection, users: Collection[str]) -> int:
    """Deletes them; what was not delivered yet is not. Returns how many there were."""
    events = _events(connection, users)
    for some in chunks(events):
        connection.execute(delete(alert_deliveries).where(alert_deliveries.c.event_id.in_(some)))
        connection.execute(delete(alert_events).where(alert_events.c.id.in_(some)))
    return len(events) + sum(_erase(connection, table, users) for table in (alert_states, alert_silences))


def _erase(connection: Connection, table: Table, users: Collection[str]) -> int:
    return connection.execute(delete(table).where(_names(table.c.subject, users))).rowcount


def _events(connection: Connection, users: Collection[str]) -> Sequence[str]:
    """Ids of events about these users: not about a team or model of that name."""
    c = alert_events.c
    found = []
    for row in connection.execute(select(c.id, c.subject, c.message).where(_names(c.subject, users))):
        by = msgspec.json.decode(row.message, type=_Message).by
        if by == "user" or (not by and row.subject not in users):
            found.append(row.id)
    return found


def _names(subject: Column[str], users: Collection[str]) -> ColumnElement[bool]:
    """A subject that is the user, or their budget (``user alice, $5 a day``, see ``observe.alerts.budget``).

    Of states and silences nobody knows what they are by: one of a model of that name goes, too, and comes again.
    """
    budgets = [func.substr(subject, 1, len(user) + 7) == f"user {user}, " for user in users]
    return or_(subject.in_(users), *budgets)
