"""Pool: the ``Transport`` to one origin, its connections kept alive and counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from headgate.core.errors import BadRequest, ConnectFailed, HeadgateError, Timeout, UpstreamBroken
from headgate.core.outbox import Outbox
from headgate.transport.connection import JOIN_BYTES, Connection
from headgate.transport.dial import Dialer, tls_context
from headgate.transport.exchange import HttpExchange
from headgate.transport.origin import Origin
from headgate.transport.proxy import Proxy

MAX_BODY = 64 * 1024 * 1024
"""Default cap on one decoded response body (bytes)."""

_SUSPECT_SECONDS = 1.0
"""A connection idle for longer is looked at with a system call: its peer may just have closed it."""


class Pool:
    """Connections to one origin. Belongs to the event loop that first uses it.

    Idle connections are reused last in, first out; at the limit, requests queue first in, first out, bounded by
    their connect timeout. A connection found closed is replaced silently as long as nothing of a request was
    sent; after that the error says ``sent`` and the layers above decide. Redirects are never followed.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
        max_connections: int = 1000,
        max_idle: int = 1000,
        idle_seconds: float = 30.0,
        max_body: int = MAX_BODY,
    ) -> None:
        """Args:
        origin: where to; its base path is the caller's to use.
        ca_file: PEM file of further certificate authorities to trust.
        proxy: the HTTP proxy to go through (see ``Proxies.find``), None to go straight.
        max_connections: open at once, being opened included.
        max_idle: kept open without a request.
        idle_seconds: how long such a one is kept, give or take a quarter.
        max_body: cap on a response body that is taken whole, and on one that is decoded (bytes).

        Raises:
            ConfigError: the CA file can not be used.
        """
        self.origin = origin
        self._dialer = Dialer(origin, tls_context(ca_file) if origin.secure else None, proxy)
        self._max_connections = max_connections
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._max_body = max_body
        self._after_target = f" HTTP/1.1\r\nhost: {origin.authority}\r\n".encode()
        self._before_target = b" "
        if proxy is not None and not origin.secure:
            self._before_target = f" http://{origin.authority}".encode()
            if proxy.authorization:
                self._after_target += b"proxy-authorization: " + proxy.authorization + b"\r\n"
        self._starts: dict[bytes, bytes] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: set[Connection] = set()
        # A dict, not a list: last in first out, and any one leaves in constant time.
        self._idle: dict[Connection, None] = {}
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._opening = 0
        self._created = 0
        self._reused = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._empty: asyncio.Future[None] | None = None

    outbox: Outbox
    """Requests on their way to sockets; made with the event loop's first use."""

    async def send(
        self,
        method: str,
        target: bytes,
        headers: bytes,
        body: bytes,
        *,
        connect_timeout: float,
        on_abort: Callable[[Callable[[HeadgateError], None]], None] | None = None,
    ) -> HttpExchange:
        """See ``core.ports.Transport.send``; the connect timeout bounds the wait for a free connection too.

        What ``on_abort`` is given is a bound method of the exchange, which is also the ``Pending``.
        """
        loop = self._loop or self._bind()
        exchange = HttpExchange(loop, self._max_body)
        if on_abort is not None:
            on_abort(exchange.abort)
        small = len(body) <= JOIN_BYTES
        request = self._request(method, target, headers, len(body), body if small else b"")
        while True:
            connection = self._pick() or await self._acquire(exchange, connect_timeout)
            if exchange.error is not None:
                self.release(connection)
                raise exchange.error
            if small:
                begun = connection.write(exchange, request, method == "HEAD")
            else:
                begun = await connection.write_large(exchange, request, body)
            if begun:
                break
            if not connection.used:
                raise UpstreamBroken(f"{self._dialer.who} closed the connection at once.", code="upstream_closed")
        if connection.used:
            exchange.reused = True
            self._reused += 1
        connection.used = True
        while not exchange.status and exchange.error is None:
            # What `exchange.wait()` does, without a coroutine more.
            exchange.waiter = waiter = loop.create_future()
            try:
                await waiter
            except asyncio.CancelledError:
                exchange.waiter = None
                exchange.abort()
                raise
        if not exchange.status and exchange.error is not None:
            raise exchange.error
        return exchange

    async def aclose(self) -> None:
        """Closes every connection, and waits until they are; who queues gets an error. Idempotent."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._waiters:
            self._wake(None)
        for connection in list(self._connections):
            connection.shut()
        self._idle.clear()
        if self._connections:
            self._empty = self._empty or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._empty)

    def stats(self) -> dict[str, int]:
        """Returns ``open``, ``idle`` and ``waiting`` as of now, ``created`` and ``reused`` since the start."""
        return {
            "open": len(self._connections),
            "idle": len(self._idle),
            "waiting": sum(not waiter.done() for waiter in self._waiters),
            "created": self._created,
            "reused": self._reused,
        }

    def _bind(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop)
        return self._loop

    def _request(self, method: str, target: bytes, headers: bytes, size: int, body: bytes) -> bytes:
        """Returns the head, and ``body`` behind it."""
        start = self._starts.get(target) or self._start(target)
        length = b"content-length: %d\r\n" % size if size or method not in ("GET", "HEAD") else b""
        return b"".join((method.encode(), start, length, headers, b"\r\n", body))

    def _start(self, target: bytes) -> bytes:
        """Returns what stands between a request's method and its headers; the targets of a pool are few."""
        if not target.startswith(b"/") or len(target.split()) != 1 or not target.isascii() or b"#" in target:
            raise BadRequest(f"The request target {target[:80]!r} is not a percent-encoded path.", code="bad_target")
        start = self._before_target + target + self._after_target
        if len(self._starts) < 1000:
            self._starts[target] = start
        return start

    # the connections' side

    def release(self, connection: Connection) -> None:
        """Takes a connection back: hands it to who waits longest, or keeps it idle."""
        if connection.closed:
            return
        if self._waiters and self._wake(connection):
            return
        if self._closing or len(self._idle) >= self._max_idle:
            connection.close()
            return
        connection.idle_since = monotonic()
        self._idle[connection] = None
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def retire(self, connection: Connection) -> None:
        """Forgets an idle connection."""
        self._idle.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """A socket is closed: its place is free."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._idle.pop(connection, None)
        if self._waiters:
            self._wake(None)
        if self._empty is not None and not self._connections and not self._empty.done():
            self._empty.set_result(None)

    # opening and queueing

    def _pick(self) -> Connection | None:
        """Returns the idle connection that was used last, if it still is open."""
        idle = self._idle
        while idle:
            connection = idle.popitem()[0]
            if monotonic() - connection.idle_since < _SUSPECT_SECONDS or not connection.readable():
                return connection
            connection.close()
        return None

    async def _acquire(self, exchange: HttpExchange, seconds: float) -> Connection:
        """Opens a connection, or waits for one, as a task of its own that an abort can cancel."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._obtain(exchange, seconds))
        exchange.opening = task
        try:
            return await task
        except asyncio.CancelledError:
            # Cancelled in the very turn in which the connection came: nobody else would take it back.
            if task.done() and not task.cancelled() and task.exception() is None:
                self.release(task.result())
            current = asyncio.current_task()
            if exchange.error is not None and current is not None and not current.cancelling():
                raise exchange.error from None
            raise
        finally:
            exchange.opening = None

    async def _obtain(self, exchange: HttpExchange, seconds: float) -> Connection:
        end = monotonic() + seconds
        again = False
        try:
            async with asyncio.timeout(seconds):
                while not self._closing:
                    if len(self._connections) + self._opening < self._max_connections:
                        exchange.stage = "connecting"
                        return await self._open(end - monotonic())
                    exchange.stage = "queued"
                    connection = await self._queue(front=again)
                    again = True
                    if connection is not None and not connection.closed:
                        return connection
        except TimeoutError:
            raise self._timed_out(exchange.stage, seconds) from None
        raise self._being_closed()

    async def _open(self, seconds: float) -> Connection:
        self._opening += 1
        try:
            connection = await self._dialer.open(self._new, seconds)
            if not connection.closed:
                self._connections.add(connection)
                self._created += 1
        finally:
            self._opening -= 1
            # Failed or cancelled: the place goes to who waits.
            if self._waiters and len(self._connections) + self._opening < self._max_connections:
                self._wake(None)
        if connection.closed:
            raise UpstreamBroken(f"{self._dialer.who} closed the connection at once.", code="upstream_closed")
        if self._closing:
            connection.close()
            raise self._being_closed()
        return connection

    def _new(self) -> Connection:
        return Connection(self, self._dialer.who)

    async def _queue(self, *, front: bool) -> Connection | None:
        """Waits for a connection to become free; None means that there may be room for a new one.

        ``front`` is for who was woken and found the room gone: it keeps its place.
        """
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        if front:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                connection = waiter.result()
                if connection is not None:
                    self.release(connection)
                else:
                    self._wake(None)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _wake(self, connection: Connection | None) -> bool:
        """Hands a connection, or the chance to open one, to who waits longest; False where nobody does."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _sweep(self) -> None:
        """Closes what was idle for too long; runs only while something is idle."""
        self._sweeper = None
        due = monotonic() - self._idle_seconds
        # In order of release, oldest first.
        for connection in list(self._idle):
            if connection.idle_since > due:
                break
            del self._idle[connection]
            connection.close()
        if self._idle and not self._closing:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds / 4, self._sweep)

    def _being_closed(self) -> ConnectFailed:
        return ConnectFailed(f"The connections to {self._dialer.who} are being closed.", fault="gateway")

    def _timed_out(self, stage: str, seconds: float) -> Timeout:
        if stage == "queued":
            return Timeout(
                f"All {self._max_connections} connections to {self._dialer.who} were busy for {seconds:g} s.",
                code="connect_timeout",
                fault="gateway",
                hint="Raise max_connections, or send fewer requests at once.",
            )
        return Timeout(f"No connection to {self._dialer.who} within {seconds:g} s.", code="connect_timeout")
