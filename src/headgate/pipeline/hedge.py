"""The layer ``hedge``: a second attempt elsewhere when the first is slower to begin than nearly all others were.

After the deployment's running quantile of first-content time, ``next`` is called again and takes the plan's next
deployment. Who begins first wins; the loser is cancelled, and billed as far as it went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from headgate.core.call import Call, Handler
from headgate.core.errors import HeadgateError
from headgate.core.reply import Reply
from headgate.core.ticker import Ticker
from headgate.pipeline.health import Health

_MOST_SAVED = 5.0
_BEYOND = 1.1
"""Times the usual: where most answers begin at nearly the same moment, the quantile lies among them."""


class HedgePolicy:
    """When a model's calls are hedged, and how many of them.

    Attributes:
        quantile: of the first-content time, after which a second attempt starts.
        min_delay: seconds below which none does.
        saved: second attempts that may start now; each call adds ``budget`` (0..1), each second attempt takes one.
        hedged: second attempts so far.
    """

    __slots__ = ("_budget", "hedged", "min_delay", "quantile", "saved")

    def __init__(self, quantile: float = 0.95, budget: float = 0.05, min_delay: float = 0.05) -> None:
        self.quantile = quantile
        self.min_delay = min_delay
        self._budget = budget
        self.saved = 1.0
        self.hedged = 0

    def earn(self) -> None:
        """A call has come."""
        if self.saved < _MOST_SAVED:
            self.saved += self._budget

    def spend(self) -> bool:
        """Takes one second attempt; False where that would be too many."""
        if self.saved < 1.0:
            return False
        self.saved -= 1.0
        self.hedged += 1
        return True

    def delay(self, call: Call) -> float | None:
        """Returns after how many seconds a second attempt makes sense; None while too little is known."""
        plan = call.plan
        if plan is None or not plan.deployments:
            return None
        health = cast("Health | None", plan.deployments[0].health)
        if health is None:
            return None
        times = health.latency.streamed if call.view.stream else health.latency.unary
        usual = times.at(self.quantile)
        return None if usual is None else max(usual * _BEYOND, self.min_delay)

    def refund(self) -> None:
        """A second attempt that was to start did not come to it."""
        self.saved += 1.0
        self.hedged -= 1


def hedge(next: Handler, policies: Mapping[str, HedgePolicy], ticker: Ticker) -> Handler:
    """Builds the layer.

    Args:
        next: the layer inside; called twice, it takes the plan's next deployment.
        policies: of the models that are hedged.
        ticker: spares a call that is soon answered a timer of its own.
    """

    async def handler(call: Call) -> Reply:
        policy = policies.get(call.view.model)
        if policy is None:
            return await next(call)
        policy.earn()
        race = _Race(call, next, policy, ticker)
        try:
            reply = await next(call)
        except (asyncio.CancelledError, HeadgateError) as error:
            reply = await race.lost(error)
        else:
            if race.undisturbed:
                return reply
            await race.drop()
        call.record.winner = reply.position
        return reply

    return handler


class _Race:
    """One call's first attempt, in the caller's own task, and perhaps a second one, in a task beside it."""

    __slots__ = ("_attempts", "_call", "_loop", "_next", "_policy", "_second", "_task", "_timer", "_won", "over")

    def __init__(self, call: Call, next: Handler, policy: HedgePolicy, ticker: Ticker) -> None:
        self._call = call
        self._next = next
        self._policy = policy
        self._loop = ticker.loop
        self._task = call.task or asyncio.current_task()
        self._second: asyncio.Task[Reply] | None = None
        self._attempts = 0
        self._timer: asyncio.TimerHandle | None = None
        self._won: Reply | None = None
        self.over = False
        ticker.add(self)

    @property
    def undisturbed(self) -> bool:
        """Ends the race; True where there never was a second attempt."""
        self._stop()
        return self._second is None

    async def lost(self, error: BaseException) -> Reply:
        """The first attempt was ended, or has failed: returns the second's answer, or raises."""
        self._stop()
        if isinstance(error, HeadgateError):
            return await self._rescued(error)
        if self._won is None or (self._task is not None and self._task.uncancel() > 0):
            # Somebody else's cancellation: the call as such is over.
            await self.drop()
            raise error
        self._learn()
        return self._won

    def lasts(self) -> None:
        """The first attempt has not begun after a moment: from here on it may get company. See ``Ticker``."""
        delay = self._policy.delay(self._call)
        if delay is not None:
            elapsed = self._loop.time() - self._call.started
            self._timer = self._loop.call_later(max(0.0, delay - elapsed), self._fire)

    def _fire(self) -> None:
        plan = self._call.plan
        if self.over or plan is None or not plan.has_next(self._call, self._loop.time()) or not self._policy.spend():
            return
        self._attempts = len(self._call.record.attempts)
        self._second = self._loop.create_task(self._run_second())
        self._second.add_done_callback(self._second_done)

    async def _run_second(self) -> Reply:
        return await self._next(self._call)

    def _second_done(self, second: asyncio.Task[Reply]) -> None:
        if second.cancelled() or second.exception() is not None or self.over:
            return
        self._won = second.result()
        if self._task is not None:
            self._task.cancel()

    def _stop(self) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()

    def _learn(self) -> None:
        """The first attempt took so long at least: left out, the slow ones would make the quantile too quick."""
        plan = self._call.plan
        health = cast("Health | None", plan.deployments[0].health) if plan is not None else None
        if health is not None:
            now = self._loop.time()
            health.latency.observe(now - self._call.started, now, stream=self._call.view.stream)

    async def _rescued(self, error: HeadgateError) -> Reply:
        """The first attempt failed for good; the second may still answer."""
        if self._second is None:
            raise error
        try:
            return await self._second
        except HeadgateError:
            raise error from None
        except asyncio.CancelledError:
            await self.drop()
            raise

    async def drop(self) -> None:
        """Ends the second attempt, which lost, and waits until it has closed its record."""
        second = self._second
        if second is None:
            return
        second.cancel()
        await asyncio.wait({second})
        if len(self._call.record.attempts) == self._attempts:
            self._policy.refund()
        if not second.cancelled() and second.exception() is None:
            await second.result().aclose()
