"""However bytes are cut on their way, on either side of the gateway, what comes out is the same."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .conftest import CONFIG, Gateway, Upstream, Write, completion, delta

FEW = settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
PAUSE = 0.001
"""Seconds between two pieces, so that they are not read as one."""

TEXT = 'Grüße aus Åre — 日本語, 🙂 and \\n "quotes".'
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
EVENTS = [
    delta({"role": "assistant", "content": ""}),
    *(delta({"content": part}) for part in (TEXT[:7], TEXT[7:20], TEXT[20:])),
    delta({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    delta({"tool_calls": [{"index": 0, "function": {"arguments": '{"ort": "Åre"}'}}]}),
    delta({}, "tool_calls"),
    {**delta({}, usage=USAGE), "choices": []},
]
PLAIN = b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in EVENTS)
STREAMS = {
    "plain": PLAIN + b"data: [DONE]\n\n",
    "crlf": PLAIN.replace(b"\n\n", b"\r\n\r\n") + b"data: [DONE]\r\n\r\n",
    "comments": b": hello\n\n" + PLAIN.replace(b"data: {", b": ping\n\nid: 7\ndata: {") + b"data: [DONE]\n\n",
}
UNARY = json.dumps(json.loads(completion(TEXT)), ensure_ascii=False, indent=1).encode()

cuts = st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), max_size=7)
"""Where to cut, as parts of the whole length."""


def cut(data: bytes, where: list[float]) -> list[bytes]:
    """Cuts bytes into pieces, none of them empty."""
    places = [0, *sorted({int(part * len(data)) for part in where} - {0}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def chunked(pieces: list[bytes]) -> bytes:
    """Frames pieces as HTTP chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Cutter:
    """An upstream that sends its response in the pieces that a test has laid out."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def play(self, path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        """The script."""
        for piece in self.pieces:
            await write(piece)
            await asyncio.sleep(PAUSE)

    def streams(self, data: bytes, chunks: list[float], writes: list[float]) -> None:
        """An event stream: its body in HTTP chunks cut anywhere, the response in writes cut anywhere."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.pieces = cut(head + chunked(cut(data, chunks)), writes)

    def answers(self, data: bytes, chunks: list[float] | None, writes: list[float]) -> None:
        """A whole answer, by content-length or in HTTP chunks."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        if chunks is None:
            whole = head + b"content-length: %d\r\n\r\n%b" % (len(data), data)
        else:
            whole = head + b"transfer-encoding: chunked\r\n\r\n" + chunked(cut(data, chunks))
        self.pieces = cut(whole, writes)


@pytest.fixture(scope="module")
def cutter() -> Cutter:
    return Cutter()


@pytest.fixture(scope="module")
def up(cutter: Cutter) -> Iterator[Upstream]:
    one = Upstream(cutter.play)
    yield one
    one.close()


@pytest.fixture(scope="module")
def gate(up: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("gateway"), CONFIG.format(port=up.port))
    yield one
    one.stop(signal.SIGKILL)


def ask(stream: bool, text: str = TEXT) -> dict[str, object]:
    """A request with more than ASCII in it."""
    messages = [{"role": "user", "content": text}]
    asked: dict[str, object] = {"model": "fast", "max_tokens": 50, "messages": messages, "stream": stream}
    return {**asked, "stream_options": {"include_usage": True}} if stream else asked


def request(gate: Gateway, body: bytes, chunks: list[float] | None = None) -> bytes:
    """The bytes of one request, its body by content-length or in HTTP chunks."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %b\r\n" % gate.key.encode()
    head += b"content-type: application/json\r\n"
    if chunks is None:
        return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunked(cut(body, chunks))


class Wire:
    """A client connection that sends its bytes in pieces."""

    def __init__(self, gate: Gateway) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gate.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, pieces: list[bytes]) -> None:
        """Sends each piece on its own."""
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(PAUSE)

    def receive(self) -> tuple[int, bytes]:
        """Returns status and body of the next response on the connection."""
        answer = http.client.HTTPResponse(_Same(self.file), method="POST")  # type: ignore[arg-type]
        answer.begin()
        return answer.status, answer.read()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class _Same:
    """Lets one buffered reader serve several responses: what one has read ahead is the next one's."""

    def __init__(self, file: object) -> None:
        self._file = file

    def makefile(self, mode: str) -> _Same:
        return self

    def close(self) -> None:
        """Stays open for the next response."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


# --- the upstream's bytes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_comes_through_as_it_was(gate: Gateway, cutter: Cutter, name: str) -> None:
    """Same dialect: the events' bytes are those of the upstream, wherever chunks and writes are cut."""
    cutter.streams(STREAMS[name], [], [])
    status, _, whole = gate.post("/v1/chat/completions", ask(True))
    assert status == 200
    assert [line for line in whole.splitlines() if line.startswith(b"data:")] == [
        line for line in STREAMS[name].splitlines() if line.startswith(b"data:")
    ]

    @FEW
    @given(chunks=cuts, writes=cuts)
    def check(chunks: list[float], writes: list[float]) -> None:
        cutter.streams(STREAMS[name], chunks, writes)
        assert gate.post("/v1/chat/completions", ask(True))[::2] == (200, whole)

    check()


