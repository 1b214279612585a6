"""The layer ``route``: turns the model asked for into a plan, and walks it until an answer has begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial

from headgate.core.call import Attempt, Call, Deployment, Handler, Plan, Principal
from headgate.core.clock import Clock
from headgate.core.errors import (
    ConnectFailed,
    HeadgateError,
    Timeout,
    Unavailable,
    UnknownModel,
    UpstreamBroken,
    UpstreamError,
)
from headgate.core.reply import Reply
from headgate.pipeline.balance import Group

_CALLERS_OWN_BUT_ELSEWHERE_FINE = frozenset({"context_length", "not_found", "unsupported"})
_NOT_TRIED = frozenset({"breaker_open", "deployment_paused", "deployment_busy", "queue_full", "queue_timeout"})
_KINDS = {Timeout: "timeout", ConnectFailed: "connect_failed", UpstreamBroken: "upstream_broken"}
_QUOTA = "quota"


class Route:
    """What stands behind a model's name: groups of equals in order, and where to go by kind of failure.

    ``deployments`` are all members of the groups, as written.
    """

    __slots__ = ("_first", "_fixed", "_rest", "deployments", "on")

    def __init__(
        self,
        groups: Sequence[Group],
        on: Mapping[str, Sequence[Deployment]] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on: Mapping[str, Sequence[Deployment]] = on or {}
        self.deployments = tuple(deployment for group in groups for deployment in group.deployments)
        fixed: list[Deployment] = []
        left = list(groups)
        while left and left[0].is_fixed:
            fixed += left.pop(0).deployments
        self._fixed = tuple(fixed)
        # Where no fixed step comes first, a group does.
        self._first = left.pop(0) if left and not fixed else None
        self._rest = partial(_order, tuple(left), monotonic) if left else None

    def plan(self, call: Call, now: float) -> Plan:
        """Returns the plan of one call. Later groups are put in order only when a call comes to them."""
        if self._first is None:
            return Plan(self._fixed, self.on, self._rest)
        return Plan(self._first.order(call, now), self.on, self._rest)


def _order(groups: Sequence[Group], monotonic: Callable[[], float], call: Call) -> list[Deployment]:
    now = monotonic()
    return [deployment for group in groups for deployment in group.order(call, now)]


def route(
    models: Mapping[str, Route],
    direct: Callable[[str], Deployment | None],
    clock: Clock,
    keys_exist: Callable[[], bool],
) -> Handler:
    """Builds the layer, the innermost of the call's own; each deployment's chain is inside it.

    Args:
        models: what stands behind every configured model.
        direct: makes the deployment for ``provider/model`` addressing, None for an unknown provider.
        clock: for deadlines and start times.
        keys_exist: once True, ``provider/model`` needs a key that allows it.

    Raises (from the handler):
        UnknownModel: not configured, or not this key's to use.
        HeadgateError: of the last deployment tried, when none has answered.
    """
    monotonic = clock.monotonic

    def _plan(call: Call) -> Plan:
        name = call.view.model
        found = models.get(name)
        principal = call.principal
        if principal is not None and principal.models is not None and name not in principal.models:
            raise unknown_model(name, principal.models)
        if found is not None:
            return found.plan(call, monotonic())
        deployment = direct(name) if _may_address(principal, keys_exist) else None
        if deployment is None:
            raise unknown_model(name, models)
        return Plan((deployment,))

    async def handler(call: Call) -> Reply:
        plan = call.plan
        if plan is None:
            plan = call.plan = _plan(call)
        error: HeadgateError | None = None
        while (deployment := plan.take(call)) is not None:
            now = monotonic()
            if call.deadline is not None and now >= call.deadline:
                break
            attempt = Attempt(call, deployment, int((now - call.started) * 1e6))
            try:
                reply = await deployment.handler(attempt)
            except HeadgateError as failure:
                # With its traceback it would hold this frame, and this frame holds it.
                failure.__traceback__ = None
                # What a deployment answered says more than that another was not even asked.
                if error is None or failure.code not in _NOT_TRIED:
                    error = failure
                if not (plan.on and plan.redirect(kind_of(failure))) and not tries_next(failure):
                    raise
                continue
            call.record.winner = reply.position
            return reply
        try:
            raise error or _unserved(call, monotonic())
        finally:
            error = None

    return handler


def tries_next(error: HeadgateError) -> bool:
    """Says whether the next deployment of the plan could do better: not where the request itself is at fault."""
    return error.fault != "caller" or error.code in _CALLERS_OWN_BUT_ELSEWHERE_FINE


def kind_of(error: HeadgateError) -> str:
    """Returns the kind of failure by which a model's ``on`` speaks of it."""
    if isinstance(error, UpstreamError):
        return "rate_limited" if error.code == _QUOTA else error.code
    return _KINDS.get(type(error), error.code)


def _unserved(call: Call, now: float) -> HeadgateError:
    """The error of a call for which nothing was even tried."""
    if call.deadline is not None and now >= call.deadline:
        return Timeout("The call's deadline has passed.", code="deadline_exceeded", fault="caller")
    return Unavailable(f"No deployment is left to try for {call.view.model!r}.", code="plan_exhausted")


def _may_address(principal: Principal | None, keys_exist: Callable[[], bool]) -> bool:
    return principal is None or principal.direct or not keys_exist()


def unknown_model(name: str, known: Iterable[str]) -> UnknownModel:
    """Returns the error of a call for a model that is not among those that are known."""
    if not name:
        return UnknownModel("The request names no model; set `model`.", param="model", code="missing_model")
    near = get_close_matches(name, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else "; GET /v1/models lists what there is."
    return UnknownModel(f"The model {name[:100]!r} does not exist here{hint}", param="model")
