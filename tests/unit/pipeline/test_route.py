"""The plan, and how it is walked."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from headgate.core.call import Attempt, Call, Deployment, Principal
from headgate.core.clock import FixedClock
from headgate.core.errors import (
    BadRequest,
    ConnectFailed,
    HeadgateError,
    Timeout,
    UnknownModel,
    UpstreamBroken,
    UpstreamError,
)
from headgate.core.event import Summary
from headgate.core.reply import Reply
from headgate.pipeline.balance import Group
from headgate.pipeline.route import Route, route, tries_next

from .conftest import View

MakeDeployment = Callable[..., Deployment]


def answering(name: str, tried: list[str]) -> object:
    async def handler(attempt: Attempt) -> Reply:
        tried.append(name)
        return Reply((), None, Summary(), position=attempt.position)

    return handler


def failing(name: str, tried: list[str], error: HeadgateError) -> object:
    async def handler(attempt: Attempt) -> Reply:
        tried.append(name)
        raise error

    return handler


def build(clock: FixedClock, plans: dict[str, list[Deployment]], *, keys_exist: bool = False) -> object:
    def direct(name: str) -> Deployment | None:
        return plans["*"][0] if name.startswith("up/") else None

    known = {
        name: Route([Group([one], random=random.random) for one in plan]) for name, plan in plans.items() if name != "*"
    }
    return route(known, direct, clock, lambda: keys_exist)


async def test_the_next_deployment_answers_when_one_fails(
    make_call: Callable[..., Call], make_deployment: MakeDeployment, clock: FixedClock
) -> None:
    """Failures before the commit point move on along the plan; the Record names every try and the winner."""
    tried: list[str] = []
    plan = [
        make_deployment("a/m", failing("a", tried, ConnectFailed("no"))),
        make_deployment("b/m", failing("b", tried, UpstreamError("busy", status=503))),
        make_deployment("c/m", answering("c", tried)),
        make_deployment("d/m", answering("d", tried)),
    ]
    call = make_call()
    await build(clock, {"fast": plan})(call)
    assert tried == ["a", "b", "c"]
    assert [attempt.deployment for attempt in call.record.attempts] == ["a/m", "b/m", "c/m"]
    assert call.record.winner == 2


@pytest.mark.parametrize(
    ("error", "moves_on"),
    [
        (UpstreamError("x", status=400, code="invalid_request", fault="caller"), False),
        (UpstreamError("x", status=400, code="content_filter", fault="caller"), False),
        (UpstreamError("x", status=400, code="context_length", fault="caller"), True),
        (UpstreamError("x", status=404, code="not_found", fault="caller"), True),
        (UpstreamError("x", status=401, code="auth"), True),
        (UpstreamError("x", status=429, code="rate_limited"), True),
        (UpstreamBroken("x"), True),
        (Timeout("x"), True),
        (BadRequest("x", code="unsupported"), True),
        (BadRequest("x"), False),
    ],
)
def test_what_moves_on(error: HeadgateError, moves_on: bool) -> None:
    """A request that is itself at fault fails at once; whatever another deployment could do better goes on."""
    assert tries_next(error) is moves_on


async def test_the_last_error_is_told_when_all_fail(
    make_call: Callable[..., Call], make_deployment: MakeDeployment, clock: FixedClock
) -> None:
    """An exhausted plan raises what the last deployment said; nothing won."""
    tried: list[str] = []
    plan = [make_deployment(f"{name}/m", failing(name, tried, ConnectFailed(f"no {name}"))) for name in "ab"]
    call = make_call()
    with pytest.raises(ConnectFailed, match="no b"):
        await build(clock, {"fast": plan})(call)
    assert call.record.winner == -1


async def test_no_try_begins_after_the_deadline(
    make_call: Callable[..., Call], make_deployment: MakeDeployment, clock: FixedClock
) -> None:
    """Once the call's deadline has passed the error so far is told instead of another try."""
    tried: list[str] = []

    async def slow(attempt: Attempt) -> Reply:
        tried.append("a")
        clock.advance(2)
        raise ConnectFailed("no a")

    plan = [make_deployment("a/m", slow), make_deployment("b/m", answering("b", tried))]
    call = make_call(deadline=clock.monotonic() + 1)
    with pytest.raises(ConnectFailed):
        await build(clock, {"fast": plan})(call)
    assert tried == ["a"]


async def test_an_unknown_model_names_the_nearest(
    make_call: Callable[..., Call], make_deployment: MakeDeployment, clock: FixedClock
) -> None:
    """A typing mistake is told with the right name; no model at all is told as such."""
    handler = build(clock, {"gpt-4o-mini": [make_deployment("a/m")]})
    with pytest.raises(UnknownModel, match="did you mean 'gpt-4o-mini'"):
        await handler(make_call(View("gpt-4o-mni")))
    with pytest.raises(UnknownModel) as caught:
        await handler(make_call(View("")))
    assert caught.value.code == "missing_model"


async def test_direct_addressing_needs_a_key_that_allows_it(
    make_call: Callable[..., Call], make_deployment: MakeDeployment, clock: FixedClock
) -> None:
    """provider/model works while no key exists, then only for keys with `direct`."""
    tried: list[str] = []
    plans = {"*": [make_deployment("up/x", answering("up", tried))]}
    await build(clock, plans)(make_call(View("up/x"), principal=Principal("", "")))
    await build(clock, plans, keys_exist=True)(make_call(View("up/x"), principal=Principal("k", "k", direct=True)))
    assert len(tried) == 2
    with pytest.raises(UnknownModel):
        await build(clock, plans, keys_exist=True)(make_call(View("up/x"), principal=Principal("k", "k")))


async def test_a_restricted_key_sees_only_its_models(
    make_call: Callable[..., Call], make_deployment: MakeDeployment, clock: FixedClock
) -> None:
    """A model outside the key's list does not exist for it."""
    handler = build(clock, {"fast": [make_deployment("a/m")], "big": [make_deployment("a/n")]})
    with pytest.raises(UnknownModel) as caught:
        await handler(make_call(View("big"), principal=Principal("k", "k", models=frozenset({"fast"}))))
    assert "big" in caught.value.message
