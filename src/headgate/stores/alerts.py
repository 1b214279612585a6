"""The store of alerts: who evaluates which rule, and what is wrong now; what is to be told goes into the outbox.

A state and the event that it leads to are written in one transaction, the event's id is always the same, and who
evaluates a rule holds its lease: so an event is made once, whatever is killed. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, tuple_, update

from headgate.core.alert import AlertEvent, AlertRule, AlertState, Reading, Silence, advance_all
from headgate.stores.alert_silences import all_silences
from headgate.stores.database import chunks, insert_new
from headgate.stores.outbox import add_event
from headgate.stores.schema import alert_deliveries, alert_events, alert_leases, alert_silences, alert_states

_NS = 1_000_000_000
_REFRESH_NS = 60 * _NS
_STATE = ("rule", "subject", "level", "phase", "since_ns", "value", "above", "fired_ns", "calm_ns", "told_ns", "told")


class AlertStore:
    """Alerts in a database, on behalf of one data directory's recorder.

    Args:
        engine: the database.
        owner: the data directory's id, "" for those who only look.
    """

    def __init__(self, engine: Engine, owner: str = "") -> None:
        self._engine = engine
        self._owner = owner

    # evaluation

    def hold(self, rules: Iterable[str], now_ns: int, ttl_ns: int) -> set[str]:
        """Takes or renews the leases of rules. Returns those that this recorder looks after now.

        A lease is renewed once half of it is over, so that mostly nothing is written.
        """
        names = list(rules)
        c = alert_leases.c
        with self._engine.connect() as connection:
            rows = {row.rule: row for row in connection.execute(select(alert_leases).where(c.rule.in_(names)))}
        mine = {
            name
            for name, row in rows.items()
            if row.owner == self._owner and now_ns + ttl_ns // 2 < row.until_ns <= now_ns + ttl_ns
        }
        wanted = [name for name in names if name not in mine]
        free = [
            name
            for name in wanted
            if name not in rows
            or rows[name].owner == self._owner
            or not now_ns < rows[name].until_ns <= now_ns + 10 * ttl_ns
        ]
        if free:
            with self._engine.begin() as connection:
                mine |= {name for name in free if self._lease(connection, name, rows.get(name), now_ns + ttl_ns)}
        return mine

    def apply(
        self,
        rule: AlertRule,
        readings: Sequence[Reading],
        now_ns: int,
        render: Callable[[AlertEvent], str],
    ) -> list[AlertEvent]:
        """Goes on from the stored states by what was read. Returns the events that this led to.

        Args:
            rule: a rule whose lease is held.
            readings: all of it that was read now.
            now_ns: the moment.
            render: makes an event's message (JSON).
        """
        with self._engine.connect() as connection:
            stored = _states(connection, rule.name)
            if not stored and not any(one.value is not None and one.value >= one.above for one in readings):
                return []
            kept, events = advance_all(rule, readings, list(stored), all_silences(connection), now_ns)
            if not events and _same(stored, kept, now_ns):
                return []
        with self._engine.begin() as connection:
            held = (alert_leases.c.rule == rule.name) & (alert_leases.c.owner == self._owner)
            # First a write: on SQLite it takes the file's write lock, on Postgres this row's, until all is written.
            if connection.execute(update(alert_leases).where(held).values(owner=self._owner)).rowcount != 1:
                return []
            stored = _states(connection, rule.name)
            kept, events = advance_all(rule, readings, list(stored), all_silences(connection), now_ns)
            _write_states(connection, rule.name, stored, kept, now_ns)
            for event in events:
                add_event(connection, event, render(event), rule.receivers, now_ns)
        return events

    def forget_rules(self, known: Iterable[str], now_ns: int) -> int:
        """Drops the states of rules that are no more, once nobody has held their lease for an hour."""
        held = select(alert_leases.c.rule).where(alert_leases.c.until_ns > now_ns - 3600 * _NS)
        gone = alert_states.c.rule.not_in(list(known)) & alert_states.c.rule.not_in(held)
        with self._engine.begin() as connection:
            return connection.execute(delete(alert_states).where(gone)).rowcount

    def forget_old(self, before_ns: int) -> None:
        """Deletes events, deliveries and silences that were over before a moment, 1,000 events at most."""
        old = select(alert_events.c.id).where(alert_events.c.time_ns < before_ns).limit(1000)
        with self._engine.begin() as connection:
            ids = list(connection.execute(old).scalars())
            if ids:
                connection.execute(delete(alert_deliveries).where(alert_deliveries.c.event_id.in_(ids)))
                connection.execute(delete(alert_events).where(alert_events.c.id.in_(ids)))
            connection.execute(delete(alert_silences).where(alert_silences.c.until_ns < before_ns))

    # to look at

    def states(self) -> list[AlertState]:
        """Returns what is wrong now, what fires first, then the oldest first."""
        with self._engine.connect() as connection:
            found = list(_states(connection, None))
        return sorted(found, key=lambda state: (state.phase != "firing", state.since_ns))

    def silences(self, now_ns: int) -> list[Silence]:
        """Returns the silences that hold now or later, the first to end first."""
        with self._engine.connect() as connection:
            return sorted(
                (one for one in all_silences(connection) if one.until_ns > now_ns), key=lambda one: one.until_ns
            )

    def _lease(self, connection: Connection, rule: str, seen: Any, until_ns: int) -> bool:
        values = {"owner": self._owner, "until_ns": until_ns}
        c = alert_leases.c
        if seen is None:
            new = insert_new(connection, alert_leases).values(rule=rule, **values).on_conflict_do_nothing()
            made = connection.execute(new.execution_options(preserve_rowcount=True))
            return made.rowcount == 1
        same = (c.rule == rule) & (c.owner == seen.owner) & (c.until_ns == seen.until_ns)
        return connection.execute(update(alert_leases).where(same).values(values)).rowcount == 1


def _states(connection: Connection, rule: str | None) -> dict[AlertState, int]:
    """The stored states, each with the moment when it was written."""
    query = select(alert_states)
    if rule is not None:
        query = query.where(alert_states.c.rule == rule)
    rows = connection.execute(query).mappings()
    return {AlertState(*(row[name] for name in _STATE)): row["updated_ns"] for row in rows}


def _same(stored: Mapping[AlertState, int], kept: Sequence[AlertState], now_ns: int) -> bool:
    """Whether nothing need be written: only the value differs, and that was written a moment ago."""
    plain = {_place(state): (_bare(state), updated) for state, updated in stored.items()}
    return len(stored) == len(kept) and all(
        _place(state) in plain
        and plain[_place(state)][0] == _bare(state)
        and 0 <= now_ns - plain[_place(state)][1] < _REFRESH_NS
        for state in kept
    )


def _bare(state: AlertState) -> AlertState:
    return msgspec.structs.replace(state, value=None)


def _place(state: AlertState) -> tuple[str, str, str]:
    return state.rule, state.subject, state.level


def _write_states(
    connection: Connection, rule: str, stored: Iterable[AlertState], kept: Sequence[AlertState], now_ns: int
) -> None:
    c = alert_states.c
    places = [_place(state) for state in {*stored, *kept}]
    for some in chunks(places, 300):
        connection.execute(delete(alert_states).where(tuple_(c.rule, c.subject, c.level).in_(some)))
    if kept:
        rows = [{**msgspec.structs.asdict(state), "updated_ns": now_ns} for state in kept]
        connection.execute(insert(alert_states), rows)
