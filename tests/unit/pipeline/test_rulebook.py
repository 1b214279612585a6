"""Which limits hold for a call: by scope, member, kind and priority; nobody slips through by leaving a name out."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from headgate.core.rule import LimitRule
from headgate.pipeline.rulebook import NOTHING, Rulebook

CALL = ("key_1", "alice", "blue", "chat", "fast", "interactive")


class Opened:
    """A window that knows what it was opened for."""

    def __init__(self, rule: LimitRule, member: str) -> None:
        self.rule, self.member = rule, member


def book(*rules: LimitRule) -> Rulebook:
    def opened(rule: LimitRule, member: str) -> Any:
        return Opened(rule, member)

    return Rulebook(rules, opened)


def limit(scope: str = "user", value: str = "", amount: int = 5, **more: str) -> LimitRule:
    return LimitRule(scope, value, **{"unit": "requests", "per": "day", **more}, amount=amount)


def found(rules: Rulebook, **who: str) -> list[tuple[str, str, int]]:
    names = ("key", "user", "team", "feature", "model", "priority")
    subject: Any = tuple(who.get(name, CALL[place]) for place, name in enumerate(names))
    applied = rules.find(subject)
    return [
        (window.rule.scope, window.member, window.rule.amount)  # type: ignore[attr-defined]
        for window in (*applied.requests, *applied.places, *applied.attempts)
    ]


@pytest.mark.parametrize(
    ("scope", "member"),
    [("key", "key_1"), ("user", "alice"), ("team", "blue"), ("feature", "chat"), ("model", "fast"), ("everything", "")],
)
def test_every_scope_has_its_member(scope: str, member: str) -> None:
    """A limit on every member of a kind holds for each by itself, for one never seen before too."""
    assert found(book(limit(scope))) == [(scope, member, 5)]


def test_a_members_own_limit_takes_the_place_of_its_kinds() -> None:
    """More or less: it is what counts. Others keep the kind's."""
    rules = book(limit(amount=5), limit(value="alice", amount=9))
    assert found(rules) == [("user", "alice", 9)]
    assert found(rules, user="bob") == [("user", "bob", 5)]


def test_a_limit_on_one_member_holds_for_nobody_else() -> None:
    """A call that no limit holds for costs nothing to meter."""
    rules = book(limit(value="alice"))
    assert rules.find(("k", "bob", "", "", "m", "interactive")) is NOTHING


def test_limits_of_other_windows_and_units_hold_beside_each_other() -> None:
    """Per minute and per day, requests and dollars: all of them hold."""
    rules = book(limit(), limit(per="minute"), limit(unit="dollars"), limit("everything"))
    assert len(found(rules)) == 4


def test_the_smallest_of_several_limits_alike_holds() -> None:
    """Written in the configuration and in the store, whatever the order."""
    assert found(book(limit(amount=7), limit(amount=3), limit(amount=9))) == [("user", "alice", 3)]


def test_calls_without_a_name_are_one_member() -> None:
    """Who names no user is limited together with all who name none."""
    assert found(book(limit()), user="") == [("user", "", 5)]


def test_interactive_and_batch_are_apart() -> None:
    """A limit on batch calls does not hold for interactive ones."""
    rules = book(limit(priority="batch"), limit(priority=""))
    assert len(found(rules, priority="batch")) == 2
    assert len(found(rules)) == 1


def test_one_name_in_two_spellings_is_one_member() -> None:
    """Composed and decomposed Unicode are the same user."""
    name = "Zoë"
    rules = book(limit(value=unicodedata.normalize("NFC", name), amount=1), limit(amount=9))
    assert found(rules, user=unicodedata.normalize("NFD", name)) == [("user", name, 1)]


def test_a_name_of_any_length_is_kept_short() -> None:
    """What callers assert takes no room of their choosing, and different names stay different."""
    rules = book(limit())
    ((_, one, _),) = found(rules, user="x" * 100_000)
    ((_, other, _),) = found(rules, user="x" * 100_001)
    assert one != other
    assert len(one) < 100


def test_what_was_worked_out_is_remembered_within_bounds() -> None:
    """The same kind of call gets the same object; a flood of made-up users does not fill the memory."""
    rules = book(limit())
    assert rules.find(CALL) is rules.find(CALL)
    for number in range(20_000):
        rules.find(("k", str(number), "", "", "m", "interactive"))
    assert len(rules._cache) <= 8192
