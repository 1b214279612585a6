"""Watches one request from the side: a slow body, a client that left or takes nothing, a long silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headgate.config.settings import ServerSettings
from headgate.core.call import Call
from headgate.core.errors import HeadgateError, Timeout
from headgate.core.ticker import Ticker
from headgate.server.caller import Caller

READING_LOOK = 0.05
"""Seconds between two looks at a request whose body is still coming."""


class Limits:
    """The bounds of a client connection, in seconds (``body``: to send the request, ``write``: to take a piece of
    the answer, ``heartbeat``: of silence before a comment goes out, ``drain``: to end after SIGTERM) and bytes
    (``body_bytes``)."""

    __slots__ = ("body", "body_bytes", "drain", "heartbeat", "write")

    def __init__(
        self,
        body: float = 60.0,
        write: float = 30.0,
        heartbeat: float = 15.0,
        body_bytes: int = 32 * 1024 * 1024,
        drain: float = 30.0,
    ) -> None:
        self.body = body
        self.write = write
        self.heartbeat = heartbeat
        self.body_bytes = body_bytes
        self.drain = drain

    @classmethod
    def of(cls, server: ServerSettings) -> Limits:
        """Returns the limits that these settings ask for."""
        return cls(
            server.body_seconds,
            server.slow_client_seconds,
            server.heartbeat_seconds,
            server.body_limit,
            server.drain_seconds,
        )


class Guard:
    """Looks at what a request is doing, once it has lasted a moment, and ends it when it must.

    Attributes:
        now: the loop's clock.
        over: True once the request has ended.
        reading: True while the body is being received.
        silent_since: since when nothing has gone to a streaming client (loop time); 0.0 for a unary call.
        sending_since: since when a write has been waiting for the client; 0.0 while none is.
        beat: breaks a long silence; None for a unary call, and once the response is about to end.
        beating: a beat under way, which nothing else may be written into; None while there is none.
        why: why the guard cancelled the request: ``"slow_body"``, ``"gone"``, ``"slow_client"``, ``"draining"``;
            ``""`` if it did not.
    """

    __slots__ = (
        "_call",
        "_caller",
        "_limits",
        "_loop",
        "_started",
        "_task",
        "_timer",
        "beat",
        "beating",
        "now",
        "over",
        "reading",
        "sending_since",
        "silent_since",
        "why",
    )

    def __init__(self, ticker: Ticker, caller: Caller, limits: Limits, call: Call) -> None:
        self._loop = loop = ticker.loop
        self.now = loop.time
        self.over = False
        self._call = call
        self._caller = caller
        self._limits = limits
        self._started = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._task = call.task = caller.task
        self.beat: Callable[[], Awaitable[None]] | None = None
        self.beating: asyncio.Task[None] | None = None
        self.reading = True
        self.silent_since = 0.0
        self.sending_since = 0.0
        self.why = ""
        ticker.add(self)

    def stop(self) -> None:
        """The request is over."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._caller.unwatch()
            if self.beating is not None:
                self.beating.cancel()

    def lasts(self) -> None:
        """The request goes on: from here on it is looked after."""
        self._timer = self._loop.call_later(0, self._look)

    def cancel(self, why: str, error: HeadgateError | None = None) -> None:
        """Ends the request; ``error`` is what its Record says of it."""
        if self.over or self.why:
            return
        self.why = why
        self._call.cut = error
        if self._task is not None:
            self._task.cancel()

    async def beaten(self) -> None:
        """Waits for a beat under way, so that nothing is written into it."""
        if self.beating is not None:
            await asyncio.wait((self.beating,))

    async def hush(self) -> None:
        """Lets no further beat begin, and one under way end: what comes next ends the response."""
        self.beat = None
        if self.beating is not None:
            if self.why:
                # The client may be what it waits for, and there is no time for that now.
                self.beating.cancel()
            await asyncio.wait((self.beating,))

    def _gone(self) -> None:
        self.cancel("gone")

    def _look(self) -> None:
        now, limits = self._loop.time(), self._limits
        pause = min(1.0, limits.body, limits.write, limits.heartbeat)
        if self.reading:
            if now - self._started >= limits.body:
                return self.cancel("slow_body")
            pause = min(pause, READING_LOOK)
        else:
            self._caller.watch(self._gone)
            if self.sending_since and now - self.sending_since >= limits.write:
                return self.cancel("slow_client", _slow_client(limits.write))
            if self.silent_since and self.beat is not None and self.beating is None and not self.sending_since:
                wait = limits.heartbeat - (now - self.silent_since)
                if wait <= 0.001:
                    self.silent_since = now
                    self.beating = self._loop.create_task(self._beat())
                else:
                    pause = min(pause, wait)
        if not self.over and not self.why:
            self._timer = self._loop.call_later(pause, self._look)
        return None

    async def _beat(self) -> None:
        try:
            # The response may have come to its end since this was scheduled.
            if self.beat is not None and not self.over:
                self.sending_since = self._loop.time()
                await self.beat()
        finally:
            self.sending_since = 0.0
            self.beating = None


def _slow_client(seconds: float) -> Timeout:
    return Timeout(f"The client took nothing for {seconds:g} s.", code="slow_client", fault="caller", sent=True)
