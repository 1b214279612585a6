"""FairQueue: callers that wait for a place, interactive and batch apart, each for a bounded time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from headgate.core.errors import Unavailable

RATE_SECONDS = 5.0
_LONGEST_HINT = 60.0


class Waiter:
    """One call that waits: ``place`` is set True when it gets a place, or raises why it does not."""

    __slots__ = ("place", "timer")

    def __init__(self, place: asyncio.Future[bool], timer: asyncio.TimerHandle) -> None:
        self.place = place
        self.timer = timer


class FairQueue:
    """Weighted fair queueing over two classes. In a class, who came first is served first.

    Attributes:
        size: calls that wait now.
        shed: calls turned away so far, for want of room or of time.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        batch_share: float,
        monotonic: Callable[[], float],
        give_back: Callable[[], None],
    ) -> None:
        """Args:
        name: the deployment's, for messages.
        limit: most calls that may wait.
        batch_share: part (0..1) of the freed places that batch calls get while interactive ones wait too.
        monotonic: the clock, for the rate at which places become free.
        give_back: takes a place back from a caller that was cancelled in the very moment in which it got it.
        """
        self._give_back = give_back
        self._name = name
        self._limit = limit
        self._batch_share = batch_share
        self._monotonic = monotonic
        self._interactive: deque[Waiter] = deque()
        self._batch: deque[Waiter] = deque()
        self._owed = 0.0
        self._served = 0
        self._rate = 0.0
        self._since = 0.0
        self.shed = 0

    @property
    def size(self) -> int:
        """Calls that wait now."""
        return len(self._interactive) + len(self._batch)

    async def wait(self, seconds: float, *, batch: bool) -> None:
        """Returns once the caller has a place.

        Raises:
            Unavailable: ``queue_full`` at once, or ``queue_timeout`` after ``seconds``; ``retry_after`` is when, at
                the present rate, those who wait will have been served.
        """
        if self.size >= self._limit and not self._make_room(batch=batch):
            raise self._refusal("queue_full", f"{self._limit} calls wait for {self._name} already")
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        waiter = Waiter(place, loop.call_later(seconds, self._expire, place, seconds))
        line = self._batch if batch else self._interactive
        line.append(waiter)
        try:
            await place
        except BaseException:
            if waiter in line:
                line.remove(waiter)
            elif place.done() and not place.cancelled() and place.exception() is None:
                self._give_back()
            raise
        finally:
            waiter.timer.cancel()

    def serve(self) -> bool:
        """Gives a place to whose turn it is; False where nobody waits."""
        while self._interactive or self._batch:
            waiter = self._turn()
            if not waiter.place.done():
                waiter.timer.cancel()
                waiter.place.set_result(True)
                self._count()
                return True
        return False

    def _turn(self) -> Waiter:
        if not self._batch:
            return self._interactive.popleft()
        if not self._interactive:
            return self._batch.popleft()
        self._owed += self._batch_share
        if self._owed >= 1.0:
            self._owed -= 1.0
            return self._batch.popleft()
        return self._interactive.popleft()

    def _make_room(self, *, batch: bool) -> bool:
        """For an interactive call the batch call that came last has to go."""
        if batch or not self._batch:
            return False
        waiter = self._batch.pop()
        waiter.timer.cancel()
        if not waiter.place.done():
            waiter.place.set_exception(self._refusal("queue_full", f"interactive calls fill the queue of {self._name}"))
        return True

    def _expire(self, place: asyncio.Future[bool], seconds: float) -> None:
        if not place.done():
            place.set_exception(
                self._refusal("queue_timeout", f"no place at {self._name} became free within {seconds:g} s")
            )

    def _refusal(self, code: str, why: str) -> Unavailable:
        self.shed += 1
        rate = self._rate or self._served / max(self._monotonic() - self._since, 0.1)
        hint = (self.size + 1) / rate if rate > 0 else _LONGEST_HINT
        return Unavailable(f"Too much is under way: {why}.", code=code, retry_after=max(1.0, min(hint, _LONGEST_HINT)))

    def _count(self) -> None:
        now = self._monotonic()
        if now - self._since >= RATE_SECONDS:
            self._rate = self._served / (now - self._since) if self._served else 0.0
            self._served, self._since = 0, now
        self._served += 1
