"""A TLS listener that can fail handshakes: it accepts by itself, so that it can answer a ClientHello with an alert."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import cast

_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # a fatal TLS alert: handshake_failure (RFC 8446, 6.2)
_AT_ONCE = 64


class TlsListener:
    """Accepts on a listening socket, and does the handshakes, or breaks them while ``breaks()`` says so."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        factory: Callable[[], asyncio.Protocol],
        breaks: Callable[[], bool],
    ) -> None:
        """Starts at once; ``factory`` makes the protocol of a connection whose handshake is done."""
        self._loop = asyncio.get_running_loop()
        self._listening, self._context = listening, context
        self._factory, self._breaks = factory, breaks
        self._handshakes: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        self._loop.add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Stops listening and gives up the handshakes under way."""
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening.fileno())
            self._listening.close()
        for handshake in tuple(self._handshakes):
            handshake.cancel()

    async def wait_closed(self) -> None:
        """Waits until no handshake is under way."""
        if self._handshakes:
            await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return  # none left, or it went away before it was taken
            task = asyncio.create_task(self._handshake(accepted))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        # A handshake that the client breaks off is the client's affair.
        with contextlib.suppress(OSError):
            if self._breaks():
                await self._loop.connect_accepted_socket(_Alarmist, accepted)
            else:
                await self._loop.connect_accepted_socket(self._factory, accepted, ssl=self._context)


class _Alarmist(asyncio.Protocol):
    """Answers whatever comes first with a fatal alert."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted; the ClientHello comes next."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """It came."""
        self._transport.write(_ALERT)
        self._transport.close()
