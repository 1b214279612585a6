"""Server-sent events: where bytes are cut never matters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import UpstreamBroken
from headgate.dialects.sse import SseSplitter, parse_block

PIECES = st.lists(
    st.sampled_from([b"data: x", b"data:{}", b"event: q", b": note", b"id: 1", b"\n", b"\r\n", b"\r", b"\n\n", b" "]),
    max_size=14,
).map(b"".join)


@settings(max_examples=400)
@given(PIECES, st.lists(st.integers(1, 4), max_size=40))
def test_chunking_never_matters(stream: bytes, cuts: list[int]) -> None:
    """Any cutting gives the same events and the same rest, and no byte is lost or changed."""
    whole = SseSplitter()
    expected = whole.feed(stream)
    rest = whole.rest()
    pieces = SseSplitter()
    found, at = [], 0
    for cut in [*cuts, len(stream)]:
        if at < len(stream):
            found += pieces.feed(stream[at : at + cut])
            at += cut
    assert (found, pieces.rest()) == (expected, rest)
    assert b"".join(raw for raw, _, _ in expected) + rest == stream


@settings(max_examples=300)
@given(PIECES, st.lists(st.integers(1, 40), max_size=20), st.integers(5, 20))
def test_chunking_never_matters_for_what_is_too_large(stream: bytes, cuts: list[int], limit: int) -> None:
    """However the bytes are cut, the events before one over the cap come out, and then the error."""

    def play(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
        splitter, got = SseSplitter(limit), []
        try:
            for piece in pieces:
                got += [raw for raw, _, _ in splitter.feed(piece)]
            return got, splitter.rest()
        except UpstreamBroken as error:
            return got, error.code.encode()

    pieces, at = [], 0
    for cut in [*cuts, len(stream)]:
        if at < len(stream):
            pieces.append(stream[at : at + cut])
            at += cut
    assert play(pieces) == play([stream[at : at + 1] for at in range(len(stream))])


def test_reads_fields_as_the_standard_says() -> None:
    """Names, several data lines, comments, one space after the colon, CRLF."""
    raw = b": hello\r\nevent: delta\r\ndata: a\r\ndata:  b\r\nid: 7\r\n\r\n"
    assert SseSplitter().feed(raw) == [(raw, b"delta", b"a\n b")]
    assert parse_block(b"data: x") == (b"data: x", b"", b"x")


def test_an_endless_event_is_cut_off() -> None:
    """An event over the cap ends the stream with a typed error instead of filling memory."""
    splitter = SseSplitter(max_event=1000)
    for _ in range(17):
        splitter.feed(b"data: " + b"x" * 50)
    with pytest.raises(UpstreamBroken) as caught:
        splitter.feed(b"x" * 50)
    assert caught.value.code == "event_too_large"
