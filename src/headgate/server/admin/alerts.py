"""The admin API's routes for alerts."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.core.alert import AlertState, Silence
from headgate.observe.alerts.message import read_message, render, trial_of
from headgate.server.admin.route import MOST, PAGE, Ask, Route, moment, moment_or_none
from headgate.stores.alert_silences import unknown_rule
from headgate.stores.alerts import AlertStore
from headgate.stores.outbox import Outbox, Past, Told


class Breach(msgspec.Struct):
    """Something that is wrong now, or seems to be over but not for long enough."""

    subject: Annotated[str, Meta(description="Which model, key id, user, …; empty for all calls together.")]
    level: Annotated[str, Meta(description="Of a budget: which level.")]
    state: Annotated[str, Meta(description="pending until it has lasted for as long as the rule wants, then firing.")]
    since: datetime
    value: float | None
    threshold: float
    told: Annotated[datetime | None, Meta(description="When somebody was last told; null for nobody.")]


class RuleState(msgspec.Struct):
    """A rule, and what it finds wrong."""

    rule: str
    kind: str
    severity: str
    receivers: list[str]
    breaches: list[Breach]


class RuleStates(msgspec.Struct):
    """All rules of the running configuration, in its order."""

    data: list[RuleState]


class AlertNotice(msgspec.Struct):
    """Something that was told, and whether it arrived."""

    id: str
    event: str
    rule: str
    subject: str
    time: datetime
    summary: str
    message: Annotated[dict[str, Any], Meta(description="What receivers get.")]
    told: list[Told]


class AlertNotices(msgspec.Struct):
    """What was told, newest first."""

    data: list[AlertNotice]
    next: Annotated[int | None, Meta(description="Give it as `before` for the next page; null at the end.")]


class NoticesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which notices."""

    limit: Annotated[int, Meta(ge=1, le=MOST)] = PAGE
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    rule: str | None = None


class SilenceEntry(msgspec.Struct):
    """A silence; an empty `rule` or `subject` stands for all."""

    id: str
    rule: str
    subject: str
    until: datetime
    created: datetime
    actor: str
    reason: str


class SilenceEntries(msgspec.Struct):
    """The silences that hold."""

    data: list[SilenceEntry]


class SilenceSpec(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be silent."""

    rule: Annotated[str, Meta(description="A rule's name; empty for all rules.")]
    until: Annotated[str, Meta(description="For how long (`2h`), or until when (`2027-01-31T08:00`, else UTC).")]
    subject: str = ""
    reason: str = ""


class TrialSpec(msgspec.Struct, forbid_unknown_fields=True):
    """What to try."""

    rule: Annotated[str, Meta(description="Whose receivers; empty for every receiver.")] = ""


class Trial(msgspec.Struct):
    """A test under way: the history tells how it went."""

    id: str
    receivers: list[str]


def _list(ask: Ask) -> RuleStates:
    plan = ask.desk.core.settings.alerts
    found: dict[str, list[Breach]] = {}
    for state in AlertStore(ask.desk.engine).states():
        found.setdefault(state.rule, []).append(_breach(state))
    rules = plan.rules if plan is not None else ()
    return RuleStates(
        [RuleState(one.name, one.kind, one.severity, list(one.receivers), found.get(one.name, [])) for one in rules]
    )


def _breach(state: AlertState) -> Breach:
    told = moment_or_none(state.told_ns or None)
    since = moment(state.since_ns)
    return Breach(state.subject, state.level, state.phase, since, state.value, state.above, told)


def _history(ask: Ask) -> AlertNotices:
    query = ask.query
    past = Outbox(ask.desk.engine).history(query.limit, rule=query.rule, before_ns=query.before)
    return AlertNotices([_notice(one) for one in past], past[-1].event.time_ns if len(past) == query.limit else None)


def _notice(past: Past) -> AlertNotice:
    event, message = past.event, read_message(past.message)
    plain = msgspec.to_builtins(message)
    return AlertNotice(
        event.id, event.kind, event.rule, event.subject, moment(event.time_ns), message.summary, plain, past.told
    )


def _silence(one: Silence) -> SilenceEntry:
    until, created = moment(one.until_ns), moment(one.created_ns)
    return SilenceEntry(one.id, one.rule, one.subject, until, created, one.actor, one.reason)


def _silences(ask: Ask) -> SilenceEntries:
    return SilenceEntries([_silence(one) for one in AlertStore(ask.desk.engine).silences(time.time_ns())])


def _add_silence(ask: Ask) -> SilenceEntry:
    spec, plan = ask.body, ask.desk.core.settings.alerts
    return _silence(ask.registry.silence(plan, spec.rule, spec.subject, spec.until, spec.reason))


def _end_silence(ask: Ask) -> SilenceEntries:
    return SilenceEntries([_silence(one) for one in ask.registry.unsilence(ask.path["id"])])


def _test(ask: Ask) -> Trial:
    plan = ask.desk.core.settings.alerts
    if plan is None:
        raise unknown_rule(None, ask.body.rule)
    try:
        rule, event = trial_of(plan, ask.body.rule, time.time_ns())
    except KeyError:
        raise unknown_rule(plan, ask.body.rule) from None
    event = ask.registry.try_alert(event, render(rule, event), rule.receivers)
    return Trial(event.id, list(rule.receivers))


ROUTES = (
    Route(
        method="GET",
        path="/alerts",
        name="list_alerts",
        about="Lists the rules and what is wrong now.",
        role="viewer",
        does=_list,
        gives=RuleStates,
    ),
    Route(
        method="GET",
        path="/alerts/history",
        name="list_alert_history",
        about="Lists what was told, newest first, and whether it arrived.",
        role="viewer",
        does=_history,
        gives=AlertNotices,
        query=NoticesQuery,
    ),
    Route(
        method="GET",
        path="/alerts/silences",
        name="list_alert_silences",
        about="Lists the silences that hold.",
        role="viewer",
        does=_silences,
        gives=SilenceEntries,
    ),
    Route(
        method="POST",
        path="/alerts/silences",
        name="create_alert_silence",
        about="Tells nobody of a rule's alerts for a while.",
        role="admin",
        does=_add_silence,
        gives=SilenceEntry,
        takes=SilenceSpec,
        status=201,
    ),
    Route(
        method="DELETE",
        path="/alerts/silences/{id}",
        name="delete_alert_silence",
        about="Ends a silence by its id, or every one of a rule by that rule's name.",
        role="admin",
        does=_end_silence,
        gives=SilenceEntries,
    ),
    Route(
        method="POST",
        path="/alerts/test",
        name="test_alert",
        about="Sends a test to a rule's receivers, or to all.",
        role="admin",
        does=_test,
        gives=Trial,
        takes=TrialSpec,
        status=202,
    ),
)
