"""The admin API's routes for limits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from headgate.core.rule import LimitRule, show_amount
from headgate.server.admin.route import Ask, Route, moment
from headgate.stores.allowance import LimitSpec
from headgate.stores.limits import LimitInfo


class LimitEntry(msgspec.Struct):
    """A limit, from the store or from the configuration (which has no `id`: it is changed in the file)."""

    id: str | None
    scope: str
    value: Annotated[str, Meta(description="Which one; empty for every one of its kind, each for itself.")]
    unit: str
    per: str
    priority: str
    amount: Annotated[str, Meta(description="Dollars as an exact decimal, or a count.")]
    name: Annotated[str, Meta(description="What refusals call it.")]
    created: datetime | None


class LimitList(msgspec.Struct):
    """All limits: those of the configuration, then the stored ones, oldest first."""

    data: list[LimitEntry]


class LimitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which limits."""

    scope: str = ""
    value: str = ""


def _show(rule: LimitRule, info: LimitInfo | None = None) -> LimitEntry:
    return LimitEntry(
        None if info is None else info.id,
        rule.scope,
        rule.value,
        rule.unit,
        rule.per,
        rule.priority,
        show_amount(rule.unit, rule.amount),
        rule.title,
        None if info is None else moment(info.created_ns),
    )


def _list(ask: Ask) -> LimitList:
    scope, value = ask.query.scope, ask.query.value
    written = [
        _show(rule) for rule in ask.desk.core.settings.limits if scope in ("", rule.scope) and value in ("", rule.value)
    ]
    return LimitList([*written, *(_show(one.rule, one) for one in ask.registry.list_limits(scope=scope, value=value))])


def _set(ask: Ask) -> LimitEntry:
    info = ask.registry.set_limit(ask.body)
    return _show(info.rule, info)


def _remove(ask: Ask) -> LimitEntry:
    info = ask.registry.remove_limit(ask.path["id"])
    return _show(info.rule, info)


ROUTES = (
    Route(
        method="GET",
        path="/limits",
        name="list_limits",
        about="Lists limits, stored and configured.",
        role="admin",
        does=_list,
        gives=LimitList,
        query=LimitQuery,
    ),
    Route(
        method="POST",
        path="/limits",
        name="set_limit",
        about="Sets a limit, in the place of the one for the same scope, unit, window and priority.",
        role="admin",
        does=_set,
        gives=LimitEntry,
        takes=LimitSpec,
    ),
    Route(
        method="DELETE",
        path="/limits/{id}",
        name="remove_limit",
        about="Removes a stored limit.",
        role="admin",
        does=_remove,
        gives=LimitEntry,
    ),
)
