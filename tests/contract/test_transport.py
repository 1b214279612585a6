"""The port ``Transport``, one suite over every implementation: plain, TLS, in process; both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trustme
import uvloop

from headgate.core.errors import Timeout, UpstreamBroken
from headgate.transport.local import LocalResponse, LocalTransport
from headgate.transport.origin import Origin
from headgate.transport.pool import Pool

JSON = b"content-type: application/json\r\n"


class Drip:
    """A streamed body: pieces, one per turn; then its end, silence or a cut."""

    def __init__(self, pieces, after="end"):
        self.pieces = list(pieces)
        self.after = after
        self.closed = False

    async def __anext__(self):
        await asyncio.sleep(0)
        if self.pieces:
            return self.pieces.pop(0)
        if self.after == "silence":
            await asyncio.sleep(30)
        if self.after == "cut":
            raise UpstreamBroken("cut", code="body_cut", sent=True)
        raise StopAsyncIteration

    async def aclose(self):
        self.closed = True


class App:
    """The application that every transport talks to; counts what is under way in it."""

    def __init__(self):
        self.running = 0
        self.bodies = []

    async def __call__(self, method, target, headers, body):
        self.running += 1
        try:
            if target == b"/silent":
                await asyncio.sleep(30)
            if target == b"/echo":
                return LocalResponse(200, {b"x-method": method.encode(), b"x-type": headers[b"content-type"]}, body)
            if target == b"/error":
                return LocalResponse(429, {b"retry-after": b"1"}, b'{"error": 1}')
            if target == b"/empty":
                return LocalResponse(204, {}, b"")
            after = {b"/stream": "end", b"/stall": "silence", b"/cut": "cut"}[target]
            self.bodies.append(Drip([b"data: %d\n\n" % i for i in range(20)], after))
            return LocalResponse(200, {b"content-type": b"text/event-stream"}, self.bodies[-1])
        finally:
            self.running -= 1


class OverHttp:
    """Serves an App over a socket: the other side of a Pool."""

    def __init__(self, app):
        self.app = app
        self.tasks = set()

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.split(b"\r\n")
                method, target, _ = lines[0].split(b" ")
                headers = dict(line.split(b": ", 1) for line in lines[1:-2])
                body = await reader.readexactly(int(headers.get(b"content-length", 0)))
                await self.answer(reader, writer, self.app(method.decode(), target, headers, body))
        except (asyncio.IncompleteReadError, OSError, UpstreamBroken, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def answer(self, reader, writer, work):
        work = asyncio.ensure_future(work)
        left = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                raise ConnectionResetError
            response = work.result()
            writer.write(b"HTTP/1.1 %d X\r\n" % response.status)
            writer.writelines(b"%b: %b\r\n" % item for item in response.headers.items())
            if isinstance(response.body, bytes):
                length = b"" if response.status == 204 else b"content-length: %d\r\n" % len(response.body)
                writer.write(length + b"\r\n" + response.body)
                return
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            await self.stream(writer, response.body, left)
        finally:
            work.cancel()
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await left

    async def stream(self, writer, body, left):
        while True:
            piece = asyncio.ensure_future(body.__anext__())
            await asyncio.wait([piece, left], return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                piece.cancel()
                await body.aclose()
                raise ConnectionResetError
            if isinstance(piece.exception(), StopAsyncIteration | RuntimeError):
                break
            writer.write(b"%x\r\n%b\r\n" % (len(piece.result()), piece.result()))
        writer.write(b"0\r\n\r\n")


AUTHORITY = trustme.CA()


@contextlib.asynccontextmanager
async def opened(kind: str, app: App, ca_file: str) -> AsyncIterator[Pool | LocalTransport]:
    """A transport of one kind, with its server."""
    if kind == "local":
        transport = LocalTransport(app)
        yield transport
        await transport.aclose()
        return
    context = None
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("localhost").configure_cert(context)
    site = OverHttp(app)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    url = f"https://localhost:{port}" if kind == "tls" else f"http://127.0.0.1:{port}"
    pool = Pool(Origin.parse(url), ca_file=ca_file if kind == "tls" else None)
    try:
        yield pool
        await pool.aclose()
    finally:
        server.close()
        for task in site.tasks:
            task.cancel()
        await asyncio.gather(*site.tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0.01)


Check = Callable[[Pool | LocalTransport, App], Awaitable[None]]


@pytest.fixture(params=["plain", "tls", "local"])
def kind(request):
    return request.param


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request, kind, tmp_path):
    """Runs a check against a transport of every kind on every event loop."""

    def runner(check: Check) -> None:
        async def main() -> None:
            ca_file = tmp_path / "ca.pem"
            AUTHORITY.cert_pem.write_to_path(str(ca_file))
            app = App()
            async with asyncio.timeout(10), opened(kind, app, str(ca_file)) as transport:
                await check(transport, app)

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(main())

    return runner


async def post(transport, target, body=b"{}", **settings):
    return await transport.send("POST", target, JSON, body, connect_timeout=2.0, **settings)


async def drain(exchange, into):
    while data := await exchange.read():
        into += data


async def until(true):
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_unary(run):
    """Request and response cross whole, of any size, status and headers with them."""

    async def check(transport, app):
        for size in (0, 1, 65536, 65537, 3_000_000):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            exchange = await post(transport, b"/echo", body)
            assert (exchange.status, exchange.headers[b"x-method"]) == (200, b"POST")
            assert exchange.headers[b"x-type"] == b"application/json"
            assert exchange.sent
            assert await exchange.read_all(4_000_000) == body
            assert await exchange.read() == b""
            exchange.finish()
            exchange.finish()
        exchange = await post(transport, b"/error")
        assert (exchange.status, exchange.headers[b"retry-after"]) == (429, b"1")
        assert await exchange.read_all(1000) == b'{"error": 1}'
        assert await (await post(transport, b"/empty")).read_all(0) == b""

    run(check)


def test_stream(run):
    """A stream comes piece by piece and ends with an empty read."""

    async def check(transport, app):
        for _ in range(2):
            exchange = await post(transport, b"/stream")
            got = b""
            while data := await exchange.read():
                got += data
            assert got == b"".join(b"data: %d\n\n" % i for i in range(20))
            exchange.finish()

    run(check)


def test_cut(run):
    """A stream that is cut gives what came, then body_cut."""

    async def check(transport, app):
        exchange = await post(transport, b"/cut")
        got = bytearray()
        with pytest.raises(UpstreamBroken) as caught:
            await drain(exchange, got)
        assert caught.value.code == "body_cut"
        assert got.endswith(b"data: 19\n\n")

    run(check)


def test_limit(run):
    """`read_all` refuses what is over its limit."""

    async def check(transport, app):
        for target, body in ((b"/echo", bytes(1001)), (b"/stream", b"")):
            exchange = await post(transport, target, body)
            with pytest.raises(UpstreamBroken) as caught:
                await exchange.read_all(100)
            assert (caught.value.code, caught.value.sent) == ("response_too_large", True)

    run(check)


@pytest.mark.parametrize("target", [b"/silent", b"/stall"])
@pytest.mark.parametrize("how", ["abort", "cancel"])
def test_stop(run, target, how):
    """An abort raises its error where the caller waits, a cancellation goes through; the other side stops."""

    async def check(transport, app):
        aborts = []

        async def whole():
            exchange = await post(transport, target, on_abort=aborts.append)
            while await exchange.read():
                pass

        task = asyncio.ensure_future(whole())
        await asyncio.sleep(0.05)
        assert aborts[0].__self__.sent
        if how == "abort":
            aborts[0](Timeout("late"))
            aborts[0](Timeout("later"))
            with pytest.raises(Timeout) as caught:
                await task
            assert (caught.value.message, caught.value.sent) == ("late", True)
            assert task.cancelling() == 0
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: app.running == 0 and all(body.closed for body in app.bodies))

    run(check)


@pytest.mark.parametrize("how", ["abort", "finish"])
def test_stop_while_nobody_reads(run, how):
    """`abort` and `finish` between reads stop the other side as well; a later read raises the abort's error."""

    async def check(transport, app):
        exchange = await post(transport, b"/stall")
        await exchange.read()
        if how == "abort":
            exchange.abort(Timeout("late"))
            with pytest.raises(Timeout):
                await exchange.read()
        else:
            exchange.finish()
        await until(lambda: all(body.closed for body in app.bodies))

    run(check)


def test_abort_at_once(run):
    """An abort from within `on_abort` stops before anything is sent."""

    async def check(transport, app):
        with pytest.raises(Timeout) as caught:
            await post(transport, b"/echo", on_abort=lambda abort: abort(Timeout("now")))
        assert not caught.value.sent

    run(check)


def test_local_failure():
    """An application that fails is an UpstreamBroken; a HeadgateError of its own goes through."""

    async def check():
        async def bad(method, target, headers, body):
            raise ValueError("secret")

        async def typed(method, target, headers, body):
            raise Timeout("mine")

        with pytest.raises(UpstreamBroken) as caught:
            await post(LocalTransport(bad), b"/")
        assert "secret" not in caught.value.message
        with pytest.raises(Timeout):
            await post(LocalTransport(typed), b"/")

    asyncio.run(check())
