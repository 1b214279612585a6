"""TLS and tunnels: verified, named, bounded in time, and errors that say what is wrong."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from headgate.core.errors import ConfigError, ConnectFailed, Timeout
from headgate.transport.dial import tls_context
from headgate.transport.origin import Origin
from headgate.transport.pool import Pool
from headgate.transport.proxy import Proxy

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


class Secure:
    """A TLS server on 127.0.0.1 that answers, and notes the names asked for by SNI."""

    def __init__(self, authority, *names):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self.context)
        self.names = []
        self.context.sni_callback = lambda obj, name, context: self.names.append(name)
        self.heads = []
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await self.server.wait_closed()
        await asyncio.sleep(0.01)

    async def serve(self, reader, writer):
        self.writers.append(writer)
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(2)
                writer.write(OK)
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()


async def connect_proxy(reader, writer, heads, answer=b"HTTP/1.1 200 Established\r\n\r\n"):
    """A CONNECT proxy in a dozen lines."""
    heads.append(await reader.readuntil(b"\r\n\r\n"))
    writer.write(answer)
    if b" 200 " not in answer:
        return
    _, _, port = heads[-1].split(b" ")[1].rpartition(b":")
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))

    async def pump(source, sink):
        try:
            while data := await source.read(65536):
                sink.write(data)
        finally:
            sink.transport.abort()

    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)


def pool_at(net, host, port, **settings):
    pool = Pool(Origin.parse(f"https://{host}:{port}"), **settings)
    net.pools.append(pool)
    return pool


async def test_verified_with_sni(net, post, authority, ca_file):
    """A server whose certificate fits its name is used and kept; the name is sent by SNI."""
    async with Secure(authority, "localhost") as server:
        pool = pool_at(net, "localhost", server.port, ca_file=ca_file)
        for _ in range(3):
            assert await (await post(pool)).read_all(10) == b"hello"
        assert server.names == ["localhost"]
        assert pool.stats()["reused"] == 2
        await pool.aclose()


@pytest.mark.parametrize("trusted", [True, False])
async def test_not_verified(net, post, authority, ca_file, trusted):
    """An unknown authority, or a certificate for another name, is ConnectFailed with the reason and the host."""
    async with Secure(authority, "other.example") as server:
        pool = pool_at(net, "localhost", server.port, ca_file=ca_file if trusted else None)
        with pytest.raises(ConnectFailed) as caught:
            await post(pool)
        assert (caught.value.code, caught.value.sent) == ("tls_failed", False)
        assert "localhost" in caught.value.message
        assert ("mismatch" in caught.value.message.lower()) is trusted
        assert server.heads == []
        assert pool.stats()["open"] == pool._opening == 0


async def test_no_tls_there(net, post):
    """A server that speaks plain text, or hangs up in the handshake, is tls_failed."""
    for answer in (b"HTTP/1.1 400 Bad\r\n\r\n", b""):

        async def script(reader, writer, answer=answer):
            await reader.read(1)
            writer.write(answer)

        peer = await net.peer(script)
        with pytest.raises(ConnectFailed) as caught:
            await post(pool_at(net, "127.0.0.1", peer.port))
        assert caught.value.code == "tls_failed"


async def test_silent_handshake(net, post):
    """A handshake that hangs is bounded by the connect timeout, and leaves nothing open."""

    async def script(reader, writer):
        await reader.read(-1)

    peer = await net.peer(script)
    pool = pool_at(net, "127.0.0.1", peer.port)
    with pytest.raises(Timeout) as caught:
        await post(pool, connect_timeout=0.1)
    assert caught.value.code == "connect_timeout"
    task = asyncio.ensure_future(post(pool))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await net.drained(pool)


def test_ca_file_errors(tmp_path):
    """A CA file that is missing or holds no certificate is a ConfigError that names it."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for path in (str(tmp_path / "none.pem"), str(junk)):
        with pytest.raises(ConfigError) as caught:
            tls_context(path)
        assert path in caught.value.message


async def test_tunnel(net, post, authority, ca_file):
    """A https origin behind a proxy: CONNECT with credentials, TLS with the origin inside, kept alive."""
    heads = []
    peer = await net.peer(lambda reader, writer: connect_proxy(reader, writer, heads))
    async with Secure(authority, "localhost") as server:
        proxy = Proxy("127.0.0.1", peer.port, authorization=b"Basic eDp5")
        pool = pool_at(net, "localhost", server.port, ca_file=ca_file, proxy=proxy)
        for _ in range(2):
            assert await (await post(pool)).read_all(10) == b"hello"
        where = f"localhost:{server.port}".encode()
        assert heads == [b"CONNECT %b HTTP/1.1\r\nhost: %b\r\nproxy-authorization: Basic eDp5\r\n\r\n" % (where, where)]
        assert b"proxy-authorization" not in server.heads[0]
        assert server.heads[0].startswith(b"POST /v1/x ")
        await pool.aclose()
        await peer.gone()


async def test_tunnel_over_tls(net, post, authority, ca_file, monkeypatch):
    """A https proxy: TLS with the proxy, then TLS with the origin inside it."""
    heads = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def serve(reader, writer):
        await connect_proxy(reader, writer, heads)

    front = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with Secure(authority, "localhost") as server:
        proxy = Proxy("localhost", front.sockets[0].getsockname()[1], secure=True)
        pool = pool_at(net, "localhost", server.port, ca_file=ca_file, proxy=proxy)
        pool._dialer._proxy_tls = tls_context(ca_file)
        for _ in range(2):
            assert await (await post(pool)).read_all(10) == b"hello"
        assert len(heads) == 1
        await pool.aclose()
        front.close()
        await front.wait_closed()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Auth\r\n\r\n", "407"),
        (b"", "closed"),
        (b"SSH-2.0 hello\r\n\r\n", "HTTP"),
        (b"x" * 20000, "HTTP"),
    ],
)
async def test_proxy_refuses(net, post, answer, word):
    """A proxy that refuses, hangs up or is none is ConnectFailed (proxy_failed), and its connection closed."""
    heads = []
    peer = await net.peer(lambda reader, writer: connect_proxy(reader, writer, heads, answer))
    pool = pool_at(net, "api.example", 443, proxy=Proxy("127.0.0.1", peer.port, authorization=b"Basic aHVzaA=="))
    with pytest.raises(ConnectFailed) as caught:
        await post(pool)
    assert (caught.value.code, caught.value.sent) == ("proxy_failed", False)
    assert word in caught.value.message
    assert "aHVzaA" not in str(caught.value)
    await net.drained(pool)
