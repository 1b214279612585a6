"""The layer ``retry``: tries the same deployment again, after full-jitter backoff and within a budget.

Where the plan has another deployment that would take the call, the call goes there instead, unless retries are to
come first (``eager``). An outage never multiplies its load: each retry is paid for by earlier successes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.clock import Clock
from headgate.core.errors import ConnectFailed, HeadgateError, Timeout, UpstreamBroken, UpstreamError
from headgate.core.reply import Reply

_WAITABLE = frozenset({"rate_limited", "overloaded", "server_error"})
_WORTH_ANOTHER = frozenset({"connect_timeout", "headers_timeout", "first_content_timeout"})
MOST_ROTATIONS = 16
"""Keys of one provider that one call tries at most."""


class Budget:
    """Retries that a deployment has left: a few to begin with, then a part of each success, never more than ten."""

    __slots__ = ("_earned", "left")

    LIMIT = 10.0

    def __init__(self, earned: float) -> None:
        """Args:
        earned: retries that one success pays for (0..1).
        """
        self._earned = earned
        self.left = self.LIMIT if earned else 0.0

    def earn(self) -> None:
        """An attempt succeeded."""
        self.left = min(self.LIMIT, self.left + self._earned)

    def spend(self) -> bool:
        """Takes one retry; False where none is left."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class RetryPolicy:
    """How often, and how long between: ``attempts`` extra tries, waits drawn from 0 to ``base`` x 2^n, at most ``cap``
    seconds; ``eager`` before another deployment of the plan is tried."""

    __slots__ = ("attempts", "base", "cap", "eager")

    def __init__(self, attempts: int = 2, base: float = 0.25, cap: float = 8.0, *, eager: bool = False) -> None:
        self.attempts = attempts
        self.base = base
        self.cap = cap
        self.eager = eager

    def wait(self, tries: int, error: HeadgateError, random: Callable[[], float]) -> float | None:
        """Returns how long to wait (s) before try number ``tries`` + 2, None where it is not worth waiting.

        A delay that the upstream asked for is kept, with jitter on top, so that callers do not come back together.
        """
        jitter = random() * min(self.cap, self.base * 2.0**tries)
        if error.retry_after is None:
            return jitter
        if error.retry_after > self.cap:
            return None
        return error.retry_after + jitter * 0.5


def is_retryable(error: HeadgateError) -> bool:
    """Says whether the same deployment could do better a moment later."""
    if isinstance(error, UpstreamError):
        return error.code in _WAITABLE
    if isinstance(error, Timeout):
        return error.code in _WORTH_ANOTHER and error.fault == "upstream"
    if isinstance(error, UpstreamBroken):
        return error.code != "response_too_large" and error.fault == "upstream"
    return isinstance(error, ConnectFailed) or error.code == "deployment_paused"


def retry(
    next: AttemptHandler, policy: RetryPolicy, budget: Budget, clock: Clock, random: Callable[[], float]
) -> AttemptHandler:
    """Builds the layer for one deployment.

    Args:
        next: the layer inside.
        policy: how often and when.
        budget: the deployment's.
        clock: for the call's deadline.
        random: numbers from 0 to 1, for jitter.

    Raises (from the handler):
        HeadgateError: of the last try.
    """
    monotonic = clock.monotonic

    async def handler(attempt: Attempt) -> Reply:
        try:
            reply = await next(attempt)
        except HeadgateError as error:
            # With its traceback it would hold the frames that hold it.
            error.__traceback__ = None
            failure = error
        else:
            if budget.left < budget.LIMIT:
                budget.earn()
            return reply
        try:
            return await again(attempt, failure)
        finally:
            del failure

    async def again(attempt: Attempt, failure: HeadgateError) -> Reply:
        call, deployment = attempt.call, attempt.deployment
        tries = rotations = 0
        while True:
            if attempt.rotated and rotations < MOST_ROTATIONS:
                rotations += 1
            else:
                wait = _wait(attempt, failure, tries)
                if wait is None:
                    break
                await asyncio.sleep(wait)
                tries += 1
            attempt = Attempt(call, deployment, int((monotonic() - call.started) * 1e6))
            try:
                reply = await next(attempt)
            except HeadgateError as error:
                error.__traceback__ = None
                failure = error
                continue
            budget.earn()
            return reply
        try:
            raise failure
        finally:
            del failure

    def _wait(attempt: Attempt, failure: HeadgateError, tries: int) -> float | None:
        """Returns how long to wait before the next try, None where there is to be none."""
        if tries >= policy.attempts or not is_retryable(failure):
            return None
        now = monotonic()
        call = attempt.call
        plan, deadline = call.plan, call.deadline
        if not policy.eager and plan is not None and plan.has_next(call, now):
            return None
        wait = policy.wait(tries, failure, random)
        if wait is None or (deadline is not None and now + wait >= deadline):
            return None
        # A pause costs the upstream nothing, so it costs no budget either.
        if failure.code != "deployment_paused" and not budget.spend():
            return None
        return wait

    return handler
