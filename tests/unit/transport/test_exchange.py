"""One exchange against servers that do nasty things."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib

import pytest

from headgate.core.errors import HeadgateError, Timeout, UpstreamBroken
from headgate.transport import exchange as exchange_module

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def outcome(net, post, *pieces, then="close", pause=0.0, limit=1 << 20, **settings):
    """Sends one request; returns (status, body or error code, sent) and the pool."""
    peer = await net.answering(*pieces, then=then, pause=pause)
    pool = net.pool(peer.port, **settings)
    try:
        exchange = await post(pool)
    except HeadgateError as error:
        return (0, error.code, error.sent), pool
    try:
        body = await exchange.read_all(limit)
    except HeadgateError as error:
        return (exchange.status, error.code, error.sent), pool
    exchange.finish()
    return (exchange.status, body, exchange.sent), pool


async def pieces(exchange):
    """The body of an exchange, read piece by piece."""
    while data := await exchange.read():
        yield data


GOOD = [
    (OK, b"hello"),
    (CHUNKED + b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nx-trailer: 1\r\n\r\n", b"hello"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"hello"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
]


@pytest.mark.parametrize(("wire", "body"), GOOD)
async def test_framings_keep_the_connection(net, post, wire, body):
    """Length, chunks, trailers, 1xx, 204 and 304 are read right and the connection serves again."""
    for _ in range(2):
        got, pool = await outcome(net, post, wire, then="keep")
        assert got[1] == body
        assert pool.stats()["idle"] == 1
        exchange = await post(pool)
        assert exchange.reused
        assert await exchange.read_all(100) == body


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        OK + b"H",
        OK + b"\0",
    ],
)
async def test_no_reuse(net, post, wire):
    """Until-close bodies, HTTP/1.0, connection: close and trailing bytes give the body but no second use."""
    got, pool = await outcome(net, post, wire)
    assert got == (200, b"hello", True)
    await net.drained(pool)
    assert pool.stats()["idle"] == 0


@pytest.mark.parametrize(
    ("wire", "then", "expected"),
    [
        (b"", "close", (0, "upstream_closed", True)),
        (b"", "reset", (0, "upstream_reset", True)),
        (b"HTTP/1.1 200 O", "close", (0, "upstream_closed", True)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "close", (0, "upstream_closed", True)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "close", (200, "body_cut", True)),
        (CHUNKED + b"5\r\nhello\r\n", "close", (200, "body_cut", True)),
        (CHUNKED + b"5\r\nhel", "close", (200, "body_cut", True)),
        (b"garbage\r\n\r\n", "keep", (0, "malformed_response", True)),
        (b"HTTP/1.1 abc\r\n\r\n", "keep", (0, "malformed_response", True)),
        (b"HTTP/1.1 700 X\r\n\r\n", "keep", (0, "malformed_response", True)),
        (b"HTTP/1.1 099 X\r\n\r\n", "keep", (0, "malformed_response", True)),
        (b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "keep", (0, "malformed_response", True)),
        (b"HTTP/1.1 200 OK\r\na b\r\n\r\n", "keep", (0, "malformed_response", True)),
        (CHUNKED[:-2] + b"content-length: 5\r\n\r\n", "keep", (0, "malformed_response", True)),
        (OK[:17] + b"content-length: 5\r\n" + OK[17:], "keep", (0, "malformed_response", True)),
        (OK.replace(b": 5", b": 5, 5"), "keep", (0, "malformed_response", True)),
        (OK.replace(b": 5", b": -5"), "keep", (0, "malformed_response", True)),
        (CHUNKED.replace(b"chunked", b"gzip, chunked"), "keep", (0, "malformed_response", True)),
        (CHUNKED.replace(b"chunked", b"chunked, chunked"), "keep", (0, "malformed_response", True)),
        (CHUNKED + b"zz\r\nhello", "keep", (200, "malformed_response", True)),
        (OK[:17] + b"content-encoding: br\r\n" + OK[17:], "keep", (0, "unknown_encoding", True)),
        (OK[:17] + b"x: " + b"y" * 70000 + b"\r\n" + OK[17:], "keep", (0, "headers_too_large", True)),
        (OK[:17] + b"x: y\r\n" * 300 + OK[17:], "keep", (0, "headers_too_large", True)),
        (OK[:17] + b"x: y\r\n" * 300, "keep", (0, "headers_too_large", True)),
        (b"HTTP/1.1 100 C\r\n\r\n" * 300, "keep", (0, "headers_too_large", True)),
        (b"HTTP/1.1 103 C\r\na: b\r\n\r\n" * 200, "keep", (0, "headers_too_large", True)),
        (CHUNKED + b"0\r\n" + b"x: y\r\n" * 300, "keep", (200, "headers_too_large", True)),
        (CHUNKED + b"1\r\na\r\n1;" + b"e" * 200_000, "keep", (200, "headers_too_large", True)),
    ],
)
@pytest.mark.parametrize("pause", [0.0, None], ids=["at once", "in pieces"])
async def test_broken_responses(net, post, wire, then, expected, pause):
    """Every way to break the protocol has its code, says `sent`, and leaves no connection, cut anyhow."""
    step = max(1, len(wire) // 7)
    pieces = [wire] if pause == 0.0 else [wire[i : i + step] for i in range(0, len(wire), step)]
    got, pool = await outcome(net, post, *pieces, then=then)
    assert got == expected
    await net.drained(pool)


async def test_reset_in_the_body(net, post):
    """A reset in the middle of a body is a cut, an until-close one too."""
    for wire in (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", b"HTTP/1.1 200 OK\r\n\r\nhello"):
        got, _ = await outcome(net, post, wire, b"", then="reset", pause=0.02)
        assert got == (200, "body_cut", True)


async def test_bytes_before_the_cut_come_out(net, post):
    """What came before a cut is delivered before the error."""
    peer = await net.answering(CHUNKED + b"5\r\nhello\r\n", then="close")
    exchange = await post(net.pool(peer.port))
    assert await exchange.read() == b"hello"
    with pytest.raises(UpstreamBroken):
        await exchange.read()


async def test_head_has_no_body(net):
    """A HEAD answer ends with its head, whatever length it names, and the connection serves on."""
    peer = await net.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-encoding: br\r\n\r\n")
    pool = net.pool(peer.port)
    for _ in range(3):
        exchange = await pool.send("HEAD", b"/", b"", b"", connect_timeout=1)
        assert await exchange.read() == b""
    assert pool.stats()["created"] == 1
    assert b"content-length" not in peer.requests[0][0]


async def test_request_on_the_wire(net, post):
    """One head, framed by us; repeated response headers are joined, names in lower case."""
    peer = await net.answering(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\ncontent-length: 0\r\n\r\n")
    exchange = await post(net.pool(peer.port), b"{}")
    assert peer.requests == [
        (
            b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: 2\r\n"
            b"content-type: application/json\r\n\r\n" % peer.port,
            b"{}",
        )
    ]
    assert exchange.headers == {b"x-a": b"1, 2", b"empty": b"", b"content-length": b"0"}


@pytest.mark.parametrize("target", [b"/a b", b"/a\r\nx: y", b"", b"http://x/", b"/\xff", b"/#f"])
async def test_targets_can_not_smuggle(net, target):
    """A target that would break the request line is refused before anything is sent."""
    pool = net.pool(1)
    with pytest.raises(HeadgateError) as caught:
        await pool.send("GET", target, b"", b"", connect_timeout=1)
    assert caught.value.code == "bad_target"


async def test_gzip_and_bombs(net, post):
    """gzip is decoded; a bomb stops at the cap, a stream in steps of at most 64 KiB."""
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    wire = gzip.compress(b"hello" * 1000)
    got, _ = await outcome(net, post, head % len(wire) + wire, then="keep")
    assert got == (200, b"hello" * 1000, True)
    bomb = gzip.compress(bytes(3_000_000))
    got, _ = await outcome(net, post, head % len(bomb) + bomb, then="keep", max_body=1_000_000)
    assert got == (200, "response_too_large", True)
    got, _ = await outcome(net, post, head % len(bomb) + bomb, then="keep", limit=100_000)
    assert got == (200, "response_too_large", True)
    peer = await net.answering(head % len(bomb) + bomb)
    exchange = await post(net.pool(peer.port))
    sizes = []
    while data := await exchange.read():
        sizes.append(len(data))
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= 65536
    cut = zlib.compress(b"hello")[:-2]
    got, _ = await outcome(net, post, head.replace(b"gzip", b"deflate") % len(cut) + cut, then="keep")
    assert got == (200, "body_cut", True)


async def test_body_limit(net, post):
    """A plain body over the limit is refused where it is taken whole; piece by piece it may be of any length."""
    for wire in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + bytes(5000),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000),
    ):
        got, _ = await outcome(net, post, wire, limit=4999)
        assert got == (200, "response_too_large", True)
        got, _ = await outcome(net, post, wire, max_body=4999)
        assert got == (200, "response_too_large", True)
        exchange = await post(net.pool((await net.answering(wire, then="close")).port, max_body=4999))
        assert sum([len(data) async for data in pieces(exchange)]) == 5000


async def test_a_bomb_read_piece_by_piece_stops_at_the_cap(net, post):
    """What is decoded has a cap, however it is taken."""
    bomb = gzip.compress(bytes(3_000_000))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    exchange = await post(net.pool((await net.answering(head + bomb)).port, max_body=1_000_000))
    with pytest.raises(UpstreamBroken) as caught:
        [len(data) async for data in pieces(exchange)]
    assert caught.value.code == "response_too_large"


async def test_reading_back_pressure(net, post):
    """A reader that takes nothing stops the upstream; taking again gets every byte."""
    total = 30_000_000
    written = 0

    async def script(reader, writer):
        nonlocal written
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // 100_000):
            writer.write(bytes(100_000))
            await writer.drain()
            written += 100_000

    peer = await net.peer(script)
    exchange = await post(net.pool(peer.port))
    await asyncio.sleep(0.15)
    assert written < total
    assert exchange.held < 1_000_000
    size = 0
    while data := await exchange.read():
        size += len(data)
    assert size == total


async def test_writing_back_pressure(net, post):
    """A body of many MB waits for a slow reader, `sent` only turns true when the socket has it all."""
    go = asyncio.Event()
    body = bytes(range(256)) * 80_000

    async def script(reader, writer):
        await go.wait()
        await peer.request(reader)
        writer.write(OK)
        await asyncio.sleep(1)

    peer = await net.peer(script)
    aborts = []
    task = asyncio.ensure_future(post(net.pool(peer.port), body, on_abort=aborts.append))
    await asyncio.sleep(0.1)
    pending = aborts[0].__self__
    assert (pending.stage, pending.sent) == ("sending", False)
    go.set()
    exchange = await task
    assert pending.sent
    assert await exchange.read_all(100) == b"hello"
    assert peer.requests[0][1] == body


async def test_early_response(net, post):
    """A response before the request is out whole is delivered, `sent` false, the connection not used again."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.sleep(1)

    peer = await net.peer(script)
    pool = net.pool(peer.port)
    exchange = await post(pool, bytes(20_000_000))
    assert (exchange.status, await exchange.read_all(100), exchange.sent) == (413, b"big", False)
    await asyncio.sleep(0.01)
    assert pool.stats()["open"] == 0


