"""The admin API's routes for figures: sums, series in time, the top of each dimension, what moved."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.observe.summary import Counts, Summary, parse_step, summarize, summarize_counts
from headgate.server.admin.route import Ask, Route, moment
from headgate.stores.period import read_period
from headgate.stores.query import Filters
from headgate.stores.stats import ORDERS, StatsStore
from headgate.stores.view import GROUPS

_DAY_NS = 86_400 * 10**9
_SINCE = Meta(description="A span back from now (`90s`, `30m`, `7d`), or a date or time; a day if left out.")


class StatsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which calls; every filter that is named must fit. Filters of one kind only are answered at once."""

    since: Annotated[str, _SINCE] | None = None
    until: Annotated[str, Meta(description="As `since`; exclusive.")] | None = None
    key: Annotated[str, Meta(description="A key's id or name.")] | None = None
    user: str | None = None
    team: str | None = None
    feature: str | None = None
    prompt: str | None = None
    model: str | None = None
    deployment: Annotated[str, Meta(description="Where it was answered.")] | None = None
    outcome: Annotated[str, Meta(description="completed, failed, cancelled or refused.")] | None = None
    status: Annotated[int, Meta(ge=0, le=599, description="An HTTP status; 5 means 500 to 599.")] | None = None
    error: Annotated[str, Meta(description="An error code; `*` for any.")] | None = None
    finish: str | None = None
    trace: str | None = None
    session: str | None = None


class StatsSeriesQuery(StatsQuery, forbid_unknown_fields=True, kw_only=True):
    """As of `stats`, and how long the steps are."""

    step: Annotated[str, Meta(description="`5m`, `1h`, `1d`: whole minutes; one that fits if left out.")] = ""


class TopQuery(StatsQuery, forbid_unknown_fields=True, kw_only=True):
    """As of `stats`, and what is ordered by what."""

    by: Annotated[str, Meta(description=", ".join(GROUPS))] = "model"
    order: Annotated[str, Meta(description=", ".join(ORDERS))] = "calls"
    limit: Annotated[int, Meta(ge=1, le=1000)] = 10


class Stats(msgspec.Struct):
    """The sums of all calls that the filters let pass. `until` is null for up to now."""

    since: datetime
    until: datetime | None
    data: Summary


class StatsPoint(msgspec.Struct):
    """One step: when it begins, and its sums."""

    time: datetime
    figures: Summary


class StatsSeries(msgspec.Struct):
    """Steps in order, empty ones too; the first and the last may be cut short."""

    step_seconds: int
    data: list[StatsPoint]


class TopGroup(msgspec.Struct):
    """One group: `value` is a name or id ("" for none), `label` what people call it."""

    value: str
    label: str
    figures: Summary


class Top(msgspec.Struct):
    """The groups that come first."""

    by: str
    data: list[TopGroup]


class MovedGroup(msgspec.Struct):
    """One group, now and in the stretch of the same length before."""

    value: str
    label: str
    now: Counts
    before: Counts


class Movers(msgspec.Struct):
    """The groups that changed most, up or down."""

    by: str
    data: list[MovedGroup]


_FILTERS = ("key", "user", "team", "feature", "prompt", "model", "deployment", "outcome", "status", "error")


def _filters(query: StatsQuery) -> Filters:
    now = time.time_ns()
    since_ns, until_ns = read_period(query.since, query.until, now, begin=now - _DAY_NS)
    plain: dict[str, Any] = {name: getattr(query, name) for name in (*_FILTERS, "finish", "trace", "session")}
    return Filters(
        since_ns=since_ns,
        until_ns=until_ns,
        **plain,
    )


def _stats(ask: Ask) -> Stats:
    filters = _filters(ask.query)
    total = StatsStore(ask.desk.engine).total(filters)
    until = None if filters.until_ns is None else moment(filters.until_ns)
    return Stats(moment(filters.since_ns or 0), until, summarize(total))


def _series(ask: Ask) -> StatsSeries:
    filters = _filters(ask.query)
    end = time.time_ns() if filters.until_ns is None else filters.until_ns
    step = parse_step(ask.query.step, end - (filters.since_ns or 0))
    points = StatsStore(ask.desk.engine).series(filters, step)
    return StatsSeries(step // 10**9, [StatsPoint(moment(start), summarize(figures)) for start, figures in points])


def _top(ask: Ask) -> Top:
    query: TopQuery = ask.query
    found = StatsStore(ask.desk.engine).top(query.by, _filters(query), query.limit, query.order)
    return Top(query.by, [TopGroup(one.value, one.label, summarize(one.figures)) for one in found])


def _movers(ask: Ask) -> Movers:
    query: TopQuery = ask.query
    found = StatsStore(ask.desk.engine).movers(query.by, _filters(query), query.limit, query.order)
    return Movers(
        query.by,
        [MovedGroup(one.value, one.label, summarize_counts(one.now), summarize_counts(one.before)) for one in found],
    )


ROUTES = (
    Route(
        method="GET",
        path="/stats",
        name="get_stats",
        about="Tells what calls came to: counts, errors, tokens, cost, latency.",
        role="viewer",
        does=_stats,
        gives=Stats,
        query=StatsQuery,
    ),
    Route(
        method="GET",
        path="/series",
        name="get_series",
        about="Tells what calls came to, step by step in time.",
        role="viewer",
        does=_series,
        gives=StatsSeries,
        query=StatsSeriesQuery,
    ),
    Route(
        method="GET",
        path="/top",
        name="get_top",
        about="Lists the keys, users, models, … with the most calls, cost, failures or tokens.",
        role="viewer",
        does=_top,
        gives=Top,
        query=TopQuery,
    ),
    Route(
        method="GET",
        path="/movers",
        name="get_movers",
        about="Lists the keys, users, models, … that changed most against the stretch of the same length before.",
        role="viewer",
        does=_movers,
        gives=Movers,
        query=TopQuery,
    ),
)
