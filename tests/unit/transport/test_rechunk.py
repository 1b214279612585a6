"""How a response is cut into segments never changes what comes out."""

from __future__ import annotations

import asyncio
import gzip
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import UpstreamBroken
from headgate.transport.connection import Connection
from headgate.transport.exchange import HttpExchange

ZIPPED = gzip.compress(b"hello, hello, hello", mtime=0)
WIRES = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
]


class Owner:
    def __init__(self):
        self.released = 0
        self.outbox = self

    def post(self, put, data):
        put(data)

    def release(self, connection):
        self.released += 1

    def retire(self, connection):
        pass

    def lost(self, connection):
        pass


class Wire:
    """A transport that takes everything and closes when told."""

    def __init__(self):
        self.closed = False

    def set_write_buffer_limits(self, high, low):
        pass

    def write(self, data):
        pass

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def receive(pieces):
    """Returns status, headers, body or bytes before the error, its code, and whether the connection is kept."""
    owner, wire = Owner(), Wire()
    connection = Connection(owner, "peer")
    connection.connection_made(wire)
    exchange = HttpExchange(asyncio.get_running_loop(), 1 << 20)
    connection.write(exchange, b"GET", False)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    body, code = b"", ""
    try:
        if not exchange.status:
            raise exchange.error
        while data := await exchange.read():
            body += data
    except UpstreamBroken as error:
        code = error.code
    return exchange.status, dict(exchange.headers), body, code, owner.released


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_chunking_never_matters(wire, cuts):
    """Any cutting gives the same status, headers, body and error as one segment; byte by byte as well."""
    whole = asyncio.run(receive([wire]))
    edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    pieces = [wire[a:b] for a, b in itertools.pairwise(edges)]
    got = asyncio.run(receive(pieces))
    single = asyncio.run(receive([wire[i : i + 1] for i in range(len(wire))]))
    if b"helloHTTP" in wire:
        # Trailing bytes in a later segment come to an idle connection; the pool then drops it.
        whole, got, single = whole[:4], got[:4], single[:4]
    assert whole == got == single
