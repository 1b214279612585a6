"""Budgets: what of each limit's window is used, reserved and left; and who holds leases. Loads SQLAlchemy.

Whoever shows spend against budgets (verbs, admin API, console, alerts) reads it here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, func, select

from headgate.core.errors import BadRequest
from headgate.core.rule import LimitRule
from headgate.stores.change import Change
from headgate.stores.leases.closing import close_holder
from headgate.stores.query import key_names
from headgate.stores.schema import lease_grants, lease_holders, lease_windows
from headgate.stores.words import findable, shown

ALIVE_NS = 60 * 10**9
"""A worker that has renewed its leases so lately is taken to be alive."""


class Budget(msgspec.Struct, frozen=True):
    """One limit's window for one member of its scope, as all workers have reported it; amounts as ``LimitRule``.

    Attributes:
        rule: the limit; its value is the member.
        member: for people: a key's name, else as in the rule.
        used: for good. reserved: by calls under way, as last reported (within a second).
        leased: held by workers for calls to come, above that.
        presumed: of ``used``, what nobody knows to be so: reserved by workers that were killed.
        start_ns, end_ns: the window, in ns since 1970; 0 for concurrent calls.
    """

    rule: LimitRule
    member: str
    used: int
    reserved: int
    leased: int
    presumed: int
    start_ns: int
    end_ns: int

    @property
    def left(self) -> int:
        """What calls to come can have, from workers or the store."""
        return max(0, self.rule.amount - self.used - self.reserved)


class Holder(msgspec.Struct, frozen=True):
    """A worker with leases. Times in ns since 1970; ``windows`` is in how many it has one."""

    id: str
    owner: str
    opened_ns: int
    renewed_ns: int
    windows: int


class WrittenOff(msgspec.Struct, frozen=True):
    """What became of a worker's leases: ``presumed`` counts as used from now on, in the windows' units together."""

    holder: str
    presumed: int


def list_budgets(
    engine: Engine,
    now_ns: int,
    *,
    scope: str = "",
    member: str = "",
    unit: str = "",
    past: bool = False,
    limit: int = 1000,
) -> list[Budget]:
    """Returns windows in which something was used or leased, the fullest first.

    Args:
        engine: the store.
        now_ns: the moment.
        scope, member, unit: only those.
        past: those that are over too.
        limit: at most so many.
    """
    w, g = lease_windows.c, lease_grants.c
    reserved = select(func.coalesce(func.sum(g.reserved), 0)).where(g.window_id == w.id).scalar_subquery()
    wanted: list[ColumnElement[bool]] = []
    if not past:
        wanted.append((w.end_ns == 0) | (w.end_ns > now_ns))
    if scope:
        wanted.append(w.scope == scope)
    if member:
        wanted.append(w.member == member)
    if unit:
        wanted.append(w.unit == unit)
    fullest = (w.settled + w.held) * 1.0 / func.coalesce(func.nullif(w.amount, 0), 1)
    query = select(lease_windows, reserved.label("reserved")).where(*wanted).order_by(fullest.desc(), w.id).limit(limit)
    with engine.connect() as connection:
        names = key_names(connection)
        return [_budget(row, names.get) for row in connection.execute(query).mappings()]


def _budget(row: object, name_of: Callable[[str], str | None]) -> Budget:
    value = dict(row)  # type: ignore[call-overload]
    member = value["member"]
    rule = LimitRule(value["scope"], member, value["unit"], value["per"], int(value["amount"]), value["priority"])
    held, reserved = int(value["held"]), int(value["reserved"])
    return Budget(
        rule,
        (name_of(member) or member) if value["scope"] == "key" else member,
        int(value["settled"]),
        min(reserved, held),
        max(0, held - reserved),
        int(value["presumed"]),
        value["start_ns"],
        value["end_ns"],
    )


def list_holders(connection: Connection) -> list[Holder]:
    """Returns the workers that have leases, the longest silent first."""
    h, g = lease_holders.c, lease_grants.c
    count = select(func.count()).where(g.holder == h.id).scalar_subquery()
    return [Holder(*row) for row in connection.execute(select(lease_holders, count).order_by(h.renewed_ns, h.id))]


def write_off(change: Change, id: str, *, free: bool = False, force: bool = False) -> WrittenOff:
    """Ends all leases of a worker whose machine is gone for good.

    Args:
        change: the transaction.
        id: the worker's.
        free: give back what it had not reported as used or reserved, instead of counting it as used.
        force: even if it seems to be alive: it asks anew then, and what it has under way is not counted.

    Raises:
        BadRequest: there is no such worker (``worker_not_found``), or it is alive (``worker_alive``).
    """
    connection = change.connection
    found = next((holder for holder in list_holders(connection) if holder.id == findable(id)), None)
    if found is None:
        raise BadRequest(f"no worker {shown(id)} holds a lease; see: headgate budgets workers", code="worker_not_found")
    if change.now_ns - found.renewed_ns < ALIVE_NS and not force:
        raise BadRequest(
            f"the worker {found.id} was alive a minute ago: stop it, or wait; its own machine closes its leases",
            code="worker_alive",
        )
    g = lease_grants.c
    rows = connection.execute(select(g.slot, g.settled, g.reserved).where(g.holder == found.id)).all()
    left = {row.slot: (row.settled, row.reserved) for row in rows} if free else None
    presumed = close_holder(connection, found.id, left)
    done = WrittenOff(found.id, presumed)
    change.note("lease.write_off", found.id, found, done)
    return done


def with_unused(budgets: Sequence[Budget], rules: Sequence[LimitRule]) -> list[Budget]:
    """Returns budgets, and behind them the limits of one member, or of everything, that nobody has used yet."""
    seen = {(b.rule.scope, b.rule.value, b.rule.unit, b.rule.per, b.rule.priority) for b in budgets}
    fresh = [
        Budget(rule, rule.value, 0, 0, 0, 0, 0, 0)
        for rule in rules
        if (rule.value or rule.scope == "everything")
        and (rule.scope, rule.value, rule.unit, rule.per, rule.priority) not in seen
    ]
    return [*budgets, *fresh]
