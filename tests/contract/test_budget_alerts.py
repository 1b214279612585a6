"""Alerts on the budgets that calls are held to, from the ledger of their leases, on SQLite and Postgres."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from headgate.core.alert import AlertPlan, AlertRule, Receiver
from headgate.core.leases import Ask, WindowKey
from headgate.core.rule import LimitRule
from headgate.observe.alerts.budget import window_of
from headgate.observe.alerts.watch import AlertWatch
from headgate.stores.allowance import Allowance, LimitSpec
from headgate.stores.change import changing
from headgate.stores.data import DataDir
from headgate.stores.keys import KeySpec, add_key
from headgate.stores.leases.sql import SqlLeases
from headgate.stores.limits import remove_limit, set_allowances, set_limit

NS = 10**9
DAY = window_of("day", time.time_ns())
NOON = DAY[0] + 12 * 3600 * NS
TOMORROW = DAY[1] + NS
WATCHED = AlertRule(
    name="money",
    kind="budget",
    above=1.0,
    recover=1.0,
    window=60.0,
    levels=(0.5, 0.8, 1.0),
    projected=False,
    receivers=("ops",),
)
Report = Callable[..., None]


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The store."""
    opened = data.open_engine()
    yield opened
    opened.dispose()


@pytest.fixture
def report(data: DataDir) -> Iterator[Report]:
    """Reports what a worker has used and reserved of a window of dollars, in all."""
    leases = SqlLeases(data.url, "worker", data.owner)
    slots: dict[str, int] = {}

    def tell(
        scope: str,
        member: str,
        settled: float,
        reserved: float = 0.0,
        *,
        limit: float = 10,
        at: int = NOON,
        priority: str = "",
    ) -> None:
        key = WindowKey(scope, member, "dollars", "day", priority, *window_of("day", at))
        slot = slots.setdefault(key.id, len(slots))
        used, held = int(settled * NS), int(reserved * NS)
        leases.renew([Ask(key, key.id, slot, int(limit * NS), used, held, used + held)])

    yield tell
    leases.disconnect()


def look(
    engine: Engine,
    at: int = NOON,
    *,
    rule: AlertRule = WATCHED,
    limits: tuple[LimitRule, ...] = (),
    leased: bool = True,
) -> list[tuple[str, str, str]]:
    plan = AlertPlan(rules=(rule,), receivers=(Receiver(name="ops", kind="log"),), limits=limits, leased=leased)
    return sorted((event.kind, event.subject, event.level) for event in AlertWatch(engine, "me", plan).look(at))


def fired(subject: str, *levels: str) -> list[tuple[str, str, str]]:
    return sorted(("fired", subject, level) for level in levels)


def test_what_calls_under_way_have_reserved_counts(engine: Engine, report: Report) -> None:
    """A budget of the configuration is told of before one call has ended; none of its levels twice in a window."""
    limits = (LimitRule("everything", "", "dollars", "day", 10 * NS),)
    subject = "everything, $10.00 per day"
    report("everything", "", 4.0)
    assert look(engine, limits=limits) == []
    report("everything", "", 4.0, reserved=2.0)
    assert look(engine, limits=limits) == fired(subject, "50%")
    report("everything", "", 4.1)  # most of what was reserved was not used, after all
    assert look(engine, limits=limits) == []
    report("everything", "", 4.1, reserved=4.5)
    assert look(engine, limits=limits) == fired(subject, "80%")
    report("everything", "", 9.0, reserved=1.0)
    assert look(engine, limits=limits) == fired(subject, "100%")
    report("everything", "", 9.5)
    assert look(engine, limits=limits) == []


def test_the_next_window_recovers_and_tells_anew(engine: Engine, report: Report) -> None:
    """At its begin what was told recovers, also where much is used at once; each level can then be told again."""
    limits = (LimitRule("user", "", "dollars", "day", 10 * NS),)
    for name in ("ann", "bob"):
        report("user", name, 8.5)
    ann, bob = "user ann, $10.00 per day", "user bob, $10.00 per day"
    assert look(engine, limits=limits) == sorted([*fired(ann, "50%", "80%"), *fired(bob, "50%", "80%")])
    report("user", "ann", 6.0, at=TOMORROW)
    ended = [("recovered", who, level) for who in (ann, bob) for level in ("50%", "80%")]
    assert look(engine, TOMORROW, limits=limits) == ended
    assert look(engine, TOMORROW, limits=limits) == fired(ann, "50%")
    assert look(engine, TOMORROW, limits=limits) == []


def test_budgets_of_the_store(engine: Engine, report: Report) -> None:
    """What ``budgets set`` and ``keys create --budget`` have set is watched; what was removed is not any more."""
    with changing(engine, "me", NOON) as change:
        key = add_key(change, KeySpec(name="poor"), b"digest").id
        set_allowances(change, "key", key, [Allowance(amount="1", per="day")])
        team = set_limit(change, LimitSpec(scope="feature", value="chat", amount="4", per="day"))
    report("key", key, 0.2, reserved=0.3, limit=1)
    report("key", "key_of_another", 1.0, limit=1)
    report("feature", "chat", 4.0, limit=4)
    chat = "feature chat, $4.00 per day"
    assert look(engine) == sorted(
        [*fired(f"key {key}, $1.00 per day", "50%"), *fired(chat, "50%", "80%", "100%")], key=str
    )
    with changing(engine, "me", NOON) as change:
        remove_limit(change, team.id)
    assert look(engine) == [("recovered", chat, level) for level in ("100%", "50%", "80%")]


def test_a_budget_of_one_priority(engine: Engine, report: Report) -> None:
    """Interactive and batch are watched apart, as they are counted."""
    limits = tuple(LimitRule("everything", "", "dollars", "day", 10 * NS, kind) for kind in ("interactive", "batch"))
    report("everything", "", 6.0, priority="batch")
    assert look(engine, limits=limits) == fired("everything, $10.00 per day, batch", "50%")


def test_an_overrun_to_come(engine: Engine, report: Report) -> None:
    """What is used goes on at its pace; what is reserved is under way once."""
    limits = (LimitRule("everything", "", "dollars", "day", 10 * NS),)
    rule = AlertRule(
        name="soon", kind="budget", above=1.0, recover=0.9, window=60.0, projected=True, receivers=("ops",)
    )
    report("everything", "", 4.0, reserved=1.5)
    assert look(engine, rule=rule, limits=limits) == [], "$8.00 at this pace, and 1.50"
    report("everything", "", 4.5, reserved=1.5)
    assert look(engine, rule=rule, limits=limits) == fired("everything, $10.00 per day", "projected")


def test_where_each_worker_counts_for_itself(engine: Engine, report: Report) -> None:
    """No ledger is asked then: what an earlier one holds is not what calls are held to."""
    report("everything", "", 9.0)
    assert look(engine, limits=(LimitRule("everything", "", "dollars", "day", 10 * NS),), leased=False) == []
