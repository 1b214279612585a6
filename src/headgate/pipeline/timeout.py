"""The layer ``timeout``: the five bounds in time of one attempt, on one timer (DESIGN §7)."""

from __future__ import annotations

import asyncio

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.errors import Timeout
from headgate.core.reply import Ending, Reply
from headgate.core.ticker import PERIOD, Ticker

SHORT = 4 * PERIOD
"""Bounds below this (s) get their timer at once."""


def timeout(next: AttemptHandler, ticker: Ticker) -> AttemptHandler:
    """Builds the layer. Connect is the transport's own; the rest is watched here.

    Args:
        next: the layer inside.
        ticker: spares an attempt that is soon over a timer of its own.

    A unary call is bound by ``total`` alone. A stream by ``headers`` until the response head, ``first_content``
    until the commit point, then by ``idle`` while we wait for upstream, and by ``total`` throughout; the call's
    deadline caps them all.

    Raises (from the handler):
        Timeout: before the commit point; after it the Reply raises it.
    """

    loop = ticker.loop

    async def handler(attempt: Attempt) -> Reply:
        watch = _Watch(attempt, loop)
        ticker.add(watch)
        if attempt.deployment.timeouts.shortest < SHORT:
            watch.lasts()
        try:
            reply = await next(attempt)
        except BaseException:
            watch.stop()
            raise
        if watch.stream:
            watch.committed()
            reply.on_end(watch.ended)
        else:
            watch.stop()
        return reply

    return handler


class _Watch:
    """One attempt's bounds. It looks when its timer fires, and sets it again: nothing is done per frame."""

    __slots__ = ("_attempt", "_end", "_loop", "_start", "_timer", "over", "stream")

    def __init__(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        self._attempt = attempt
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.over = False
        self.stream = attempt.call.view.stream
        self._start = loop.time()
        self._end = self._start + attempt.deployment.timeouts.total
        deadline = attempt.call.deadline
        if deadline is not None and deadline < self._end:
            self._end = deadline

    def lasts(self) -> None:
        """The attempt goes on: from here on it has a timer."""
        if self._timer is None:
            self._timer = self._loop.call_at(self._due()[0], self._fire)

    def stop(self) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()

    def ended(self, ending: Ending) -> None:
        self.stop()

    def committed(self) -> None:
        """From here on the idle gap counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._due()[0], self._fire)

    def _due(self) -> tuple[float, str, float]:
        """Returns when the nearest bound is reached, its code, and its length in seconds."""
        attempt, limits = self._attempt, self._attempt.deployment.timeouts
        due, code, length = self._end, "total_timeout", limits.total
        if not self.stream:
            pass
        elif attempt.content_at:
            # Not waiting: look again in one gap's time.
            idle = (attempt.waiting_since or self._loop.time()) + limits.idle
            if idle < due:
                due, code, length = idle, "idle_timeout", limits.idle
        else:
            first = self._start + limits.first_content
            if first < due:
                due, code, length = first, "first_content_timeout", limits.first_content
            headers = self._start + limits.headers
            if not attempt.head_at and headers < due:
                due, code, length = headers, "headers_timeout", limits.headers
        if due == attempt.call.deadline:
            code, length = "deadline_exceeded", due - attempt.call.started
        return due, code, length

    def _fire(self) -> None:
        due, code, length = self._due()
        now = self._loop.time()
        if due > now or (code == "idle_timeout" and not self._attempt.waiting_since):
            self._timer = self._loop.call_at(max(due, now + 0.001), self._fire)
            return
        attempt = self._attempt
        what = code.removesuffix("_timeout").replace("_", " ")
        error = Timeout(
            f"{attempt.deployment.name} took longer than the {length:g} s allowed ({what}).",
            code=code,
            sent=attempt.record.sent,
        )
        if attempt.abort is not None:
            attempt.abort(error)
