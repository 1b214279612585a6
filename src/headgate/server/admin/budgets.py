"""The admin API's routes for what is used of limits, and for workers that are gone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from headgate.core.errors import BadRequest
from headgate.core.rule import SCOPES, show_amount
from headgate.server.admin.route import Ask, Route, moment
from headgate.stores.budgets import Budget, Holder, with_unused


class BudgetEntry(msgspec.Struct):
    """One limit's window, as all workers have reported it; amounts are exact decimals of dollars, or counts."""

    scope: str
    value: Annotated[str, Meta(description="The member that it is of: a key's id, a name.")]
    member: Annotated[str, Meta(description="The same for people: a key's name.")]
    unit: str
    per: str
    priority: str
    amount: str
    used: str
    reserved: Annotated[str, Meta(description="By calls under way, as of the last second.")]
    left: str
    presumed: Annotated[str, Meta(description="Of `used`: reserved by workers that were killed, maybe not used.")]
    start: datetime | None
    end: datetime | None


class BudgetList(msgspec.Struct):
    """Windows, the fullest first."""

    data: list[BudgetEntry]


class BudgetQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which windows."""

    scope: Annotated[str, Meta(description="key, user, team, feature, model or everything.")] = ""
    member: Annotated[str, Meta(description="A key's id, or a name.")] = ""
    past: Annotated[bool, Meta(description="Windows that are over too.")] = False


class WorkerEntry(msgspec.Struct):
    """A worker that holds parts of limits."""

    id: str
    owner: Annotated[str, Meta(description="The id of its data directory.")]
    since: datetime
    seen: Annotated[datetime, Meta(description="When it last reported.")]
    limits: int


class WorkerList(msgspec.Struct):
    """Workers, the longest silent first."""

    data: list[WorkerEntry]


class WriteOff(msgspec.Struct, forbid_unknown_fields=True):
    """How to write off."""

    free: Annotated[
        bool, Meta(description="Give back what it had not reported as used, instead of counting it as used.")
    ] = False
    force: Annotated[bool, Meta(description="Even if it was alive a minute ago.")] = False


class WriteOffDone(msgspec.Struct):
    """What became of its leases."""

    id: str
    presumed: Annotated[str, Meta(description="What counts as used from now on, in the windows' units together.")]


def _show(budget: Budget) -> BudgetEntry:
    rule, unit, lasts = budget.rule, budget.rule.unit, bool(budget.end_ns)
    return BudgetEntry(
        scope=rule.scope,
        value=rule.value,
        member=budget.member,
        unit=unit,
        per=rule.per,
        priority=rule.priority,
        amount=show_amount(unit, rule.amount),
        used=show_amount(unit, budget.used),
        reserved=show_amount(unit, budget.reserved),
        left=show_amount(unit, budget.left),
        presumed=show_amount(unit, budget.presumed),
        start=moment(budget.start_ns) if lasts else None,
        end=moment(budget.end_ns) if lasts else None,
    )


def _list(ask: Ask) -> BudgetList:
    scope, member, core = ask.query.scope, ask.query.member, ask.desk.core
    if scope and scope not in SCOPES:
        raise BadRequest(f"unknown scope {scope!r}: one of {', '.join(SCOPES)}", code="invalid_value", param="scope")
    found = ask.registry.list_budgets(scope=scope, member=member, past=ask.query.past)
    rules = [
        rule
        for rule in (*core.settings.limits, *(info.rule for info in ask.registry.list_limits()))
        if scope in ("", rule.scope) and member in ("", rule.value)
    ]
    return BudgetList([_show(budget) for budget in with_unused(found, rules)])


def _worker(holder: Holder) -> WorkerEntry:
    return WorkerEntry(holder.id, holder.owner, moment(holder.opened_ns), moment(holder.renewed_ns), holder.windows)


def _write_off(ask: Ask) -> WriteOffDone:
    done = ask.registry.write_off(ask.path["worker"], free=ask.body.free, force=ask.body.force)
    return WriteOffDone(done.holder, str(done.presumed))


ROUTES = (
    Route(
        method="GET",
        path="/budgets",
        name="list_budgets",
        about="Lists limits' windows with what is used, reserved and left of them.",
        role="viewer",
        does=_list,
        gives=BudgetList,
        query=BudgetQuery,
    ),
    Route(
        method="GET",
        path="/budgets/workers",
        name="list_budget_workers",
        about="Lists the workers that hold parts of limits.",
        role="admin",
        does=lambda ask: WorkerList([_worker(holder) for holder in ask.registry.list_holders()]),
        gives=WorkerList,
    ),
    Route(
        method="POST",
        path="/budgets/workers/{worker}/write-off",
        name="write_off_worker",
        about="Ends all leases of a worker whose machine is gone for good.",
        role="admin",
        does=_write_off,
        gives=WriteOffDone,
        takes=WriteOff,
    ),
)
