"""Pool: reuse, limits, waiting, idle expiry, stale connections, proxies for http."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from headgate.core.errors import ConnectFailed, Timeout, UpstreamBroken
from headgate.transport.proxy import Proxy

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


async def slow(reader, writer):
    while True:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        await asyncio.sleep(0.03)
        writer.write(OK)


async def test_last_in_first_out(net, post):
    """The connection used last is used next, so that spare ones can expire."""
    peer = await net.peer(slow)
    pool = net.pool(peer.port)
    await asyncio.gather(*(post(pool) for _ in range(3)))
    assert pool.stats() == {"open": 3, "idle": 3, "waiting": 0, "created": 3, "reused": 0}
    last = list(pool._idle)[-1]
    await post(pool)
    assert list(pool._idle)[-1] is last
    assert pool.stats()["reused"] == 1


async def test_limit_and_waiting(net, post):
    """At the limit requests queue, first come first served, over the same connections."""
    peer = await net.peer(slow)
    pool = net.pool(peer.port, max_connections=2)
    done = []

    async def one(i):
        exchange = await post(pool)
        assert await exchange.read_all(100) == b"hello"
        done.append(i)

    tasks = [asyncio.ensure_future(one(i)) for i in range(6)]
    await asyncio.sleep(0.02)
    assert pool.stats()["waiting"] == 4
    await asyncio.gather(*tasks)
    assert [i // 2 for i in done] == [0, 0, 1, 1, 2, 2]
    assert peer.made == 2


async def test_waiting_is_bounded_and_leaves_no_trace(net, post):
    """Who waits too long, is aborted or cancelled in the queue gets told; the next one is served."""
    peer = await net.peer(slow)
    pool = net.pool(peer.port, max_connections=1)
    first = asyncio.ensure_future(post(pool))
    await asyncio.sleep(0.01)
    with pytest.raises(Timeout) as caught:
        await post(pool, connect_timeout=0.005)
    assert (caught.value.code, caught.value.fault, caught.value.sent) == ("connect_timeout", "gateway", False)
    aborts = []
    aborted = asyncio.ensure_future(post(pool, on_abort=aborts.append))
    cancelled = asyncio.ensure_future(post(pool))
    last = asyncio.ensure_future(post(pool))
    await asyncio.sleep(0.005)
    assert aborts[0].__self__.stage == "queued"
    aborts[0](Timeout("enough"))
    cancelled.cancel()
    with pytest.raises(Timeout):
        await aborted
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await first
    await last
    assert pool.stats()["waiting"] == 0
    assert peer.made == 1


async def test_cancelled_in_the_very_turn(net, post):
    """A waiter cancelled just as a connection comes its way passes it on."""
    peer = await net.peer(slow)
    pool = net.pool(peer.port, max_connections=1)
    connection_holder = await post(pool)
    connection = next(iter(pool._idle))
    pool._idle.clear()
    waiting = asyncio.ensure_future(post(pool))
    behind = asyncio.ensure_future(post(pool))
    await asyncio.sleep(0.01)
    pool.release(connection)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await (await behind).read_all(10) == b"hello"
    assert connection_holder.status == 200


async def test_a_place_freed_by_a_loss(net, post):
    """A connection that closes gives its place to who waits."""
    peer = await net.answering(OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n"), then="close", pause=0.01)
    pool = net.pool(peer.port, max_connections=1)
    exchanges = await asyncio.gather(*(post(pool) for _ in range(4)))
    assert [exchange.reused for exchange in exchanges] == [False] * 4
    assert peer.made == 4


async def test_idle_expiry_and_max_idle(net, post):
    """Idle connections go after their time, on one timer; over `max_idle` none is kept."""
    peer = await net.peer(slow)
    pool = net.pool(peer.port, idle_seconds=0.08, max_idle=2)
    await asyncio.gather(*(post(pool) for _ in range(4)))
    assert pool.stats()["idle"] == 2
    await asyncio.sleep(0.05)
    assert pool.stats()["idle"] == 2
    await net.drained(pool)
    assert pool._sweeper is None


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n"])
async def test_idle_end_is_noticed(net, post, farewell):
    """A peer that closes or speaks while idle is dropped before the next request."""

    async def script(reader, writer):
        await peer.request(reader)
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.write(farewell)

    peer = await net.peer(script)
    pool = net.pool(peer.port)
    assert await (await post(pool)).read_all(10) == b"hello"
    await net.drained(pool)
    assert pool.stats()["idle"] == 0
    exchange = await post(pool)
    assert (exchange.status, exchange.reused) == (200, False)


async def test_end_not_yet_noticed(net, post):
    """A connection idle for long is looked at before it is used, even if the loop has not seen its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        pool = net.pool(listener.getsockname()[1])
        await post(pool)
        next(iter(pool._idle)).idle_since -= 5
        # Blocks the loop on purpose: the end is in the kernel, and nobody has read it.
        time.sleep(0.05)  # noqa: ASYNC251
        exchange = await post(pool)
        assert (exchange.status, exchange.reused) == (200, False)
        thread.join()


