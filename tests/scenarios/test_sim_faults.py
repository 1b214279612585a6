"""Every fault of the simulator does on the wire what it says, seen through a raw socket."""

from __future__ import annotations

import asyncio
import json
import pathlib
import shutil
import ssl
import subprocess

import pytest

from headgate.sim.behaviour import Behaviour
from headgate.sim.fault import CATALOGUE
from headgate.sim.server import SimServer, serve
from headgate.sim.testing import AsyncSim

OPENAI = "/v1/chat/completions"
ANTHROPIC = "/v1/messages"
PATIENCE = 0.15


def request(path: str, body: dict[str, object], headers: str = "") -> bytes:
    """A POST as bytes."""
    data = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(data)}\r\n\r\n".encode() + data


def chat(path: str, stream: bool, model: str = "words-20") -> dict[str, object]:
    """A small request that both APIs take."""
    return {
        "model": model,
        "stream": stream,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "hello"}],
    }


async def exchange(server: SimServer, data: bytes, patience: float = PATIENCE, total: float = 2.0) -> tuple[bytes, str]:
    """Sends ``data`` and returns what came, and how it ended: ``closed``, ``reset``, ``silent``."""
    deadline = asyncio.get_running_loop().time() + total
    reader, writer = await asyncio.open_connection(server.host, server.port)
    received, ending = b"", "closed"
    try:
        writer.write(data)
        while True:
            left = deadline - asyncio.get_running_loop().time()
            part = await asyncio.wait_for(reader.read(65536), min(patience, max(left, 0.001)))
            if not part:
                break
            received += part
    except TimeoutError:
        ending = "silent"
    except ConnectionResetError:
        ending = "reset"
    finally:
        writer.transport.abort()
    return received, ending


def unchunk(received: bytes) -> tuple[bytes, bytes, bool]:
    """Splits a chunked answer into head, body so far, and whether its framing ended well."""
    head, _, rest = received.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError:
            return head, body, False
        if length == 0:
            return head, body, rest == b"\r\n"
        body, rest = body + rest[:length], rest[length + 2 :]
    return head, body, False


async def fail(fault: str, path: str, stream: bool, extra: str = "") -> tuple[bytes, str]:
    """Asks a fresh simulator for one call with ``fault`` in it."""
    async with AsyncSim() as server:
        return await exchange(server, request(path, chat(path, stream), f"x-sim-fault: {fault}{extra}\r\n"))


both = pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
shapes = pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])


@both
@shapes
@pytest.mark.parametrize(
    ("fault", "ending", "got"),
    [
        ("reset-before-headers", "reset", ""),
        ("close-before-headers", "closed", ""),
        ("hang-before-headers", "silent", ""),
        ("reset-in-headers", "reset", "torn"),
        ("reset-after-headers", "reset", "head"),
    ],
)
async def test_faults_before_the_body(path: str, stream: bool, fault: str, ending: str, got: str) -> None:
    """Before, in and right after the head: nothing, half a head, or a head alone; then RST, FIN or silence."""
    received, ended = await fail(fault, path, stream)
    assert ended == ending
    if not got:
        assert received == b""
    else:
        assert received.startswith(b"HTTP/1.1 200")
        assert received.endswith(b"\r\n\r\n") is (got == "head")


@both
@pytest.mark.parametrize(
    ("fault", "ending"),
    [("reset-mid-stream", "reset"), ("close-mid-stream", "closed"), ("hang-mid-stream", "silent")],
)
async def test_streams_that_stop_in_the_middle(path: str, fault: str, ending: str) -> None:
    """After ``after`` content events: RST, FIN or silence, and no finish, marker or last chunk."""
    received, ended = await fail(fault, path, True, "; after=3")
    _, body, whole = unchunk(received)
    assert ended == ending
    assert not whole
    assert content_of(body) == 3
    assert b"[DONE]" not in body
    assert b"message_stop" not in body
    assert not says_finish(body)


def content_of(body: bytes) -> int:
    """How many content events a stream of either dialect holds."""
    return body.count(b'"delta":{"content":"') - body.count(b'"delta":{"content":""') + body.count(b'"text_delta"')


def says_finish(body: bytes) -> bool:
    """Whether a stream gave a finish reason."""
    return b'"finish_reason":"' in body or b'"stop_reason":"' in body


