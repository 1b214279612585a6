"""Silences: what is known to be wrong and is not to be told for a while. Importing this loads SQLAlchemy."""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import Connection, delete, insert, select

from headgate.core.alert import AlertPlan, Silence
from headgate.core.errors import BadRequest
from headgate.stores.change import Change
from headgate.stores.schema import alert_silences
from headgate.stores.words import VALUE_LIMIT, check_word


def all_silences(connection: Connection) -> list[Silence]:
    """Returns every silence that is kept, those that are over too."""
    names = Silence.__struct_fields__
    rows = connection.execute(select(alert_silences)).mappings()
    return [Silence(*(row[name] for name in names)) for row in rows]


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


def end_silence(change: Change, word: str) -> list[Silence]:
    """Ends a silence by its id, or every one of a rule by that rule's name.

    Raises:
        BadRequest: nothing of that name is silenced now (``silence_not_found``).
    """
    found = [
        one for one in all_silences(change.connection) if one.until_ns > change.now_ns and word in (one.id, one.rule)
    ]
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
