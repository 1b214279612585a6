"""The order in which equals are tried."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from headgate.core.call import Call, Deployment
from headgate.core.clock import FixedClock
from headgate.core.errors import UpstreamError
from headgate.core.price import Price, Rates
from headgate.dialects.openai_chat import OpenAIChat
from headgate.pipeline.balance import Group, Way, conversation_key
from headgate.pipeline.breaker import Breaker
from headgate.pipeline.health import Health
from headgate.pipeline.limit import Limiter
from headgate.pipeline.retry import Budget

MakeDeployment = Callable[..., Deployment]


@pytest.fixture
def equals(make_deployment: MakeDeployment, clock: FixedClock) -> list[Deployment]:
    """Four healthy deployments."""
    made = []
    for name in "abcd":
        one = make_deployment(f"{name}/m")
        one.health = Health(Breaker(one.name), Limiter(one.name, clock.monotonic), Budget(0.2), adaptive=True)
        made.append(one)
    return made


def group(equals: list[Deployment], way: Way, **settings: object) -> Group:
    return Group(equals, way, random=random.Random(7).random, **settings)  # type: ignore[arg-type]


def names(order: object) -> str:
    return "".join(one.name[0] for one in order)  # type: ignore[attr-defined]


def pause(deployment: Deployment, clock: FixedClock) -> None:
    health = deployment.health
    assert isinstance(health, Health)
    health.breaker.failed(UpstreamError("", status=429, code="rate_limited", retry_after=60), clock.monotonic())


def test_latency_prefers_the_quicker_and_less_busy(
    equals: list[Deployment], make_call: Callable[..., Call], clock: FixedClock
) -> None:
    """The slowest is never first while it is the slowest; calls under way count as much as time."""
    for deployment, seconds in zip(equals, (0.1, 0.2, 0.3, 5.0), strict=True):
        deployment.health.latency.observe(seconds, 1.0, stream=True)  # type: ignore[union-attr]
    equals[0].health.limiter.in_flight = 9  # type: ignore[union-attr]
    firsts = Counter(names(group(equals, "latency").order(make_call(), 1.0))[0] for _ in range(1))
    balanced = group(equals, "latency")
    firsts = Counter(names(balanced.order(make_call(), 1.0))[0] for _ in range(600))
    assert firsts["d"] == 0
    assert firsts["b"] > firsts["c"] > firsts["a"]


def test_a_slow_answer_counts_at_once_and_fades() -> None:
    """Peak EWMA: up in one step, down over about ten seconds."""
    health = Health(Breaker("x"), Limiter("x", lambda: 0.0), Budget(0.2), adaptive=False)
    health.latency.observe(0.1, 0.0, stream=True)
    health.latency.observe(4.0, 1.0, stream=True)
    assert health.load() == 4.0
    for second in range(2, 40):
        health.latency.observe(0.1, float(second), stream=True)
    assert health.load() < 0.25


def test_weights_are_shares(equals: list[Deployment], make_call: Callable[..., Call]) -> None:
    """Three to one is three calls in four."""
    equals[0].weight = 3.0
    pair = group(equals[:2], "weighted")
    firsts = Counter(names(pair.order(make_call(), 0.0)) for _ in range(4000))
    assert 2850 < firsts["ab"] < 3150
    assert firsts["ab"] + firsts["ba"] == 4000


def test_the_cheapest_comes_first_and_who_is_unwell_last(
    equals: list[Deployment], make_call: Callable[..., Call], clock: FixedClock
) -> None:
    """By price; a deployment that would turn the call away goes behind the others."""
    for deployment, rate in zip(equals, (3000, 1000, 2000, None), strict=True):
        deployment.price = None if rate is None else Price(Rates(rate, rate))
    cheap = group(equals, "cheapest")
    assert names(cheap.order(make_call(), clock.monotonic())) == "bcad"
    pause(equals[1], clock)
    assert names(cheap.order(make_call(), clock.monotonic())) == "cadb"


def test_a_conversation_stays_where_it_is(
    equals: list[Deployment], make_call: Callable[..., Call], clock: FixedClock
) -> None:
    """Same session, same first deployment; sessions spread; a paused home sends its own away, and no other."""
    sticky = group(equals, "latency", sticky=True)

    def first(session: int) -> str:
        call = make_call()
        call.record.session = f"s{session}"
        return names(sticky.order(call, clock.monotonic()))[0]

    homes = {session: first(session) for session in range(200)}
    assert all(first(session) == home for session, home in homes.items())
    assert min(Counter(homes.values()).values()) > 25
    pause(equals[2], clock)
    for session, home in homes.items():
        assert first(session) == home if home != "c" else first(session) != "c"


def test_turns_of_a_conversation_have_one_key(make_call: Callable[..., Call]) -> None:
    """What comes after the first user message does not matter; system prompt, user message and key holder do."""

    def key(*messages: tuple[str, str], holder: str = "k") -> bytes:
        call = make_call()
        body = {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}
        call.view = OpenAIChat().view(msgspec.json.encode(body))
        call.record.key_id = holder
        return conversation_key(call)

    system, ask, answer, more = ("system", "S"), ("user", "Q"), ("assistant", "A"), ("user", "And?")
    assert key(system, ask) == key(system, ask, answer, more)
    others = {key(system, ask), key(("system", "T"), ask), key(system, more), key(system, ask, holder="l")}
    assert len(others) == 4


def test_one_deployment_needs_no_choice(equals: list[Deployment]) -> None:
    """Plain steps and ordered groups have one order for ever; the route makes it once."""
    assert group(equals[:1], "latency").is_fixed
    assert group(equals, "ordered").is_fixed
    assert not group(equals, "ordered", sticky=True).is_fixed
