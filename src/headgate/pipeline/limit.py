"""The layer ``limit``: how many calls a deployment gets at once, and who waits for a place (DESIGN §2).

The bound adapts: down by a third when the upstream says 429, up by one per round of good answers (AIMD). What the
provider's own headers say is left for this window is heeded too. Waiting here never looks like a sick upstream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.errors import HeadgateError, Unavailable
from headgate.core.reply import Ending, Reply
from headgate.pipeline.queue import FairQueue

UNLIMITED = math.inf
_CUT = 0.7
_CUT_PAUSE = 0.5
"""Seconds in which only the first 429 counts: those sent at the same time tell the same story."""


class Limiter:
    """The decision: who may start now. Places are counted, and for a while the starts that a provider says are left.

    Attributes:
        in_flight: calls under way.
        allowed: most of them; infinite until a fixed bound or a 429 says otherwise.
        shed: calls that were turned away.
    """

    __slots__ = (
        "_adaptive",
        "_ceiling",
        "_credit",
        "_credit_until",
        "_cut_at",
        "_monotonic",
        "_name",
        "_peak",
        "_refill",
        "allowed",
        "batch_wait",
        "bounded",
        "in_flight",
        "queue",
        "wait",
    )

    def __init__(
        self,
        name: str,
        monotonic: Callable[[], float],
        *,
        concurrency: int = 0,
        adaptive: bool = True,
        queue: int = 1000,
        wait: float = 10.0,
        batch_wait: float = 60.0,
        batch_share: float = 0.2,
    ) -> None:
        """Args:
        name: the deployment's, for messages.
        monotonic: the clock.
        concurrency: a fixed upper bound; 0 for none.
        adaptive: whether rate limits and the provider's headers move the bound.
        queue: most calls that wait.
        wait, batch_wait: longest wait (s) of an interactive, a batch call.
        batch_share: see ``FairQueue``.
        """
        self._name = name
        self._monotonic = monotonic
        self._adaptive = adaptive
        self._ceiling: float = concurrency or UNLIMITED
        self.allowed: float = self._ceiling
        self.bounded = bool(concurrency)
        self.in_flight = 0
        self._peak = 0
        self.wait = wait
        self.batch_wait = batch_wait
        self.queue = FairQueue(name, limit=queue, batch_share=batch_share, monotonic=monotonic, give_back=self.release)
        self._cut_at = -math.inf
        self._credit = 0
        self._credit_until = 0.0
        self._refill: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return self.queue.size

    @property
    def full(self) -> bool:
        """Whether a call would have to wait now. ``bounded`` False says so without asking."""
        if self.in_flight >= self.allowed or self.queue.size:
            return True
        return bool(self._credit_until) and self._credit <= 0 and self._monotonic() < self._credit_until

    def take(self) -> None:
        """Takes a place that is free."""
        self.in_flight = under_way = self.in_flight + 1
        if under_way > self._peak:
            self._peak = under_way
        if self._credit_until:
            self._credit -= 1

    async def acquire(self, seconds: float, *, batch: bool) -> None:
        """Waits at most so long for a place, and takes it.

        Raises:
            Unavailable: ``queue_full`` or ``queue_timeout``.
        """
        self._watch_credit()
        await self.queue.wait(seconds, batch=batch)

    def release(self) -> None:
        """Gives a place back, to whoever waits."""
        self.in_flight -= 1
        if self.queue.size:
            self._serve()

    def succeeded(self) -> None:
        """An answer has begun: the bound may rise, if it is what held calls back."""
        if self.allowed < self._ceiling and self.in_flight * 2 >= self.allowed:
            self.allowed = min(self._ceiling, self.allowed + 1.0 / self.allowed)
            if self.queue.size:
                self._serve()

    def limited(self, now: float) -> None:
        """The upstream said 429: fewer at once from here on than there were at most since the last time.

        Not than there are now: a 429 that comes at a quiet moment, for no reason of ours, costs little then.
        """
        if not self._adaptive or now - self._cut_at < _CUT_PAUSE:
            return
        self._cut_at = now
        self.allowed = max(1.0, min(self.allowed, float(self._peak)) * _CUT)
        self._peak = self.in_flight + 1
        self.bounded = True

    def left(self, starts: int, seconds: float) -> None:
        """The provider says that so many more requests may start within ``seconds``."""
        if not self._adaptive or seconds <= 0:
            return
        self._credit = starts
        self._credit_until = self._monotonic() + seconds
        self.bounded = True

    def busy(self) -> Unavailable:
        """Returns the error for a call that goes elsewhere instead of waiting."""
        return Unavailable(f"{self._name} has no place free now.", code="deployment_busy", retry_after=1.0)

    def _serve(self) -> None:
        while self.queue.size and self.in_flight < self.allowed and not self._out_of_credit():
            self.take()
            if not self.queue.serve():
                self.in_flight -= 1
                return

    def _out_of_credit(self) -> bool:
        if not self._credit_until:
            return False
        if self._monotonic() >= self._credit_until:
            self._credit_until = 0.0
            self.bounded = self.allowed < UNLIMITED or bool(self.queue.size)
            return False
        self._watch_credit()
        return self._credit <= 0

    def _watch_credit(self) -> None:
        """Serves those who wait once the provider's window is over."""
        if self._credit_until and self._refill is None:
            loop = asyncio.get_running_loop()
            wait = max(0.001, self._credit_until - self._monotonic())
            self._refill = loop.call_later(wait, self._refilled)

    def _refilled(self) -> None:
        self._refill = None
        self._serve()


def limit(next: AttemptHandler, limiter: Limiter) -> AttemptHandler:
    """Builds the layer for one deployment.

    A call that would have to wait goes to the plan's next deployment if that would take it; a batch call waits.

    Raises (from the handler):
        Unavailable: ``deployment_busy``, ``queue_full`` or ``queue_timeout``; nothing was sent.
    """
    monotonic = limiter._monotonic

    async def handler(attempt: Attempt) -> Reply:
        call = attempt.call
        if limiter.bounded and limiter.full:
            batch, now = call.record.priority == "batch", monotonic()
            if not batch and call.plan is not None and call.plan.has_next(call, now):
                raise attempt.skip(limiter.busy())
            wait = limiter.batch_wait if batch else limiter.wait
            if call.deadline is not None:
                wait = min(wait, max(0.0, call.deadline - now))
            try:
                await limiter.acquire(wait, batch=batch)
            except HeadgateError as error:
                raise attempt.skip(error) from None
        else:
            limiter.take()
        try:
            reply = await next(attempt)
        except HeadgateError as error:
            limiter.release()
            if error.code == "rate_limited" and not attempt.rotated:
                limiter.limited(monotonic())
            raise
        except BaseException:
            limiter.release()
            raise
        if limiter.bounded:
            limiter.succeeded()
        if call.view.stream:
            reply.on_end(partial(_ended, limiter))
        else:
            limiter.release()
        return reply

    return handler


def _ended(limiter: Limiter, ending: Ending) -> None:
    limiter.release()