@both
@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        ("reset-mid-stream", "reset"),
        ("close-mid-stream", "closed"),
        ("cut", "closed"),
        ("hang-mid-stream", "silent"),
        ("hang-before-content", "silent"),
    ],
)
async def test_unary_bodies_that_stop(path: str, fault: str, ending: str) -> None:
    """A unary body announces its length and then holds less."""
    received, ended = await fail(fault, path, False)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert ended == ending
    assert len(body) == (0 if fault == "hang-before-content" else length // 2)


@both
async def test_hang_before_content_with_pings(path: str) -> None:
    """Head and preamble come, then nothing but pings."""
    async with AsyncSim() as server:
        headers = "x-sim-fault: hang-before-content; pings=0.03\r\n"
        received, _ = await exchange(server, request(path, chat(path, True), headers), total=0.25)
    _, body, whole = unchunk(received)
    assert content_of(body) == 0
    assert body.count(b"ping") >= 2
    assert not whole


@both
async def test_cut_and_no_marker_end_http_cleanly(path: str) -> None:
    """HTTP ends well; ``cut`` gives no finish, ``no-marker`` only no marker."""
    marker = b"[DONE]" if path == OPENAI else b"message_stop"
    _, cut, whole = unchunk((await fail("cut", path, True, "; after=2"))[0])
    assert whole
    assert content_of(cut) == 2
    assert not says_finish(cut)
    assert marker not in cut
    _, unmarked, whole = unchunk((await fail("no-marker", path, True))[0])
    assert whole
    assert says_finish(unmarked)
    assert marker not in unmarked


@both
async def test_malformed_events(path: str) -> None:
    """One event's JSON, or SSE framing, is broken; one HTTP chunk's size is."""
    _, body, whole = unchunk((await fail("malformed-json", path, True))[0])
    assert whole
    broken = [event for event in body.split(b"\n\n") if b"data: {" in event and not is_json(event)]
    assert len(broken) == 1
    _, body, whole = unchunk((await fail("malformed-sse", path, True))[0])
    assert whole
    assert b"garbage without a field name" in body
    received, ended = await fail("malformed-chunk", path, True)
    assert ended == "closed"
    assert b"\r\nzz\r\n" in received
    assert not unchunk(received)[2]


def is_json(event: bytes) -> bool:
    """Whether an event's data is JSON."""
    try:
        json.loads(event.partition(b"data: ")[2])
    except ValueError:
        return False
    return True


@both
async def test_malformed_unary_bodies(path: str) -> None:
    """Unary: the length is honest, the JSON is not."""
    for fault in ("malformed-json", "malformed-sse", "no-marker", "duplicate", "splice"):
        received, ended = await fail(fault, path, False)
        head, _, body = received.partition(b"\r\n\r\n")
        assert ended == "silent", fault
        assert f"content-length: {len(body)}".encode() in head
        assert not is_json(b"data: " + body), fault


@both
@shapes
async def test_html_instead_of_an_answer(path: str, stream: bool) -> None:
    """A 200 with a web page."""
    received, _ = await fail("html", path, stream)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"content-type: text/html" in received
    assert b"<!doctype html>" in received


@both
async def test_error_inside_200(path: str) -> None:
    """Streamed: an error event after some content, then a clean end. Unary: an error body under a 200."""
    received, _ = await fail("error-event", path, True, "; after=1")
    _, body, whole = unchunk(received)
    assert whole
    assert content_of(body) == 1
    assert b'"error":{' in body
    assert not says_finish(body)
    assert (b"event: error" in body) is (path == ANTHROPIC)
    received, _ = await fail("error-event", path, False)
    assert received.startswith(b"HTTP/1.1 200")
    assert "error" in json.loads(received.partition(b"\r\n\r\n")[2])


@both
async def test_empty_filtered_duplicated_and_spliced_streams(path: str) -> None:
    """Whole by HTTP and dialect; wrong in what they say."""
    body = unchunk((await fail("empty", path, True))[0])[1]
    assert content_of(body) == 0
    assert says_finish(body)
    body = unchunk((await fail("content-filter", path, True))[0])[1]
    assert content_of(body) == 10
    assert b'"content_filter"' in body or b'"refusal"' in body.rsplit(b"message_delta", 1)[-1]
    body = unchunk((await fail("duplicate", path, True))[0])[1]
    assert content_of(body) == 40
    body = unchunk((await fail("splice", path, True))[0])[1]
    assert content_of(body) == 40
    if path == OPENAI:
        assert len({line.partition(b'"id":"')[2][:33] for line in body.split(b"\n\n") if b'"id"' in line}) == 2


@both
@shapes
async def test_slow_drip(path: str, stream: bool) -> None:
    """The body comes in crumbs that split events anywhere."""
    async with AsyncSim() as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(request(path, chat(path, stream), "x-sim-fault: slow-drip; rate=200\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        first = await reader.read(65536)
        second = await reader.read(65536)
        writer.transport.abort()
        assert 0 < len(first) < 50
        assert 0 < len(second) < 50


@both
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 529])
async def test_statuses(path: str, status: int) -> None:
    """An error status with the dialect's own body; the connection lives on."""
    received, ended = await fail(str(status), path, True)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert ended == "silent"


@both
async def test_ways_to_say_wait(path: str) -> None:
    """retry-after in seconds, as a date, in milliseconds, in the message, in the provider's headers, or unsaid."""
    wanted = {
        "header": b"retry-after: 1.5",
        "ms": b"retry-after-ms: 1500",
        "date": b"GMT",
        "body": b"Please try again in 1.5s.",
        "reset": b"x-ratelimit-reset-requests: 1.5s" if path == OPENAI else b"anthropic-ratelimit-requests-reset: 2",
        "none": b"",
    }
    for hint, words in wanted.items():
        received, _ = await fail("429", path, False, f"; retry_after=1.5; hint={hint}")
        assert words in received, hint
        assert (b"retry-after" in received) is (hint in ("header", "ms", "date"))
        moment = hint == "date" or (hint == "reset" and path == ANTHROPIC)
        assert (b"\r\ndate: " in received) is moment, "a moment means nothing without the answer's own date"


async def test_context_length_and_quota() -> None:
    """400 and 429 with the codes, or for want of them the words, that clients look for."""
    assert b'"context_length_exceeded"' in (await fail("context-length", OPENAI, False))[0]
    assert b"prompt is too long" in (await fail("context-length", ANTHROPIC, False))[0]
    assert b'"insufficient_quota"' in (await fail("quota", OPENAI, False))[0]
    received = (await fail("quota", ANTHROPIC, False))[0]
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"credit balance is too low" in received


async def test_refuse_closes_the_port_and_opens_it_again() -> None:
    """The call is reset, further connections are refused, and later taken again."""
    async with AsyncSim() as server:
        data = request(OPENAI, chat(OPENAI, False), "x-sim-fault: refuse; for_s=0.2\r\n")
        assert await exchange(server, data) == (b"", "reset")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(server.host, server.port)
        await until_open(server)
        received, _ = await exchange(server, request(OPENAI, chat(OPENAI, False)))
        assert received.startswith(b"HTTP/1.1 200")


async def until_open(server: SimServer) -> None:
    """Waits until the port takes connections."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(server.host, server.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.transport.abort()
            return
    pytest.fail("the port stayed closed")


async def test_outage_by_schedule() -> None:
    """A refuse with nothing but times closes the port for that window, open connections included."""
    async with AsyncSim("faults: [{fault: refuse, when: {after_s: 0.1, before_s: 0.4}}]") as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 2)
        writer.transport.abort()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(server.host, server.port)
        await until_open(server)


async def test_flapping_by_schedule() -> None:
    """A status with a period answers it in the down part of each period only."""
    async with AsyncSim("faults: [{fault: 503, when: {period_s: 0.4, down_s: 0.2}}]") as server:
        seen = []
        for _ in range(12):
            received, _ = await exchange(server, request(OPENAI, chat(OPENAI, False), "connection: close\r\n"))
            seen.append(received[9:12])
            await asyncio.sleep(0.06)
        assert seen[0] == b"503"
        assert {b"200", b"503"} == set(seen)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A self-signed certificate with its key, in one PEM."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    both_in_one = folder / "both.pem"
    both_in_one.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both_in_one


async def test_tls_and_its_failure(certificate: pathlib.Path) -> None:
    """HTTPS works; after tls-failure handshakes end in an alert, until its time is over."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    server = await serve(Behaviour(), tls=context)
    try:
        assert server.url.startswith("https://")
        for headers in ("", "x-sim-fault: tls-failure; for_s=30\r\n"):
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=trusting)
            writer.write(request(OPENAI, chat(OPENAI, False), headers))
            if headers:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.readexactly(1), 2)
            else:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            await asyncio.open_connection(server.host, server.port, ssl=trusting)
    finally:
        await server.aclose()


