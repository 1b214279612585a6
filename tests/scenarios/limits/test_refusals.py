"""What callers are told when a limit is used up, in their own dialect; and what is left while it is not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.scenarios.faults.client import until

DAY = {"amount": 0.0005, "per": "day", "name": "pocket money"}
WIRES = ("openai_chat", "anthropic")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_budget_that_is_used_up_is_a_402(desk: Any, wire: str, stream: bool) -> None:
    """Which one, and when it begins anew; nothing has been sent, and nothing goes out beyond it."""
    here = await desk(DAY)
    model = "fast" if wire == "openai_chat" else "claude"
    while (got := await here.ask(wire, model=model, stream=stream)).status == 200:
        pass
    assert got.status == 402
    assert here.served <= 500_000
    assert here.served >= 250_000
    error = json.loads(got.body)["error"]
    assert "pocket money" in error["message"]
    assert "$0.0005 per day" in error["message"]
    assert got.headers["x-headgate-limit"] == "pocket money"
    assert 0 < int(got.headers["retry-after"]) <= 86_400
    assert (error["type"], error.get("code")) == (
        ("insufficient_quota", "budget_exceeded") if wire == "openai_chat" else ("billing_error", None)
    )
    sent = here.sim.sim.meter.calls
    assert (await here.ask(wire, model=model, stream=stream)).status == 402
    assert here.sim.sim.meter.calls == sent
    record = here.gateway.journal.records[got.headers["x-headgate-id"]]
    assert (record.outcome, record.status, record.error) == ("refused", 402, "budget_exceeded")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_rate_that_is_used_up_is_a_429(desk: Any, wire: str) -> None:
    """As the provider's own would look, so that SDKs wait for as long."""
    here = await desk({"amount": 2, "unit": "requests", "per": "hour", "scope": "model"})
    model = "fast" if wire == "openai_chat" else "claude"
    for left in ("1", "0"):
        got = await here.ask(wire, model=model)
        assert got.status == 200
        assert got.headers["x-ratelimit-limit-requests"] == "2"
        assert got.headers["x-ratelimit-remaining-requests"] == left
        assert got.headers["x-ratelimit-reset-requests"].endswith("s")
    got = await here.ask(wire, model=model)
    assert got.status == 429
    error = json.loads(got.body)["error"]
    assert (error["type"], error.get("code")) == (
        ("rate_limit_error", "rate_limit_exceeded") if wire == "openai_chat" else ("rate_limit_error", None)
    )
    assert 0 < int(got.headers["retry-after"]) <= 3600
    # Another model has a window of its own.
    assert (await here.ask(wire, model="claude" if model == "fast" else "fast")).status == 200


async def test_tokens_are_told_and_bound(desk: Any) -> None:
    """Remaining tokens stand in headers; input, output, or both."""
    here = await desk(
        {"amount": 400, "unit": "tokens", "per": "hour"}, {"amount": 90, "unit": "output_tokens", "per": "day"}
    )
    got = await here.ask()
    assert got.headers["x-ratelimit-limit-tokens"] in ("400", "90")
    while (got := await here.ask()).status == 200:
        pass
    meter = here.sim.sim.meter
    assert got.status == 429
    assert meter.input_tokens + meter.output_tokens <= 400
    assert meter.output_tokens <= 90


async def test_without_limits_nothing_is_added(desk: Any) -> None:
    """No header, and no layer in the chain."""
    here = await desk()
    got = await here.ask()
    assert not [name for name in got.headers if name.startswith("x-ratelimit")]
    assert not here.gateway.core.metering.on


async def test_every_user_has_a_window(desk: Any) -> None:
    """Whoever is asserted: by body, metadata or header; who is not named is one user too."""
    here = await desk({"scope": "user", "amount": 1, "unit": "requests", "per": "day"})
    for fields in (
        {"user": "ann"},
        {"metadata": {"user": "bob"}},
        {"x_headgate_user": "zoë".encode().decode("latin-1")},
        {},
    ):
        assert (await here.ask(**fields)).status == 200
        assert (await here.ask(**fields)).status == 429
    assert (await here.ask(wire="anthropic", model="claude", metadata={"user_id": "ann"})).status == 429


async def test_features_and_classes_have_windows(desk: Any) -> None:
    """A feature named in a header or in metadata; batch calls apart from interactive ones."""
    here = await desk(
        {"scope": "feature", "value": "chat", "amount": 1, "unit": "requests", "per": "day"},
        {"amount": 1, "unit": "requests", "per": "day", "priority": "batch"},
    )
    assert (await here.ask(x_headgate_feature="chat")).status == 200
    assert (await here.ask(metadata={"feature": "chat"})).status == 429
    assert (await here.ask(x_headgate_class="batch")).status == 200
    assert (await here.ask(x_headgate_class="batch")).status == 429
    assert (await here.ask()).status == 200


async def test_calls_at_once_are_bound(desk: Any) -> None:
    """One more is a 429; a client that leaves gives its place back."""
    here = await desk(
        {"amount": 2, "unit": "concurrency"}, models={"silent": {"route": ["openai_chat/echo+hang-mid-stream"]}}
    )
    calls = [asyncio.create_task(here.ask(model="silent", stream=True)) for _ in range(2)]
    await until(lambda: here.sim.sim.meter.live_calls == 2)
    assert (await here.ask()).status == 429
    for call in calls:
        call.cancel()
    await until(lambda: here.used("concurrency") == 0)
    assert (await here.ask()).status == 200


async def test_no_price_under_a_budget(desk: Any) -> None:
    """Refused with what to write, unless another deployment of the plan has one."""
    models = {"unpriced": {"route": ["sim/echo"]}, "rescued": {"route": ["sim/echo", "openai_chat/echo"]}}
    here = await desk(DAY, models=models)
    got = await here.ask(model="unpriced")
    assert got.status == 402
    error = json.loads(got.body)["error"]
    assert error["code"] == "unpriced_model"
    assert 'providers.sim.prices: {"echo": {input: …, output: …}}' in error["message"]
    got = await here.ask(model="rescued")
    assert (got.status, got.headers["x-headgate-deployment"]) == (200, "openai_chat/echo")
