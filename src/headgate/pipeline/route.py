"""The layer ``route``: turns the model asked for into a plan, and walks it until an answer has begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

from headgate.core.call import Attempt, Call, Deployment, Handler, Plan, Principal
from headgate.core.clock import Clock
from headgate.core.errors import HeadgateError, Timeout, Unavailable, UnknownModel
from headgate.core.reply import Reply

_CALLERS_OWN_BUT_ELSEWHERE_FINE = frozenset({"context_length", "not_found", "unsupported"})


def route(
    models: Mapping[str, Sequence[Deployment]],
    direct: Callable[[str], Deployment | None],
    clock: Clock,
    keys_exist: Callable[[], bool],
) -> Handler:
    """Builds the layer, the innermost of the call's own; each deployment's chain is inside it.

    Args:
        models: the plan of every configured model, in order.
        direct: makes the deployment for ``provider/model`` addressing, None for an unknown provider.
        clock: for deadlines and start times.
        keys_exist: once True, ``provider/model`` needs a key that allows it.

    Raises (from the handler):
        UnknownModel: not configured, or not this key's to use.
        HeadgateError: of the last deployment tried, when none has answered.
    """
    monotonic = clock.monotonic

    async def handler(call: Call) -> Reply:
        plan = call.plan
        if plan is None:
            name = call.view.model
            deployments = models.get(name)
            principal = call.principal
            if principal is not None and principal.models is not None and name not in principal.models:
                raise _unknown(name, principal.models)
            if deployments is None:
                found = direct(name) if _may_address(principal, keys_exist) else None
                if found is None:
                    raise _unknown(name, models)
                deployments = (found,)
            plan = call.plan = Plan(deployments)
        return await _walk(call, plan)

    async def _walk(call: Call, plan: Plan) -> Reply:
        error: HeadgateError | None = None
        while (deployment := plan.take()) is not None:
            now = monotonic()
            if call.deadline is not None and now >= call.deadline:
                raise error or Timeout("The call's deadline has passed.", code="deadline_exceeded", fault="caller")
            attempt = Attempt(call, deployment, int((now - call.started) * 1e6))
            position = len(call.record.attempts) - 1
            try:
                reply = await deployment.handler(attempt)
            except HeadgateError as failure:
                error = failure
                if not tries_next(failure):
                    raise
                continue
            call.record.winner = position
            return reply
        raise error or Unavailable(f"No deployment is left to try for {call.view.model!r}.", code="plan_exhausted")

    return handler


def tries_next(error: HeadgateError) -> bool:
    """Says whether the next deployment of the plan could do better: not where the request itself is at fault."""
    return error.fault != "caller" or error.code in _CALLERS_OWN_BUT_ELSEWHERE_FINE


def _may_address(principal: Principal | None, keys_exist: Callable[[], bool]) -> bool:
    return principal is None or principal.direct or not keys_exist()


def _unknown(name: str, known: Iterable[str]) -> UnknownModel:
    if not name:
        return UnknownModel("The request names no model; set `model`.", param="model", code="missing_model")
    near = get_close_matches(name, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else "; GET /v1/models lists what there is."
    return UnknownModel(f"The model {name[:100]!r} does not exist here{hint}", param="model")
