"""The sections ``limits`` and ``leases``: what they become, and every way to get them wrong."""

from __future__ import annotations

import pytest

from headgate.config.explain import explain
from headgate.config.load import load, load_settings
from headgate.core.errors import ConfigError
from headgate.core.rule import LimitRule

GOOD = """
limits:
  - {scope: user, amount: 1.50, per: day}
  - {scope: key, value: key_1, amount: 60, unit: requests, per: minute, name: "slow down"}
  - {scope: model, value: sim/echo, amount: 100_000, unit: output_tokens, per: hour, priority: batch}
  - {amount: 8, unit: concurrency}
leases: {store_lost: closed, reserve: 0.99}
"""


def test_limits_are_read() -> None:
    """Amounts exactly; what is left out means every member, or everything."""
    settings = load_settings(text=GOOD, environ={})
    assert settings.limits == (
        LimitRule("user", "", "dollars", "day", 1_500_000_000),
        LimitRule("key", "key_1", "requests", "minute", 60, name="slow down"),
        LimitRule("model", "sim/echo", "output_tokens", "hour", 100_000, "batch"),
        LimitRule("everything", "", "concurrency", "", 8),
    )
    assert (settings.leases.store, settings.leases.store_lost, settings.leases.reserve) == ("database", "closed", 0.99)


def test_limits_are_explained() -> None:
    """Each value, with the line of the file."""
    lines = {line.path: (line.value, line.origin) for line in explain(load(text=GOOD, environ={}))}
    assert lines["limits[0].amount"] == ("1.5", "<config>:3")
    assert lines["limits[0].value"] == ("*", "default")
    assert lines["limits[1].name"] == ("slow down", "<config>:4")


@pytest.mark.parametrize(
    ("written", "where", "said"),
    [
        ("{amount: -1, per: day}", "limits[0].amount", "0 to 1000000000"),
        ("{per: day}", "limits[0]", "wants an amount"),
        ("{amount: 1e30, per: day}", "limits[0].amount", "1e+30"),
        ("{amount: .inf, per: day}", "limits[0].amount", "wants an amount"),
        ("{amount: true, per: day}", "limits[0].amount", "expected a number"),
        ("{amount: 1.5, unit: requests, per: day}", "limits[0].amount", "a whole number"),
        ("{amount: 1}", "limits[0]", "wants a window"),
        ("{amount: 1, per: week}", "limits[0].per", "expected minute, hour, day or month"),
        ("{amount: 1, unit: concurrency, per: day}", "limits[0].per", "no window"),
        ("{amount: 1, unit: dolars, per: day}", "limits[0].unit", 'did you mean "dollars"?'),
        ("{amount: 1, scope: usr, per: day}", "limits[0].scope", 'did you mean "user"?'),
        ("{amount: 1, value: bob, per: day}", "limits[0].value", "`everything` has no members"),
        ("{amount: 1, scope: model, value: nope, per: day}", "limits[0].value", "there is no model 'nope'"),
        ('{amount: 1, scope: user, value: "a\\u0007", per: day}', "limits[0].value", "printable"),
        ("{amount: 1, per: day, amont: 2}", "limits[0].amont", 'did you mean "amount"?'),
        ("3", "limits[0]", "expected a mapping"),
    ],
)
def test_a_wrong_limit_is_told(written: str, where: str, said: str) -> None:
    """With its place and what would be right; nothing is loaded."""
    with pytest.raises(ConfigError) as caught:
        load_settings(text=f"limits:\n  - {written}\n", environ={})
    assert f"{where}: " in caught.value.message
    assert said in caught.value.message


def test_the_same_limit_twice_is_told() -> None:
    """Two amounts for one thing: one of them is a slip."""
    with pytest.raises(ConfigError, match="the same limit twice"):
        load_settings(text="limits: [{amount: 1, per: day}, {amount: 2, per: day}]", environ={})


def test_memory_is_refused_with_several_workers() -> None:
    """Each would allow the whole limit; one worker alone may count in memory."""
    with pytest.raises(ConfigError, match="each limit would hold 2 times"):
        load_settings(text="leases: {store: memory}\nserver: {workers: 2}", environ={})
    assert load_settings(text="leases: {store: memory}", environ={}).leases.store == "memory"
