"""The outbox of alerts: what was told and is to be told, and to whom; it neither loses nor repeats.

An event's id is always the same, and so is that of each try to deliver it. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select, update

from headgate.core.alert import AlertEvent
from headgate.stores.change import Change
from headgate.stores.database import chunks, insert_new
from headgate.stores.schema import alert_deliveries, alert_events

_NS = 1_000_000_000
CLAIM_NS = 60 * _NS
"""How long whoever delivers has for it, before somebody else may try."""
GIVE_UP_NS = 24 * 3600 * _NS
_BACKOFF = (2, 5, 15, 60, 300, 900)
_EVENT = ("id", "kind", "rule", "subject", "level", "value", "above", "since_ns", "time_ns")


class Delivery(msgspec.Struct, frozen=True):
    """A message to be delivered to one receiver, claimed for ``CLAIM_NS``; ``attempts`` counts this one."""

    event_id: str
    receiver: str
    attempts: int
    message: str
    time_ns: int


class Told(msgspec.Struct, frozen=True):
    """How a delivery stands: ``state`` is ``delivered``, ``waiting`` or ``given up``; ``error`` is the last one."""

    receiver: str
    state: str
    attempts: int
    error: str


class Past(msgspec.Struct, frozen=True):
    """An event, its message (JSON) and its deliveries."""

    event: AlertEvent
    message: str
    told: list[Told]


class Outbox:
    """The outbox in a database.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def announce(self, event: AlertEvent, message: str, receivers: Sequence[str], now_ns: int) -> list[Delivery]:
        """Puts an event of its own (a test) into the outbox, claimed already: the caller delivers it."""
        with self._engine.begin() as connection:
            add_event(connection, event, message, receivers, now_ns + CLAIM_NS)
        return [Delivery(event.id, name, 1, message, now_ns) for name in receivers]

    def due(self, now_ns: int) -> set[str]:
        """Returns the receivers that something is to be delivered to now."""
        c = alert_deliveries.c
        with self._engine.connect() as connection:
            return set(connection.execute(select(c.receiver).where(c.next_ns <= now_ns).distinct()).scalars())

    def claim(self, receivers: Sequence[str], now_ns: int, *, event_id: str | None = None) -> Delivery | None:
        """Takes the delivery that is due first, to one of these receivers, so that nobody else delivers it meanwhile.

        Whoever is killed with it has delivered it or not: it is due again after ``CLAIM_NS``, with the same id.
        """
        c, e = alert_deliveries.c, alert_events.c
        query = (
            select(c.event_id, c.receiver, c.attempts, c.next_ns, e.message, e.time_ns)
            .join(alert_events, e.id == c.event_id)
            .where(c.next_ns <= now_ns, c.receiver.in_(receivers))
            .order_by(c.next_ns, e.time_ns)
            .limit(8)
        )
        if event_id is not None:
            query = query.where(c.event_id == event_id)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            mine = (c.event_id == row.event_id) & (c.receiver == row.receiver) & (c.next_ns == row.next_ns)
            with self._engine.begin() as connection:
                taken = update(alert_deliveries).where(mine)
                values = {"next_ns": now_ns + CLAIM_NS, "attempts": row.attempts + 1}
                if connection.execute(taken.values(values)).rowcount == 1:
                    return Delivery(row.event_id, row.receiver, row.attempts + 1, row.message, row.time_ns)
        return None

    def delivered(self, delivery: Delivery, now_ns: int) -> None:
        """Notes that the receiver has it."""
        done = {"next_ns": None, "done_ns": now_ns, "error": None, "attempts": delivery.attempts}
        self._settle(delivery, done)

    def failed(self, delivery: Delivery, error: str, now_ns: int, *, once: bool = False) -> bool:
        """Notes why the receiver has it not, and when to try again.

        Returns False once it is given up: after a day, or now where it is to be tried ``once``.
        """
        wait = _BACKOFF[min(delivery.attempts, len(_BACKOFF)) - 1] * _NS
        again = not once and now_ns - delivery.time_ns < GIVE_UP_NS
        later = now_ns + wait if again else None
        self._settle(delivery, {"next_ns": later, "error": error[:500], "attempts": delivery.attempts})
        return again

    def history(self, limit: int, *, rule: str | None = None, before_ns: int | None = None) -> list[Past]:
        """Returns what was told, newest first."""
        c = alert_events.c
        query = select(alert_events).order_by(c.time_ns.desc(), c.id.desc()).limit(limit)
        if rule is not None:
            query = query.where(c.rule == rule)
        if before_ns is not None:
            query = query.where(c.time_ns < before_ns)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
            told = _told(connection, [row["id"] for row in rows])
        return [
            Past(AlertEvent(*(row[name] for name in _EVENT)), row["message"], told.get(row["id"], [])) for row in rows
        ]

    def _settle(self, delivery: Delivery, values: Mapping[str, Any]) -> None:
        c = alert_deliveries.c
        mine = (c.event_id == delivery.event_id) & (c.receiver == delivery.receiver) & c.done_ns.is_(None)
        with self._engine.begin() as connection:
            connection.execute(update(alert_deliveries).where(mine).values(values))


def add_event(connection: Connection, event: AlertEvent, message: str, receivers: Iterable[str], now_ns: int) -> None:
    """Puts an event into the outbox, due at ``now_ns`` for each receiver; one that is there already stays as it is."""
    values = {**msgspec.structs.asdict(event), "message": message}
    connection.execute(insert_new(connection, alert_events).values(values).on_conflict_do_nothing())
    rows = [{"event_id": event.id, "receiver": name, "attempts": 0, "next_ns": now_ns} for name in receivers]
    if rows:
        connection.execute(insert_new(connection, alert_deliveries).on_conflict_do_nothing(), rows)


def add_test(change: Change, event: AlertEvent, message: str, receivers: Sequence[str]) -> AlertEvent:
    """Puts an event that only tries the receivers into the outbox."""
    add_event(change.connection, event, message, receivers, change.now_ns)
    change.note("alert.test", event.rule, None, event)
    return event


def _told(connection: Connection, ids: Sequence[str]) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = {}
    c = alert_deliveries.c
    for some in chunks(ids):
        query = select(alert_deliveries).where(c.event_id.in_(some)).order_by(c.receiver)
        for row in connection.execute(query):
            state = "delivered" if row.done_ns else "waiting" if row.next_ns is not None else "given up"
            found.setdefault(row.event_id, []).append(Told(row.receiver, state, row.attempts, row.error or ""))
    return found
