"""Figures over the calls of a while, for the deployment checklist. Importing this loads SQLAlchemy."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Engine, and_, case, func, literal_column, or_, select

from headgate.core.record import LOAD_TAG
from headgate.core.rule import LimitRule
from headgate.stores.limits import list_limits
from headgate.stores.query import CallStore, Filters
from headgate.stores.schema import alert_deliveries, alert_events, calls, virtual_keys

SAMPLE = 1000
MINUTE_NS = 60_000_000_000
_NO_CONVERSATION = ("embeddings", "count_tokens")


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls since ``since_ns`` come to; times in ns since 1970, None where there was no call.

    Attributes:
        total, completed, failed, refused, cancelled: how many.
        answers: conversations that were answered whole.
        with_usage, with_times, with_finish: of ``answers``, those whose tokens, first content and finish are recorded.
        cut_short: of ``answers``, those that ended for want of tokens (finish ``length``).
        fallbacks: calls that were completed by another deployment than one that was tried.
        limited: calls that a limit or budget refused.
        unpriced: calls of which something was billed that has no price.
        users: how many different users.
        keyless: calls over HTTP without a key; the command line and the library need none.
        prompts: calls that name a prompt.
        peak: most calls in one minute; ``peak_ns`` is when it began.
        oldest_ns, newest_ns: of all calls in the store, whenever.
        stored: how many calls are in the store, whenever, about.
    """

    since_ns: int
    total: int = 0
    completed: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    answers: int = 0
    with_usage: int = 0
    with_times: int = 0
    with_finish: int = 0
    cut_short: int = 0
    fallbacks: int = 0
    limited: int = 0
    unpriced: int = 0
    users: int = 0
    keyless: int = 0
    prompts: int = 0
    peak: int = 0
    peak_ns: int | None = None
    oldest_ns: int | None = None
    newest_ns: int | None = None
    stored: int = 0


class Keys(msgspec.Struct, frozen=True):
    """Virtual keys that are valid now: how many, how many of them are an admin's, and how many keep payloads whole."""

    valid: int = 0
    admins: int = 0
    full_payloads: int = 0


class Messages(msgspec.Struct, frozen=True):
    """Messages of alerts: how many were delivered, and how many given up."""

    delivered: int = 0
    given_up: int = 0


def read_calls(engine: Engine, since_ns: int) -> Calls:
    """Returns the figures of all calls since a moment, those of load tests left out."""
    c = calls.c
    wanted = and_(c.time_ns >= since_ns, _real())
    answer = and_(c.outcome == "completed", c.dialect.not_in(_NO_CONVERSATION))
    counts: dict[str, ColumnElement[bool]] = {
        **{name: c.outcome == name for name in ("completed", "failed", "refused", "cancelled")},
        "answers": answer,
        "with_usage": and_(answer, c.input_tokens.is_not(None)),
        "with_times": and_(answer, c.first_content_us >= 0, c.duration_us >= 0),
        "with_finish": and_(answer, c.finish.is_not(None)),
        "cut_short": and_(answer, c.finish == "length"),
        "fallbacks": and_(c.outcome == "completed", c.tried.is_not(None)),
        "limited": c.error.in_(("rate_limit_exceeded", "budget_exceeded")),
        "unpriced": or_(c.unpriced.is_not(None), and_(c.cost.is_(None), c.input_tokens.is_not(None))),
        "keyless": and_(c.key_id == "", c.status != 0),
        "prompts": c.prompt.is_not(None),
    }
    sums = [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in counts.items()]
    query = select(func.count().label("total"), func.count(c.user_id.distinct()).label("users"), *sums).where(wanted)
    minute = (c.time_ns // literal_column(str(MINUTE_NS), BigInteger)).label("minute")
    busiest = select(minute, func.count()).where(wanted).group_by(minute).order_by(func.count().desc()).limit(1)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().one()
        peak = connection.execute(busiest).one_or_none()
        oldest, newest = connection.execute(select(func.min(c.time_ns), func.max(c.time_ns))).one()
        first, last = connection.execute(select(func.min(c.n), func.max(c.n))).one()
    return Calls(
        since_ns=since_ns,
        **{name: int(value or 0) for name, value in row.items()},
        peak=0 if peak is None else int(peak[1]),
        peak_ns=None if peak is None else int(peak[0]) * MINUTE_NS,
        oldest_ns=oldest,
        newest_ns=newest,
        stored=0 if first is None else last - first + 1,
    )


def read_sample(engine: Engine, since_ns: int) -> list[dict[str, Any]]:
    """Returns the stories of the newest calls since a moment, at most ``SAMPLE``, those of load tests left out."""
    stories = CallStore(engine).newest_first(Filters(since_ns=since_ns), SAMPLE)
    return [story for story in stories if LOAD_TAG not in story["tags"]]


def read_keys(engine: Engine, now_ns: int) -> Keys:
    """Returns how many keys are valid at a moment."""
    c = virtual_keys.c
    live = and_(c.revoked_ns.is_(None), or_(c.expires_ns.is_(None), c.expires_ns > now_ns))
    query = select(
        func.count(),
        func.sum(case((c.role == "admin", 1), else_=0)),
        func.sum(case((c.payloads == "full", 1), else_=0)),
    )
    with engine.connect() as connection:
        return Keys(*(int(value or 0) for value in connection.execute(query.where(live)).one()))


def read_limits(engine: Engine) -> list[LimitRule]:
    """Returns the limits that are set in the store."""
    with engine.connect() as connection:
        return [info.rule for info in list_limits(connection)]


def read_messages(engine: Engine, since_ns: int) -> Messages:
    """Returns what became of the messages of alerts since a moment."""
    c, e = alert_deliveries.c, alert_events.c
    # A test is tried once, and who made it was told.
    lost = and_(c.done_ns.is_(None), c.next_ns.is_(None), e.kind != "test")
    query = select(func.count(c.done_ns), func.sum(case((lost, 1), else_=0)))
    query = query.select_from(alert_deliveries.join(alert_events, e.id == c.event_id)).where(e.time_ns >= since_ns)
    with engine.connect() as connection:
        return Messages(*(int(value or 0) for value in connection.execute(query).one()))


def _real() -> ColumnElement[bool]:
    return or_(calls.c.tags.is_(None), calls.c.tags.not_like(f'%"{LOAD_TAG}"%'))
