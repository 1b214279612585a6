"""A Core made beside a running one: what both share, what is new, what is left over."""

from __future__ import annotations

import pathlib
from typing import cast

import pytest
from tests.unit.pipeline.conftest import Keys, MemoryJournal

from headgate.compose import Core, prepare
from headgate.config.load import load_settings
from headgate.config.settings import Settings
from headgate.core.errors import ConfigError, UpstreamError
from headgate.core.rule import LimitRule

BEFORE = """\
providers:
  one: {dialect: openai_chat, url: "http://127.0.0.1:9001/v1", key: "env:KEY"}
  two: {dialect: openai_chat, url: "http://127.0.0.1:9002/v1"}
models:
  fast: {route: [one/m, two/m]}
"""


def read(text: str, key: str = "sk-1") -> Settings:
    return load_settings(text=text, environ={"KEY": key, "OTHER": "sk-0"})


def compose(settings: Settings) -> Core:
    return Core(settings, journal=MemoryJournal(), keys=Keys(), keyless=True)


async def test_what_is_running_is_shared() -> None:
    """Journal, keys, clock, ids, timer, dialects, counters, what is to be closed; the models are the new ones."""
    before = compose(read(BEFORE))
    before.account.unauthenticated = 3
    after = before.renew(read(BEFORE + "  slow: {route: [two/m]}\n"))
    for name in ("journal", "keys", "clock", "ids", "ticker", "dialects", "closers", "followers", "created", "keyless"):
        assert getattr(after, name) is getattr(before, name)
    assert (list(before.models), list(after.models)) == (["fast"], ["fast", "slow"])
    assert after.account is not before.account
    assert after.account.unauthenticated == 3


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (BEFORE, set()),
        (BEFORE.replace("9001", "9003"), {"one"}),
        (BEFORE.replace('key: "env:KEY"', 'key: "env:KEY", max_connections: 5'), {"one"}),
        (BEFORE.replace('key: "env:KEY"', 'key: "env:KEY", proxy: none'), {"one"}),
        (BEFORE.replace('key: "env:KEY"', 'key: "env:KEY", timeouts: {idle: 5}, headers: {x-a: b}'), set()),
    ],
    ids=["same", "url", "connections", "proxy", "unrelated"],
)
async def test_connections_are_kept_where_they_would_be_the_same(text: str, new: set[str]) -> None:
    """A provider whose connection settings changed gets new ones; the old ones are left to be closed."""
    before = compose(read(BEFORE))
    after = before.renew(read(text, key="sk-2"))
    assert {name for name in after.transports if after.transports[name] is not before.transports[name]} == new
    assert before.dropped(after) == [before.transports[name] for name in new]


async def test_a_removed_providers_connections_are_dropped() -> None:
    """And only those."""
    before = compose(read(BEFORE))
    after = before.renew(load_settings(text="models: {a: {route: [sim/echo]}}", environ={}))
    assert before.dropped(after) == [before.transports["one"], before.transports["two"]]
    assert after.transports == {"sim": before.transports["sim"]}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (BEFORE, True),
        (BEFORE.replace('key: "env:KEY"', 'key: "env:OTHER", max_connections: 5, timeouts: {idle: 5}'), True),
        (BEFORE.replace("[one/m, two/m]", "[{of: [one/m, two/m]}]"), True),
        (BEFORE.replace("9001", "9003"), False),
        (BEFORE.replace('key: "env:KEY"', 'key: "env:KEY", breaker: {open: 5}'), False),
        (BEFORE.replace('key: "env:KEY"', 'key: "env:KEY", limit: {concurrency: 5}'), False),
    ],
    ids=["same", "unrelated", "other-route", "url", "breaker", "limit"],
)
async def test_what_is_known_of_a_deployment_is_kept(text: str, kept: bool) -> None:
    """Its breaker, places and latency, as long as it is the same server on the same terms; the other's in any case."""
    before = compose(read(BEFORE))
    before.deployments["one/m"].breaker.pause(60.0, 0.0)
    before.deployments["one/m"].limiter.take()
    after = before.renew(read(text))
    assert (after.deployments["one/m"] is before.deployments["one/m"]) is kept
    assert after.deployments["one/m"].limiter.in_flight == (1 if kept else 0)
    assert after.deployments["one/m"].breaker.guarded is kept
    assert after.deployments["two/m"] is before.deployments["two/m"]