async def test_reset_while_sending(net, post, rst):
    """A reset in the middle of a large request is not `sent`."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        rst(writer)

    peer = await net.peer(script)
    with pytest.raises(UpstreamBroken) as caught:
        await post(net.pool(peer.port), bytes(20_000_000))
    assert (caught.value.code, caught.value.sent) == ("upstream_reset", False)


async def silent(reader, writer):
    await reader.read(-1)


async def half_head(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await reader.read(-1)


async def half_body(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(CHUNKED + b"5\r\nhello\r\n")
    await reader.read(-1)


@pytest.mark.parametrize(("script", "size"), [(silent, 2), (half_head, 2), (half_body, 2), (silent, 20_000_000)])
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_aborts_leave_nothing_open(net, post, script, how, size):
    """An abort raises its error where it waits, a cancellation closes too, at every stage, at once."""

    async def held(reader, writer):
        if size > 100:
            await asyncio.sleep(0.1)
        await script(reader, writer)

    peer = await net.peer(held)
    pool = net.pool(peer.port)
    aborts = []

    async def whole():
        exchange = await post(pool, bytes(size), on_abort=aborts.append)
        while await exchange.read():
            pass

    task = asyncio.ensure_future(whole())
    await asyncio.sleep(0.05)
    if how == "abort":
        aborts[0](Timeout("late"))
        aborts[0](Timeout("later"))
        with pytest.raises(Timeout) as caught:
            await task
        assert caught.value.message == "late"
        assert caught.value.sent is (size == 2)
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await net.drained(pool)


async def test_abort_at_once_and_late(net, post):
    """An abort inside `on_abort` stops before anything is sent; one after the end changes nothing."""
    peer = await net.answering(OK)
    pool = net.pool(peer.port)
    with pytest.raises(Timeout):
        await post(pool, on_abort=lambda abort: abort(Timeout("now")))
    assert peer.requests == []
    exchange = await post(pool)
    assert await exchange.read_all(100) == b"hello"
    exchange.abort(Timeout("late"))
    exchange.finish()
    assert await exchange.read() == b""
    assert pool.stats()["idle"] == 1


@pytest.mark.parametrize(
    ("rest", "kept"),
    [(b"0\r\n\r\n", True), (b"1\r\n\n\r\n0\r\n\r\n", True), (b"", False), (b"800\r\n" + bytes(2048) + b"\r\n", False)],
)
async def test_finish_at_the_marker(net, post, monkeypatch, rest, kept):
    """After `finish` the last chunk has a moment to come; more body, or silence, closes the connection."""
    monkeypatch.setattr(exchange_module, "LINGER_SECONDS", 0.1)
    peer = await net.answering(CHUNKED + b"5\r\nhello\r\n", rest, pause=0.03)
    pool = net.pool(peer.port)
    exchange = await post(pool)
    assert await exchange.read() == b"hello"
    exchange.finish()
    exchange.finish()
    await asyncio.sleep(0.15)
    assert pool.stats()["idle"] == pool.stats()["open"] == int(kept)


async def test_finish_early(net, post):
    """`finish` with an until-close body, or much of it unread, closes at once."""
    for wire in (b"HTTP/1.1 200 OK\r\n\r\nhello", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + bytes(5000)):
        peer = await net.answering(wire)
        pool = net.pool(peer.port)
        (await post(pool)).finish()
        await net.drained(pool)


async def test_no_delay(net, post):
    """TCP_NODELAY is on."""
    peer = await net.answering(OK)
    pool = net.pool(peer.port)
    await post(pool)
    (connection,) = pool._idle
    sock = connection._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_closing_the_pool_ends_what_runs(net, post):
    """A pool that closes gives waiting readers an error and leaves nothing open."""
    peer = await net.peer(silent)
    pool = net.pool(peer.port)
    task = asyncio.ensure_future(post(pool))
    await asyncio.sleep(0.03)
    await pool.aclose()
    with pytest.raises(UpstreamBroken) as caught:
        await task
    assert caught.value.fault == "gateway"
    with pytest.raises(HeadgateError):
        await post(pool)
