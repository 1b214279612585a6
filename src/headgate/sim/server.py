"""The simulator's server: listeners that can refuse and break TLS, and all connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from headgate.sim.behaviour import Behaviour
from headgate.sim.connection import Connection
from headgate.sim.engine import Sim
from headgate.sim.play import Hit
from headgate.sim.tls import TlsListener
from headgate.sim.wheel import Wheel

_WATCH = 0.05
_BACKLOG = 4096


class SimServer:
    """A running simulator; make one by ``serve``.

    Attributes:
        sim: the engine: ``sim.load(behaviour)`` changes what it does, ``sim.meter`` says what it saw.
        host, port: where it listens.
        url: its origin, e.g. ``http://127.0.0.1:9000``, without ``/v1``.
    """

    def __init__(self, sim: Sim, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.sim = sim
        self.host, self.port = host, port
        self.wheel = Wheel(self.loop)
        self._tls = tls
        self._listener: asyncio.Server | TlsListener | None = None
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._refuse_until = self._break_tls_until = 0.0
        self._watcher: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The origin to point clients at."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Opens the listener.

        Raises:
            OSError: the port is taken.
        """
        await self._listen()
        self._watcher = asyncio.create_task(self._watch())

    async def aclose(self) -> None:
        """Closes the listener and resets every connection."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        listener = self._listener
        self._unlisten()
        if isinstance(listener, TlsListener):
            await listener.wait_closed()
        for connection in tuple(self._connections):
            connection.close()
        await self._empty.wait()

    def hit(self, hit: Hit, seconds: float) -> None:
        """Refuses connections, or breaks TLS, for so many seconds."""
        until = self.loop.time() + seconds
        if hit is Hit.REFUSE:
            self._refuse_until = max(self._refuse_until, until)
            self._unlisten()
        else:
            self._break_tls_until = max(self._break_tls_until, until)

    def opened(self, connection: Connection) -> None:
        """A connection is open."""
        self._connections.add(connection)
        self._empty.clear()
        self.sim.meter.connect()

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        self.sim.meter.live_connections -= 1
        if not self._connections:
            self._empty.set()

    def breaks_tls(self) -> bool:
        """Whether handshakes are to fail now."""
        return self.loop.time() < self._break_tls_until or self.sim.scheduled("tls-failure")

    async def _listen(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
            self.port = listening.getsockname()[1]
            if self._tls is not None:
                listening.listen(_BACKLOG)
                self._listener = TlsListener(listening, self._tls, lambda: Connection(self), self.breaks_tls)
            else:
                self._listener = await self.loop.create_server(
                    lambda: Connection(self), sock=listening, backlog=_BACKLOG
                )
        except BaseException:
            listening.close()
            raise

    def _unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _watch(self) -> None:
        """Closes and reopens the listener as faults and schedules ask, within a twentieth of a second."""
        while True:
            await asyncio.sleep(_WATCH)
            scheduled = self.sim.scheduled("refuse")
            if scheduled and self._listener is not None:
                self._unlisten()
                for connection in tuple(self._connections):
                    connection.close()
            elif self._listener is None and not scheduled and self.loop.time() >= self._refuse_until:
                try:
                    await self._listen()
                except OSError:
                    continue  # somebody else has the port for now; try again at the next turn


async def serve(
    behaviour: Behaviour | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
) -> SimServer:
    """Starts a simulator on the running loop and returns it, listening; end it by ``aclose``.

    Args:
        behaviour: what it does; None: echoes at once.
        host: address to listen on.
        port: 0 takes a free one.
        tls: makes it an HTTPS server.

    Raises:
        OSError: the port is taken.
    """
    server = SimServer(Sim(behaviour), host, port, tls)
    await server.start()
    return server