async def test_what_is_gone_is_forgotten() -> None:
    """A deployment that comes back two changes later begins anew, and nothing of it is kept meanwhile."""
    first = compose(read(BEFORE))
    second = first.renew(read(BEFORE.replace("one/m, ", "")))
    assert list(second.deployments) == ["two/m"]
    third = second.renew(read(BEFORE))
    assert third.deployments["one/m"] is not first.deployments["one/m"]
    assert third.deployments["two/m"] is first.deployments["two/m"]


async def test_several_keys_keep_their_turn() -> None:
    """A key that was refused is left alone after a change too; other keys begin with the first."""
    text = BEFORE.replace('key: "env:KEY"', 'keys: ["env:KEY", "env:OTHER"]')
    before = compose(read(text))
    chain = before._providers["one"].keys
    assert chain is not None
    chain.failed(0, UpstreamError("no", status=401, code="auth"), 0.0)
    assert chain.pick(1.0) == 1
    assert before.renew(read(text + "  more: {route: [two/m]}\n"))._providers["one"].keys is chain
    changed = before.renew(read(text, key="sk-3"))._providers["one"].keys
    assert changed is not None
    assert (changed is chain, changed.pick(1.0)) == (False, 0)


async def test_a_follower_may_refuse() -> None:
    """What is told of new settings, and can not take them, keeps the core from being renewed."""
    before = compose(read(BEFORE))
    told: list[Settings] = []
    before.followers.append(told.append)
    settings = read(BEFORE)
    assert before.renew(settings).followers is before.followers
    assert told == [settings]

    def refuse(settings: Settings) -> None:
        raise ConfigError("no")

    before.followers.append(refuse)
    with pytest.raises(ConfigError):
        before.renew(settings)


async def test_limits_are_renewed_with_what_was_used() -> None:
    """Windows and what was learned stay; new amounts hold for the calls to come; stored limits hold beside."""
    limit = "limits: [{amount: 1, unit: requests, per: month}]\n"
    before = compose(read(BEFORE))
    assert not before.metering.on
    bare = before._routes["fast"].deployments[0].handler
    after = before.renew(read(BEFORE + limit))
    assert after.metering.on
    assert after.metering.meter is before.metering.meter
    assert after.metering.learned is before.metering.learned
    assert before._routes["fast"].deployments[0].handler is bare
    keys = cast(Keys, after.keys)
    keys.rules = (LimitRule("user", "", "dollars", "day", 5),)
    keys.changed()
    assert [rule.unit for rule in after.metering.rules] == ["requests", "dollars"]
    keys.rules = ()
    last = after.renew(read(BEFORE))
    assert not last.metering.on


async def test_a_refused_renewal_leaves_the_limits_as_they_were() -> None:
    """Stored limits that change afterwards are told to the core that runs."""
    before = compose(read(BEFORE))

    def refuse(settings: Settings) -> None:
        raise ConfigError("no")

    before.followers.append(refuse)
    with pytest.raises(ConfigError):
        before.renew(read(BEFORE))
    keys = cast(Keys, before.keys)
    keys.rules = (LimitRule("user", "", "dollars", "day", 5),)
    keys.changed()
    assert before.metering.on


def test_a_bad_ca_file_is_found_beforehand(tmp_path: pathlib.Path) -> None:
    """Off the loop, where reading certificates harms nobody."""
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nno\n")
    text = BEFORE.replace("http://127.0.0.1:9001", "https://127.0.0.1:9001")
    text = text.replace('key: "env:KEY"', f'key: "env:KEY", ca_file: "{file}"')
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        prepare(read(text))
    prepare(read(BEFORE))