def test_every_single_cut_of_a_stream(gate: Gateway, cutter: Cutter) -> None:
    """Cut byte by byte, inside line ends, escapes and characters of several bytes: still the same."""
    data = STREAMS["crlf"]
    cutter.streams(data, [(index + 0.5) / len(data) for index in range(1, len(data), 3)], [])
    _, _, whole = gate.post("/v1/chat/completions", ask(True))
    cutter.streams(data, [], [])
    assert gate.post("/v1/chat/completions", ask(True))[2] == whole


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_translated_the_same(gate: Gateway, cutter: Cutter, stream: bool) -> None:
    """Across dialects, too: what an Anthropic client gets does not depend on how OpenAI's bytes were cut."""
    asked = {key: value for key, value in ask(stream).items() if key != "stream_options"}

    def get() -> bytes:
        status, _, body = gate.post("/v1/messages", asked)
        assert status == 200, body
        return body

    def lay(chunks: list[float], writes: list[float]) -> None:
        if stream:
            cutter.streams(STREAMS["plain"], chunks, writes)
        else:
            cutter.answers(UNARY, chunks, writes)

    lay([], [])
    whole = get()
    assert "Åre".encode() in whole

    @FEW
    @given(chunks=cuts, writes=cuts)
    def check(chunks: list[float], writes: list[float]) -> None:
        lay(chunks, writes)
        assert get() == whole

    check()


def test_a_cut_answer_comes_through_byte_for_byte(gate: Gateway, cutter: Cutter) -> None:
    """A whole answer, by content-length or chunked, is what the upstream sent."""

    @FEW
    @given(chunks=st.none() | cuts, writes=cuts)
    def check(chunks: list[float] | None, writes: list[float]) -> None:
        cutter.answers(UNARY, chunks, writes)
        assert gate.post("/v1/chat/completions", ask(False))[::2] == (200, UNARY)

    check()


# --- the client's bytes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_request_is_the_same_request(gate: Gateway, up: Upstream, cutter: Cutter, stream: bool) -> None:
    """Head and body may come in any pieces, the body by length or in chunks: the upstream gets the same bytes."""
    body = json.dumps(ask(stream), ensure_ascii=False).encode()
    if stream:
        cutter.streams(STREAMS["plain"], [], [])
    else:
        cutter.answers(UNARY, None, [])
    status, _, expected = gate.post("/v1/chat/completions", body)
    assert status == 200
    sent = up.requests[-1][2]

    @FEW
    @given(chunks=st.none() | cuts, writes=cuts)
    def check(chunks: list[float] | None, writes: list[float]) -> None:
        with contextlib.closing(Wire(gate)) as wire:
            wire.send(cut(request(gate, body, chunks), writes))
            assert wire.receive() == (200, expected)
        assert up.requests[-1][2] == sent

    check()


def test_requests_in_a_row_may_be_cut_anywhere(gate: Gateway, up: Upstream, cutter: Cutter) -> None:
    """Pipelined requests, cut with no regard to where one ends, are answered each in its turn."""
    cutter.answers(UNARY, None, [])
    bodies = [json.dumps(ask(False, f"{TEXT} {number}"), ensure_ascii=False).encode() for number in range(3)]

    @FEW
    @given(writes=cuts, chunks=st.none() | cuts)
    def check(writes: list[float], chunks: list[float] | None) -> None:
        seen = len(up.requests)
        with contextlib.closing(Wire(gate)) as wire:
            wire.send(cut(b"".join(request(gate, body, chunks) for body in bodies), writes))
            assert [wire.receive() for _ in bodies] == [(200, UNARY)] * 3
        texts = [json.loads(body)["messages"][0]["content"] for _, _, body in up.requests[seen:]]
        assert texts == [f"{TEXT} {number}" for number in range(3)]

    check()


def test_the_records_know_nothing_of_it(gate: Gateway) -> None:
    """Every call of this file is recorded as completed, with the same tokens."""
    records = gate.records()
    assert len(records) > 50
    assert {record["outcome"] for record in records} == {"completed"}
    assert {(record["usage"]["input"], record["usage"]["output"]) for record in records} == {(10, 5)}
