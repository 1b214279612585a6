"""The layer ``timeout``: the five bounds in time of one attempt, on one timer (DESIGN §7)."""

from __future__ import annotations

import asyncio

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.errors import Timeout
from headgate.core.reply import Ending, Reply


def timeout(next: AttemptHandler) -> AttemptHandler:
    """Builds the layer. Connect is the transport's own; the rest is watched here.

    A unary call is bound by ``total`` alone. A stream by ``headers`` until the response head, ``first_content``
    until the commit point, then by ``idle`` while we wait for upstream, and by ``total`` throughout; the call's
    deadline caps them all.

    Raises (from the handler):
        Timeout: before the commit point; after it the Reply raises it.
    """

    async def handler(attempt: Attempt) -> Reply:
        watch = _Watch(attempt)
        try:
            reply = await next(attempt)
        except BaseException:
            watch.stop()
            raise
        if attempt.content_at:
            watch.committed()
            reply.on_end(watch.ended)
        else:
            watch.stop()
        return reply

    return handler


class _Watch:
    """One attempt's timer. It looks when it fires, and sets itself again: nothing is done per frame."""

    __slots__ = ("_attempt", "_end", "_loop", "_start", "_stream", "_timer")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._stream = attempt.call.view.stream
        self._start = self._loop.time()
        self._end = self._start + attempt.deployment.timeouts.total
        deadline = attempt.call.deadline
        if deadline is not None and deadline < self._end:
            self._end = deadline
        self._timer = self._loop.call_at(self._due()[0], self._fire)

    def stop(self) -> None:
        self._timer.cancel()

    def ended(self, ending: Ending) -> None:
        self._timer.cancel()

    def committed(self) -> None:
        """From here on the idle gap counts."""
        self._timer.cancel()
        self._timer = self._loop.call_at(self._due()[0], self._fire)

    def _due(self) -> tuple[float, str, float]:
        """Returns when the nearest bound is reached, its code, and its length in seconds."""
        attempt, limits = self._attempt, self._attempt.deployment.timeouts
        due, code, length = self._end, "total_timeout", limits.total
        if not self._stream:
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