async def test_every_fault_ends_and_leaves_nothing() -> None:
    """Every fault of the catalogue, by model name, in both dialects, whole and streamed: the meter ends at rest."""
    async with AsyncSim() as server:
        for name in CATALOGUE:
            for path in (OPENAI, ANTHROPIC):
                for stream in (False, True):
                    headers = f"x-sim-fault: {name}{'; for_s=0' if 'for_s' in CATALOGUE[name].params else ''}\r\n"
                    await until_open(server)
                    await exchange(server, request(path, chat(path, stream), headers), 0.05)
        await asyncio.sleep(0.05)
        meter = server.sim.meter
        assert meter.live_calls == 0
        assert meter.live_connections == 0
        assert meter.calls == 4 * len(CATALOGUE)
        assert set(meter.faults) == set(CATALOGUE) - {"status"} | {"500"}


async def test_the_client_that_leaves_is_counted() -> None:
    """A client that goes in mid-stream cancels its call."""
    async with AsyncSim("speed: 20\n") as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(request(OPENAI, chat(OPENAI, True)))
        await reader.readuntil(b"\r\n\r\n")
        assert server.sim.meter.live_calls == 1
        writer.transport.abort()
        for _ in range(100):
            if server.sim.meter.cancelled:
                break
            await asyncio.sleep(0.01)
        assert (server.sim.meter.cancelled, server.sim.meter.live_calls) == (1, 0)


def test_the_same_under_uvloop(certificate: pathlib.Path) -> None:
    """The event loop that ``headgate sim`` runs on resets, refuses and breaks TLS as asyncio's does."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_tls_and_its_failure(certificate))
        runner.run(test_refuse_closes_the_port_and_opens_it_again())
        runner.run(test_streams_that_stop_in_the_middle(OPENAI, "reset-mid-stream", "reset"))
        runner.run(test_faults_before_the_body(ANTHROPIC, True, "reset-in-headers", "reset", "torn"))
