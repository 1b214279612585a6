"""A raw server that does as each test says, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from headgate.transport.origin import Origin
from headgate.transport.pool import Pool

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Returns one request's head and body; raises IncompleteReadError at the connection's end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head, await reader.readexactly(length)


class Peer:
    """What the script serves, and what was seen: connections ever made, open now, requests."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.made = 0
        self.open = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        self.made += 1
        self.open += 1
        try:
            await self.script(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            await part(writer)
            self.open -= 1

    async def request(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        self.requests.append(await read_request(reader))
        return self.requests[-1]

    async def gone(self) -> None:
        """Waits until no client connection is open."""
        async with asyncio.timeout(3):
            while self.open:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()
        await asyncio.sleep(0)


class Net:
    """Starts peers and pools, and ends them with the test."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.pools: list[Pool] = []

    async def peer(self, script: Script) -> Peer:
        peer = Peer(script)
        await peer.start()
        self.peers.append(peer)
        return peer

    async def answering(self, *pieces: bytes, then: str = "keep", pause: float = 0.0) -> Peer:
        """A peer that answers each request with ``pieces``; ``then`` is ``keep``, ``close`` or ``reset``."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await peer.request(reader)
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(pause)
                if then == "reset":
                    reset(writer)
                    return
                if then == "close":
                    writer.close()
                    await writer.wait_closed()
                    return

        peer = await self.peer(script)
        return peer

    def pool(self, port: int, **settings) -> Pool:
        pool = Pool(Origin.parse(f"http://127.0.0.1:{port}"), **settings)
        self.pools.append(pool)
        return pool

    async def drained(self, pool: Pool) -> None:
        """Waits until neither side has a connection open."""
        async with asyncio.timeout(3):
            while pool.stats()["open"] or any(peer.open for peer in self.peers):  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        for pool in self.pools:
            await pool.aclose()
        for peer in self.peers:
            await peer.stop()


async def part(writer: asyncio.StreamWriter) -> None:
    """Closes a connection once what was written is out, or after a moment at most."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(0.2):
            await writer.wait_closed()
    writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    await net.stop()


@pytest.fixture
def rst() -> Callable[[asyncio.StreamWriter], None]:
    return reset


async def post(pool: Pool, body: bytes = b"{}", **settings):
    settings.setdefault("connect_timeout", 1.0)
    return await pool.send("POST", b"/v1/x", b"content-type: application/json\r\n", body, **settings)


@pytest.fixture(name="post")
def post_fixture():
    return post