async def test_closed_transport_is_replaced(net, post):
    """A kept connection that fails before anything was sent is replaced silently."""
    peer = await net.answering(OK)
    pool = net.pool(peer.port)
    await post(pool)
    next(iter(pool._idle))._transport.abort()
    exchange = await post(pool)
    assert (exchange.status, exchange.reused, pool.stats()["created"]) == (200, False, 2)
    assert len(peer.requests) == 2


@pytest.mark.parametrize("code", ["upstream_reset", "upstream_closed"])
async def test_no_silent_retry_once_sent(net, post, rst, code):
    """A kept connection that breaks after the request went out is an error, `sent`, and no second request."""

    async def script(reader, writer):
        await peer.request(reader)
        writer.write(OK)
        await peer.request(reader)
        if code == "upstream_reset":
            rst(writer)

    peer = await net.peer(script)
    pool = net.pool(peer.port)
    await post(pool)
    with pytest.raises(UpstreamBroken) as caught:
        await post(pool)
    assert (caught.value.code, caught.value.sent) == (code, True)
    assert len(peer.requests) == 2


async def test_refused_and_unknown(net, post):
    """Nobody listening and no such name are ConnectFailed and name the host."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        pool = net.pool(free.getsockname()[1])
        with pytest.raises(ConnectFailed) as caught:
            await post(pool)
    assert (caught.value.code, caught.value.sent) == ("connect_failed", False)
    assert "127.0.0.1" in caught.value.message
    pool = net.pool(1)
    pool._dialer._origin = type(pool.origin)("http", "no-such-host.invalid", 80)
    with pytest.raises(ConnectFailed) as caught:
        await post(pool)
    assert caught.value.code == "name_not_found"
    assert pool.stats()["open"] == 0


async def test_every_address_is_tried(net, post):
    """An address that refuses does not hide the next; what was resolved is not asked for again."""
    peer = await net.answering(OK)
    pool = net.pool(peer.port)
    pool._dialer._addresses = ["127.0.0.9", "127.0.0.1"]
    pool._dialer._resolved_until = time.monotonic() + 30
    assert (await post(pool)).status == 200


async def test_connect_timeout(net, post):
    """A connect that hangs ends with connect_timeout, an abort or a cancellation; nothing stays open."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        pool = net.pool(full.getsockname()[1])
        with pytest.raises(Timeout) as caught:
            await post(pool, connect_timeout=0.05)
        assert (caught.value.code, caught.value.fault) == ("connect_timeout", "upstream")
        aborts = []
        task = asyncio.ensure_future(post(pool, on_abort=aborts.append))
        await asyncio.sleep(0.02)
        assert aborts[0].__self__.stage == "connecting"
        aborts[0](Timeout("enough"))
        with pytest.raises(Timeout):
            await task
        task = asyncio.ensure_future(post(pool))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool._opening == 0
        for filler in fillers:
            filler.close()


async def test_http_through_a_proxy(net, post):
    """A http origin behind a proxy is asked for in absolute form, with the proxy's credentials."""
    peer = await net.answering(OK)
    pool = net.pool(1, proxy=Proxy("127.0.0.1", peer.port, authorization=b"Basic eDp5"))
    assert (await post(pool)).status == 200
    head = peer.requests[0][0]
    assert head.startswith(b"POST http://127.0.0.1:1/v1/x HTTP/1.1\r\nhost: 127.0.0.1:1\r\n")
    assert b"proxy-authorization: Basic eDp5\r\n" in head


async def test_redirects_are_not_followed(net, post):
    """A redirect is an answer like any other."""
    peer = await net.answering(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
    assert (await post(net.pool(peer.port))).status == 302
