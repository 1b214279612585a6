"""Limits in the store: set, replaced, removed, audited, seen by a worker's key ring, gone with whom they were for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine

from headgate.core.clock import FixedClock
from headgate.core.errors import BadRequest
from headgate.core.rule import LimitRule
from headgate.stores import audit
from headgate.stores.allowance import Allowance, LimitSpec
from headgate.stores.data import DataDir
from headgate.stores.keyring import KeyRingCache
from headgate.stores.keys import KeyChange, KeySpec
from headgate.stores.people import TeamSpec, UserChange, UserSpec
from headgate.stores.registry import Registry


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The store, on SQLite and on Postgres."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def registry(engine: Engine) -> Registry:
    """Somebody at the command line."""
    return Registry(engine, "cli:alice", time_ns=FixedClock().time_ns)


DAY = Allowance(amount="0.01", per="day")


def test_limits_come_with_keys_people_and_teams(registry: Registry, data: DataDir) -> None:
    """And a worker that looks sees them, before any key that came with them."""
    ring = KeyRingCache(data.url, poll_seconds=60)
    seen: list[tuple[bool, tuple[LimitRule, ...]]] = []
    ring.watch(lambda: seen.append((ring.empty, ring.rules)))
    try:
        key = registry.create_key(KeySpec(name="poor", limits=[DAY])).info
        ring.refresh()
        assert seen == [(True, (LimitRule("key", key.id, "dollars", "day", 10_000_000),))]
        assert not ring.empty
        registry.create_team(TeamSpec(name="red", limits=[DAY]))
        registry.create_user(UserSpec(name="Ann", team="red", limits=[Allowance(amount=5, unit="concurrency")]))
        ring.refresh()
        assert {(rule.scope, rule.value) for rule in ring.rules} == {("key", key.id), ("team", "red"), ("user", "Ann")}
    finally:
        ring.close()


def test_a_limit_takes_the_place_of_the_one_before(registry: Registry, engine: Engine) -> None:
    """One for each scope, unit, window and priority; the same again changes and notes nothing."""
    first = registry.set_limit(LimitSpec(scope="user", value="*", amount=1, per="day"))
    again = registry.set_limit(LimitSpec(scope="user", amount="2.5", per="day", name="pocket money"))
    assert (again.id, again.value, again.amount, again.name) == (first.id, "", 2_500_000_000, "pocket money")
    registry.set_limit(LimitSpec(scope="user", amount="2.5", per="day", name="pocket money"))
    registry.set_limit(LimitSpec(scope="user", amount="2.5", per="day", priority="batch"))
    assert len(registry.list_limits()) == 2
    log = list(audit.list_entries(engine, 10, None))
    assert [(entry.action, entry.before is None) for entry in log] == [
        ("limit.set", True),
        ("limit.set", False),
        ("limit.set", True),
    ]
    assert registry.remove_limit("pocket money").id == first.id
    assert audit.verify(engine).whole


def test_limits_go_with_whom_they_were_for(registry: Registry) -> None:
    """A revoked key, a person who is deleted, a team: theirs alone."""
    registry.create_team(TeamSpec(name="red", limits=[DAY]))
    registry.create_user(UserSpec(name="Ann", limits=[DAY]))
    registry.create_key(KeySpec(name="hers", owner="Ann", limits=[DAY]))
    other = registry.create_key(KeySpec(name="other", limits=[DAY])).info
    registry.delete_team("red")
    registry.delete_user("Ann")
    assert [info.value for info in registry.list_limits()] == [other.id]
    registry.revoke_key("other")
    assert registry.list_limits() == []


def test_a_persons_limits_follow_their_name(registry: Registry) -> None:
    """A new name takes the place of what was set for somebody of that name."""
    registry.create_user(UserSpec(name="Ann", limits=[DAY]))
    registry.set_limit(LimitSpec(scope="user", value="Anna", amount=9, per="day"))
    registry.update_user("Ann", UserChange(name="Anna"))
    ((value, amount),) = [(info.value, info.amount) for info in registry.list_limits()]
    assert (value, amount) == ("Anna", 10_000_000)


@pytest.mark.parametrize(
    ("spec", "param"),
    [
        ({"scope": "user", "amount": -1, "per": "day"}, "amount"),
        ({"scope": "user", "amount": "1e99", "per": "day"}, "amount"),
        ({"scope": "user", "amount": 0.5, "unit": "requests", "per": "day"}, "amount"),
        ({"scope": "user", "amount": 1}, "per"),
        ({"scope": "user", "amount": 1, "per": "week"}, "per"),
        ({"scope": "user", "amount": 1, "unit": "concurrency", "per": "day"}, "per"),
        ({"scope": "usr", "amount": 1, "per": "day"}, "scope"),
        ({"scope": "user", "amount": 1, "unit": "euros", "per": "day"}, "unit"),
        ({"scope": "user", "amount": 1, "per": "day", "priority": "urgent"}, "priority"),
        ({"scope": "everything", "value": "x", "amount": 1, "per": "day"}, "value"),
        ({"scope": "team", "value": "blue", "amount": 1, "per": "day"}, "team"),
        ({"scope": "feature", "value": "a\x07", "amount": 1, "per": "day"}, "value"),
        ({"scope": "key", "value": "nobody", "amount": 1, "per": "day"}, None),
    ],
)
def test_a_wrong_limit_changes_nothing(registry: Registry, spec: dict[str, object], param: str | None) -> None:
    """Each is told by its field; the store is as it was."""
    with pytest.raises(BadRequest) as caught:
        registry.set_limit(LimitSpec(**spec))  # type: ignore[arg-type]
    assert caught.value.param == param
    assert registry.list_limits() == []


@pytest.mark.parametrize("name", ["zoë \U0001f600", "李雷", "user:with:colons", "a'; DROP TABLE limits; --", "x" * 256])
def test_whoever_it_is_for(registry: Registry, name: str) -> None:
    """A member is any word that people may have for somebody, and is found by just that."""
    spec = LimitSpec(scope="user", value=name, amount="0.000000001", per="day")
    made = registry.set_limit(spec)
    assert registry.set_limit(spec) == made
    assert [(one.value, one.amount) for one in registry.list_limits()] == [(name, 1)]
    assert registry.remove_limit(made.id) == made
    with pytest.raises(BadRequest, match="budgets list"):
        registry.remove_limit(made.id)


def test_two_limits_for_one_window_are_refused(registry: Registry) -> None:
    """Neither is set, and the key that they came with is not made; interactive and batch are two windows."""
    twice = [DAY, msgspec.structs.replace(DAY, amount=7)]
    with pytest.raises(BadRequest, match="two limits of dollars per day"):
        registry.create_key(KeySpec(name="poor", limits=twice))
    assert (registry.list_keys(), registry.list_limits()) == ([], [])
    apart = [msgspec.structs.replace(DAY, priority=kind) for kind in ("", "interactive", "batch")]
    registry.create_key(KeySpec(name="poor", limits=apart))
    assert len(registry.list_limits()) == 3


def test_a_key_with_a_wrong_limit_is_not_made(registry: Registry) -> None:
    """Nothing is half done: neither is a change of one."""
    wrong = Allowance(amount=-1, per="day")
    with pytest.raises(BadRequest):
        registry.create_key(KeySpec(name="poor", limits=[DAY, wrong]))
    assert registry.list_keys() == []
    registry.create_key(KeySpec(name="poor"))
    with pytest.raises(BadRequest):
        registry.update_key("poor", KeyChange(name="rich", limits=[wrong]))
    assert [info.name for info in registry.list_keys()] == ["poor"]
    with pytest.raises(BadRequest, match="budgets list"):
        registry.remove_limit("nope")
