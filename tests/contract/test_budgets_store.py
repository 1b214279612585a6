"""What is used of limits, as the store tells it; and workers whose machines are gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from headgate.core.clock import FixedClock
from headgate.core.errors import BadRequest
from headgate.core.leases import Ask, WindowKey
from headgate.core.rule import LimitRule
from headgate.stores import audit
from headgate.stores.budgets import ALIVE_NS, with_unused
from headgate.stores.data import DataDir
from headgate.stores.keys import KeySpec
from headgate.stores.leases.sql import SqlLeases
from headgate.stores.registry import Registry

HOUR = 3600 * 10**9


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The store, on SQLite and on Postgres."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


class Stage:
    """A store with one worker's leases, at the store's own time."""

    def __init__(self, data: DataDir, engine: Engine) -> None:
        self.engine = engine
        self.leases = SqlLeases(data.url, "w1", "machine")
        self.now = self.leases.renew([]).now_ns
        self.registry = self.at(0)

    def at(self, later_ns: int) -> Registry:
        clock = FixedClock(epoch_ns=self.now + later_ns)
        return Registry(self.engine, "cli:alice", time_ns=clock.time_ns)

    def use(self, rule: LimitRule, member: str, slot: int, settled: int, reserved: int, *, ago: int = 0) -> None:
        start = (self.now // HOUR - ago) * HOUR if rule.per else 0
        key = WindowKey(rule.scope, member, rule.unit, rule.per, rule.priority, start, start + HOUR if rule.per else 0)
        ask = Ask(key, key.id, slot, rule.amount, 0, 0, 0, want=rule.amount, least=settled + reserved)
        self.leases.renew([ask])
        self.leases.renew([Ask(key, key.id, slot, rule.amount, settled, reserved, rule.amount)])


@pytest.fixture
def stage(data: DataDir, engine: Engine) -> Iterator[Stage]:
    """It all."""
    stage = Stage(data, engine)
    yield stage
    stage.leases.disconnect()


DOLLARS = LimitRule("key", "", "dollars", "hour", 1_000_000_000)


def test_windows_are_told_the_fullest_first(stage: Stage) -> None:
    """Used, reserved, leased beyond that, and left; a key by its name too; those that are over only when asked for."""
    key = stage.registry.create_key(KeySpec(name="app")).info
    stage.use(DOLLARS, key.id, 0, 100_000_000, 50_000_000)
    stage.use(LimitRule("user", "", "requests", "hour", 10), "ann", 1, 9, 0)
    stage.use(LimitRule("everything", "", "concurrency", "", 8), "", 2, 0, 3)
    found = {budget.rule.unit: budget for budget in stage.registry.list_budgets()}
    assert next(iter(found)) == "requests"
    money = found["dollars"]
    assert (money.member, money.rule.value) == ("app", key.id)
    assert (money.used, money.reserved, money.left) == (100_000_000, 50_000_000, 850_000_000)
    assert money.leased >= 0
    assert money.start_ns <= stage.now < money.end_ns
    assert (found["concurrency"].reserved, found["concurrency"].left, found["concurrency"].end_ns) == (3, 5, 0)
    assert [b.member for b in stage.registry.list_budgets(scope="user")] == ["ann"]
    assert stage.registry.list_budgets(member="nobody") == []
    later = stage.at(2 * HOUR)
    assert [b.rule.unit for b in later.list_budgets()] == ["concurrency"]
    assert len(later.list_budgets(past=True)) == 3


def test_limits_that_nobody_has_used_are_told_too(stage: Stage) -> None:
    """Those of one member; a limit on every member of a kind has no window of its own."""
    rules = [LimitRule("user", "bob", "dollars", "day", 5), LimitRule("user", "", "dollars", "day", 5)]
    (unused,) = with_unused(stage.registry.list_budgets(), rules)
    assert (unused.rule, unused.used, unused.left) == (rules[0], 0, 5)


@pytest.mark.parametrize(("free", "used"), [(False, 250_000_000), (True, 150_000_000)])
def test_a_worker_that_is_gone_is_written_off(stage: Stage, free: bool, used: int) -> None:
    """What it held counts as used, or only what it had reported; its leases are gone, and the log tells who did it."""
    stage.use(DOLLARS, "key_1", 0, 100_000_000, 50_000_000)
    with pytest.raises(BadRequest) as caught:
        stage.registry.write_off("w1", free=free)
    assert caught.value.code == "worker_alive"
    (holder,) = stage.registry.list_holders()
    assert (holder.id, holder.owner, holder.windows) == ("w1", "machine", 1)
    stage.at(ALIVE_NS + 10**10).write_off("w1", free=free)
    (budget,) = stage.registry.list_budgets()
    assert (budget.used, budget.reserved, budget.leased) == (used, 0, 0)
    assert budget.presumed == used - 100_000_000
    assert stage.registry.list_holders() == []
    (entry,) = audit.list_entries(stage.engine, 10, None)
    assert (entry.action, entry.target) == ("lease.write_off", "w1")
    with pytest.raises(BadRequest, match="budgets workers"):
        stage.registry.write_off("w1")
    # Were it alive after all, it would have to ask anew.
    assert stage.leases.renew([]).lost
