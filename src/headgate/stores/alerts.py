"""The store of alerts: what is wrong, what was told, and to whom; an outbox that neither loses nor repeats.

A state and the event that it leads to are written in one transaction, the event's id is always the same, and who
evaluates a rule holds its lease: so an event is made once, whatever is killed. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from headgate.core.alert import AlertEvent, AlertPlan, AlertRule, AlertState, Reading, Silence, advance_all
from headgate.core.errors import BadRequest
from headgate.stores.change import Change
from headgate.stores.database import chunks
from headgate.stores.schema import alert_deliveries, alert_events, alert_leases, alert_silences, alert_states
from headgate.stores.words import VALUE_LIMIT, check_word

_NS = 1_000_000_000
CLAIM_NS = 60 * _NS
"""How long whoever delivers has for it, before somebody else may try."""
GIVE_UP_NS = 24 * 3600 * _NS
_BACKOFF = (2, 5, 15, 60, 300, 900)
_REFRESH_NS = 60 * _NS
_EVENT = ("id", "kind", "rule", "subject", "level", "value", "above", "since_ns", "time_ns")
_STATE = ("rule", "subject", "level", "phase", "since_ns", "value", "above", "fired_ns", "calm_ns", "told_ns", "told")


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
            kept, events = advance_all(rule, readings, list(stored), _silences(connection), now_ns)
            if not events and _same(stored, kept, now_ns):
                return []
        with self._engine.begin() as connection:
            held = (alert_leases.c.rule == rule.name) & (alert_leases.c.owner == self._owner)
            # First a write: on SQLite it takes the file's write lock, on Postgres this row's, until all is written.
            if connection.execute(update(alert_leases).where(held).values(owner=self._owner)).rowcount != 1:
                return []
            stored = _states(connection, rule.name)
            kept, events = advance_all(rule, readings, list(stored), _silences(connection), now_ns)
            _write_states(connection, rule.name, stored, kept, now_ns)
            for event in events:
                _add_event(connection, event, render(event), rule.receivers, now_ns)
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

    # the outbox

    def announce(self, event: AlertEvent, message: str, receivers: Sequence[str], now_ns: int) -> list[Delivery]:
        """Puts an event of its own (a test) into the outbox, claimed already: the caller delivers it."""
        with self._engine.begin() as connection:
            _add_event(connection, event, message, receivers, now_ns + CLAIM_NS)
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

    def failed(self, delivery: Delivery, error: str, now_ns: int) -> bool:
        """Notes why the receiver has it not, and when to try again. Returns False once it is given up (a day)."""
        wait = _BACKOFF[min(delivery.attempts, len(_BACKOFF)) - 1] * _NS
        again = now_ns - delivery.time_ns < GIVE_UP_NS
        later = now_ns + wait if again else None
        self._settle(delivery, {"next_ns": later, "error": error[:500], "attempts": delivery.attempts})
        return again

    # to look at

    def states(self) -> list[AlertState]:
        """Returns what is wrong now, what fires first, then the oldest first."""
        with self._engine.connect() as connection:
            found = list(_states(connection, None))
        return sorted(found, key=lambda state: (state.phase != "firing", state.since_ns))

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

    def silences(self, now_ns: int) -> list[Silence]:
        """Returns the silences that hold now or later, the first to end first."""
        with self._engine.connect() as connection:
            return sorted((one for one in _silences(connection) if one.until_ns > now_ns), key=lambda one: one.until_ns)

    def _lease(self, connection: Connection, rule: str, seen: Any, until_ns: int) -> bool:
        values = {"owner": self._owner, "until_ns": until_ns}
        c = alert_leases.c
        if seen is None:
            maker = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            new = maker(alert_leases).values(rule=rule, **values).on_conflict_do_nothing()
            made = connection.execute(new.execution_options(preserve_rowcount=True))
            return made.rowcount == 1
        same = (c.rule == rule) & (c.owner == seen.owner) & (c.until_ns == seen.until_ns)
        return connection.execute(update(alert_leases).where(same).values(values)).rowcount == 1

    def _settle(self, delivery: Delivery, values: Mapping[str, Any]) -> None:
        c = alert_deliveries.c
        mine = (c.event_id == delivery.event_id) & (c.receiver == delivery.receiver) & c.done_ns.is_(None)
        with self._engine.begin() as connection:
            connection.execute(update(alert_deliveries).where(mine).values(values))


def add_silence(
    change: Change, plan: AlertPlan | None, rule: str, subject: str, until_ns: int, reason: str, actor: str
) -> Silence:
    """Silences a rule ("" for all), or one subject of it.

    Raises:
        BadRequest: no such rule, or a moment that is over.
    """
    if rule and (plan is None or plan.rule(rule) is None):
        raise unknown_rule(plan, rule)
    if until_ns <= change.now_ns:
        raise BadRequest("a silence ends in the future", code="invalid_value", param="until")
    subject = check_word(subject, "subject", limit=VALUE_LIMIT, empty=True)
    reason = check_word(reason, "reason", limit=VALUE_LIMIT, empty=True)
    silence = Silence("silence_" + secrets.token_hex(6), rule, subject, until_ns, change.now_ns, actor, reason)
    change.connection.execute(insert(alert_silences).values(msgspec.structs.asdict(silence)))
    change.note("alert.silence", silence.id, None, silence)
    return silence


def add_test(change: Change, event: AlertEvent, message: str, receivers: Sequence[str]) -> AlertEvent:
    """Puts an event that only tries the receivers into the outbox."""
    _add_event(change.connection, event, message, receivers, change.now_ns)
    change.note("alert.test", event.rule, None, event)
    return event


def end_silence(change: Change, word: str) -> list[Silence]:
    """Ends a silence by its id, or every one of a rule by that rule's name.

    Raises:
        BadRequest: nothing of that name is silenced now (``silence_not_found``).
    """
    found = [one for one in _silences(change.connection) if one.until_ns > change.now_ns and word in (one.id, one.rule)]
    if not found or not word:
        raise BadRequest(
            f"no silence with the id or rule {word[:80]!r} holds; see: headgate alerts list",
            code="silence_not_found",
            param="silence",
        )
    for silence in found:
        change.connection.execute(delete(alert_silences).where(alert_silences.c.id == silence.id))
        change.note("alert.unsilence", silence.id, silence, None)
    return found


def unknown_rule(plan: AlertPlan | None, name: str) -> BadRequest:
    """Returns the error for a rule that the running configuration has not."""
    names = ", ".join(rule.name for rule in plan.rules) if plan is not None else ""
    return BadRequest(
        f"there is no alert rule {name[:80]!r}; there are: {names or 'none (see `alerts` in the configuration)'}",
        code="alert_rule_not_found",
        param="rule",
    )


def _states(connection: Connection, rule: str | None) -> dict[AlertState, int]:
    """The stored states, each with the moment when it was written."""
    query = select(alert_states)
    if rule is not None:
        query = query.where(alert_states.c.rule == rule)
    rows = connection.execute(query).mappings()
    return {AlertState(*(row[name] for name in _STATE)): row["updated_ns"] for row in rows}


def _silences(connection: Connection) -> list[Silence]:
    names = Silence.__struct_fields__
    rows = connection.execute(select(alert_silences)).mappings()
    return [Silence(*(row[name] for name in names)) for row in rows]


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


def _add_event(connection: Connection, event: AlertEvent, message: str, receivers: Iterable[str], now_ns: int) -> None:
    maker = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {**msgspec.structs.asdict(event), "message": message}
    connection.execute(maker(alert_events).values(values).on_conflict_do_nothing())
    rows = [{"event_id": event.id, "receiver": name, "attempts": 0, "next_ns": now_ns} for name in receivers]
    if rows:
        connection.execute(maker(alert_deliveries).on_conflict_do_nothing(), rows)


def _told(connection: Connection, ids: Sequence[str]) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = {}
    c = alert_deliveries.c
    for some in chunks(ids):
        query = select(alert_deliveries).where(c.event_id.in_(some)).order_by(c.receiver)
        for row in connection.execute(query):
            state = "delivered" if row.done_ns else "waiting" if row.next_ns is not None else "given up"
            found.setdefault(row.event_id, []).append(Told(row.receiver, state, row.attempts, row.error or ""))
    return found
