"""Limits in the store: what a key, person, team, feature, model or everything may use in a window of time.

What changes something takes a ``Change``: use ``stores.registry``. Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from headgate.core.errors import BadRequest
from headgate.core.rule import SCOPES, LimitRule
from headgate.stores.allowance import Allowance, LimitSpec, check_allowance
from headgate.stores.change import Change
from headgate.stores.keys import find_key
from headgate.stores.people import find_team, find_user
from headgate.stores.schema import limits
from headgate.stores.words import LABEL_LIMIT, check_choice, check_word, findable, shown, wrong


class LimitInfo(msgspec.Struct, frozen=True):
    """A limit as it is stored; fields as ``core.rule.LimitRule``. ``created_ns`` in ns since 1970."""

    id: str
    scope: str
    value: str
    unit: str
    per: str
    priority: str
    amount: int
    name: str
    created_ns: int

    @property
    def rule(self) -> LimitRule:
        """What workers obey."""
        return LimitRule(self.scope, self.value, self.unit, self.per, self.amount, self.priority, self.name)


def set_limit(change: Change, spec: LimitSpec) -> LimitInfo:
    """Sets a limit, in the place of the one for the same scope, unit, window and priority where there is one.

    Raises:
        BadRequest: something in ``spec`` makes no sense, or names a key or team that is unknown.
    """
    scope = check_choice(spec.scope, "scope", SCOPES)
    fields = {"scope": scope, "value": _member(change.connection, scope, spec.value), **check_allowance(spec)}
    c = limits.c
    same = [c[name] == fields[name] for name in ("scope", "value", "unit", "per", "priority")]
    row = change.connection.execute(select(limits).where(*same)).mappings().one_or_none()
    before = None if row is None else LimitInfo(**row)
    if before is None:
        after = LimitInfo(id="limit_" + secrets.token_hex(6), created_ns=change.now_ns, **fields)
        change.connection.execute(insert(limits).values(msgspec.structs.asdict(after)))
    else:
        after = msgspec.structs.replace(before, **fields)
        if after == before:
            return before
        change.connection.execute(update(limits).where(c.id == before.id).values(msgspec.structs.asdict(after)))
    change.note("limit.set", after.id, before, after)
    return after


def set_allowances(change: Change, scope: str, value: str, allowances: Sequence[Allowance]) -> None:
    """Sets limits of one key, person or team.

    Raises:
        BadRequest: as ``set_limit``; or two of them are for the same unit, window and priority.
    """
    seen = set()
    for one in allowances:
        place = (one.unit, one.per, one.priority)
        if place in seen:
            what = " ".join(filter(None, (one.unit.replace("_", " "), one.per and f"per {one.per}", one.priority)))
            raise wrong(f"two limits of {what}: the second would take the place of the first; give one", "limits")
        seen.add(place)
        set_limit(change, LimitSpec(scope=scope, value=value, **msgspec.structs.asdict(one)))


def remove_limit(change: Change, id: str) -> LimitInfo:
    """Removes a limit; workers stop asking for it within a second.

    Raises:
        BadRequest: there is no such limit (``limit_not_found``).
    """
    before = find_limit(change.connection, id)
    change.connection.execute(delete(limits).where(limits.c.id == before.id))
    change.note("limit.remove", before.id, before, None)
    return before


def remove_limits_of(change: Change, scope: str, value: str) -> None:
    """Removes every limit of a key, person or team that is no more."""
    for info in list_limits(change.connection, scope=scope, value=value):
        remove_limit(change, info.id)


def rename_member(change: Change, scope: str, before: str, after: str) -> None:
    """Lets a person's limits follow their new name; what was counted under the old one stays with that."""
    there = {(one.unit, one.per, one.priority): one for one in list_limits(change.connection, scope=scope, value=after)}
    for info in list_limits(change.connection, scope=scope, value=before):
        clash = there.get((info.unit, info.per, info.priority))
        if clash is not None:
            remove_limit(change, clash.id)
        renamed = msgspec.structs.replace(info, value=after)
        change.connection.execute(update(limits).where(limits.c.id == info.id).values(value=after))
        change.note("limit.set", info.id, info, renamed)


def find_limit(connection: Connection, id: str) -> LimitInfo:
    """Returns a limit by its id, or by its name where one alone has it.

    Raises:
        BadRequest: there is no such limit, or several of that name (``limit_not_found``).
    """
    word = findable(id)
    for match in (limits.c.id == word, (limits.c.name == word) & (limits.c.name != "")):
        rows = connection.execute(select(limits).where(match)).mappings().all()
        if len(rows) == 1:
            return LimitInfo(**rows[0])
    raise BadRequest(
        f"no single limit has the id or name {shown(id)}; see: headgate budgets list", code="limit_not_found"
    )


def list_limits(connection: Connection, *, scope: str = "", value: str = "") -> list[LimitInfo]:
    """Returns limits, oldest first: all, those of a scope, or those of one member of it."""
    query = select(limits).order_by(limits.c.created_ns, limits.c.id)
    if scope:
        query = query.where(limits.c.scope == scope)
    if value:
        query = query.where(limits.c.value == value)
    return [LimitInfo(**row) for row in connection.execute(query).mappings()]


def _member(connection: Connection, scope: str, value: str) -> str:
    """Returns how a member of a scope is stored: a key by its id, a team that exists by its name; "" for everyone."""
    if value in ("", "*"):
        return ""
    if scope == "everything":
        raise wrong("the scope everything has no members: leave `value` out", "value")
    if scope == "key":
        return find_key(connection, value).id
    if scope == "team":
        return find_team(connection, value).name
    if scope == "user":
        try:
            return find_user(connection, value).name
        except BadRequest as error:
            # Users are what key holders assert: most of them are nobody whom the store knows.
            if error.code != "user_not_found":
                raise
    return check_word(value, "value", limit=LABEL_LIMIT)
