"""Bad input: a clear 4xx in the caller's dialect, or a closed connection; never a 5xx, never a crash."""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from .conftest import ASK, CONFIG, Gateway, Script, Upstream, Write, completion, response

BIG = 256 * 1024


async def unary(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    await write(response(completion("ok")))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all of this: what one bad request breaks, the next would show."""
    up = Upstream(unary)
    config = CONFIG.format(port=up.port) + f"server: {{body_limit: {BIG}, body_seconds: 0.5}}\n"
    directory: pathlib.Path = tmp_path_factory.mktemp("bad")
    made = Gateway(directory, config)
    yield made
    assert made.process.poll() is None, "the gateway died"
    assert made.chat()[0] == 200
    made.stop()
    assert not [line for line in made.log if "Traceback" in line], made.log
    up.close()


def deep(levels: int) -> bytes:
    return b'{"model":"fast","messages":' + b"[" * levels + b"]" * levels + b"}"


PATHS = ["/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/v1/messages/count_tokens"]
BODIES = {
    "empty": b"",
    "not json": b"hello",
    "half": b'{"model": "fast", "messages": [',
    "an array": b"[]",
    "a number": b"7",
    "null": b"null",
    "trailing": b'{"model":"fast"} {}',
    "bad utf-8": b'{"model":"fast","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "lone surrogate": b'{"model":"\\ud800","messages":[]}',
    "duplicate key": b'{"model":"fast","model":"big","messages":[]}',
    "escaped duplicate": b'{"model":"fast","mod\\u0065l":"big","messages":[]}',
    "deep": deep(100_000),
    "model of wrong type": b'{"model":7,"messages":[],"max_tokens":5}',
    "no model": b'{"messages":[],"max_tokens":5}',
    "stream of wrong type": b'{"model":"fast","stream":"yes","messages":[],"max_tokens":5}',
    "unknown model": b'{"model":"nope","messages":[],"max_tokens":5}',
    "NUL": b'{"model":"fa\\u0000st","messages":[],"max_tokens":5}',
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_malformed_body(gate: Gateway, path: str, body: bytes) -> None:
    """Each is a 4xx whose body is an error of the dialect that the path speaks, with a message for people."""
    if path.endswith("count_tokens") and b'"stream":"yes"' in body:
        body = body.replace(b"fast", b"nope")
    status, headers, answer = gate.post(path, body)
    assert 400 <= status < 500, answer
    error = json.loads(answer)
    if "messages" in path:
        assert error["type"] == "error"
        assert error["error"]["type"] in ("invalid_request_error", "not_found_error")
    assert error["error"]["message"]
    assert headers["x-headgate-id"].startswith("hg_")


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": "many"},
        {"max_tokens": -1},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"n": "two"},
        {"n": -1},
        {"stream": 1},
        {"user": {"a": 1}},
        {"stream_options": 7, "stream": True},
        {"model": ["fast"]},
        {"model": "fast" * 1000},
    ],
    ids=str,
)
def test_a_policy_field_of_the_wrong_type(gate: Gateway, fields: dict[str, object]) -> None:
    """What policy must read is refused when it can not be read, and the message names the field."""
    status, _, answer = gate.chat(**fields)
    assert status in (400, 404)
    assert next(iter(fields)) in json.loads(answer)["error"]["message"] or "fastfast" in answer.decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer hg-wrong"}, 401),
        ({"authorization": "Basic dXNlcjpwYXNz"}, 401),
        ({"authorization": "Bearer " + "x" * 5000}, 401),
        ({"content-type": "text/plain"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"x-headgate-timeout-ms": "soon"}, 400),
        ({"x-headgate-class": "vip"}, 400),
        ({"x-headgate-sesion": "chat-1"}, 400),
    ],
    ids=str,
)
def test_bad_headers(gate: Gateway, headers: dict[str, str], status: int) -> None:
    """Wrong keys, types, encodings and settings get the status that says which."""
    assert gate.chat(headers=headers)[0] == status


def test_a_huge_body(gate: Gateway) -> None:
    """Refused by its announced length, or as soon as it has grown too large."""
    status, _, answer = gate.post("/v1/chat/completions", b" " * (BIG + 1))
    assert (status, json.loads(answer)["error"]["code"]) == (413, "body_too_large")
    chunk = b"%x\r\n%b\r\n" % (65536, b" " * 65536)
    head = request_head(gate, b"transfer-encoding: chunked")
    assert b" 413 " in gate.raw(head + chunk * 6 + b"0\r\n\r\n")


def request_head(gate: Gateway, *lines: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    own = [b"host: x", b"content-type: application/json", b"authorization: Bearer " + gate.key.encode()]
    return b"\r\n".join([b"POST %b HTTP/1.1" % path, *own, *lines, b"", b""])


def test_a_slow_body(gate: Gateway) -> None:
    """A body that never comes whole ends with 408 at the bound, and the connection closes."""
    began = time.monotonic()
    answer = gate.raw(request_head(gate, b"content-length: 100") + b'{"model":')
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 20_000,
        b"POST / HTTP/1.1\r\nhost: x\r\nlong: " + b"y" * 200_000,
        b"POST /" + b"y" * 200_000,
    ],
    ids=["many headers", "one long header", "long target"],
)
def test_a_header_flood(gate: Gateway, head: bytes) -> None:
    """A request head without end is cut off with a 4xx, not collected."""
    answer = gate.raw(head)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), answer[:200]


SMUGGLED = {
    "length and chunked": [b"content-length: 4", b"transfer-encoding: chunked"],
    "two lengths": [b"content-length: 4", b"content-length: 5"],
    "a list of lengths": [b"content-length: 4, 5"],
    "negative length": [b"content-length: -1"],
    "length with plus": [b"content-length: +4"],
    "hex length": [b"content-length: 0x4"],
    "obscured chunked": [b"transfer-encoding: xchunked"],
    "space before colon": [b"content-length : 4"],
    "folded header": [b"x: a\r\n b", b"content-length : 4"],
    "huge length": [b"content-length: 99999999999999999999999"],
}


@pytest.mark.parametrize("lines", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_smuggled_request(gate: Gateway, lines: list[bytes]) -> None:
    """Conflicting framing never yields a second request: one refusal or none, and the connection ends."""
    inner = request_head(gate, b"content-length: 0", path=b"/v1/embeddings")
    answer = gate.raw(request_head(gate, *lines) + b"0\r\n\r\n" + inner, timeout=1.5)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b" 200 " not in answer
    assert b" 500 " not in answer


def test_pipelined_requests_are_answered_in_order(gate: Gateway) -> None:
    """Requests sent ahead are answered one after the other, each with its own id."""
    body = json.dumps(ASK).encode()
    one = request_head(gate, b"content-length: %d" % len(body)) + body
    with socket.create_connection(("127.0.0.1", gate.port), 5) as connection:
        connection.sendall(one * 3)
        got = b""
        while got.count(b"HTTP/1.1 200") < 3 or not got.rstrip().endswith(b"}"):
            got += connection.recv(65536)
    assert got.count(b"HTTP/1.1 200") == 3
    assert len({line for line in got.split(b"\r\n") if line.startswith(b"x-headgate-id")}) == 3


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\r\n" * 5000, b"\x00" * 100])
def test_noise(gate: Gateway, data: bytes) -> None:
    """What is not HTTP at all ends its connection."""
    with socket.create_connection(("127.0.0.1", gate.port), 5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(3)
        answer = connection.recv(1000)
    assert answer == b"" or b" 400 " in answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("POST", "/nope", 404), ("GET", "/", 404)],
)
def test_a_wrong_path_or_method(gate: Gateway, method: str, path: str, status: int) -> None:
    """Told as such, in JSON."""
    answer = gate.raw(b"%b %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % (method.encode(), path.encode()))
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert b'"error"' in answer


@pytest.mark.parametrize("path", ["/v1/models/nope", "/v1/files", "/v1/messages/batches"])
def test_an_anthropic_client_is_refused_in_its_own_shape(gate: Gateway, path: str) -> None:
    """Whatever it asks for that is not here, its SDK finds a `not_found_error` where it looks for one."""
    answer = gate.raw(
        b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\nanthropic-version: 2023-06-01\r\n"
        b"authorization: Bearer %b\r\n\r\n" % (path.encode(), gate.key.encode())
    )
    assert answer.startswith(b"HTTP/1.1 404")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (error["type"], error["error"]["type"]) == ("error", "not_found_error")


def test_a_keyless_gateway_refuses_browsers_of_other_sites(
    upstream: Callable[[Script], Upstream], gateway: Callable[..., Gateway]
) -> None:
    """Without any key, a page of another site, a rebound name or a proxy gets 403; a local program is served."""
    gate = gateway(upstream(unary), key=False)
    assert gate.chat()[0] == 200
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
        {"x-forwarded-for": "10.0.0.1"},
        {"content-type": "text/plain"},
    ):
        assert gate.chat(headers=headers)[0] in (403, 415), headers


def test_a_gzip_bomb_from_upstream_is_cut_off(
    upstream: Callable[[Script], Upstream], gateway: Callable[..., Gateway]
) -> None:
    """A small body that inflates past the cap is a bad gateway; memory does not follow it."""
    packer = zlib.compressobj(1, wbits=31)  # gzip, a piece at a time: this process need not hold it all
    bomb = b"".join([packer.compress(b'{"x":"'), *(packer.compress(b"a" * 1_000_000) for _ in range(300))])
    bomb += packer.compress(b'"}') + packer.flush()

    async def bombs(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await write(response(bomb, headers=b"content-type: application/json\r\ncontent-encoding: gzip\r\n"))

    gate = gateway(upstream(bombs))
    status, headers, _ = gate.chat(timeout=120)
    assert status == 502
    assert gate.record(headers["x-headgate-id"])["error"] == "response_too_large"
    peak = pathlib.Path(f"/proc/{gate.process.pid}/status")
    if peak.exists():
        line = next(line for line in peak.read_text().splitlines() if line.startswith("VmHWM"))
        assert int(line.split()[1]) < 300_000
