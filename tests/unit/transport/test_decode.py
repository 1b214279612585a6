"""Decoding: any chunking gives the same bytes, and no bomb grows in memory."""

import gzip
import itertools
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import UpstreamBroken
from headgate.transport.decode import STEP, decoder_for


def decode(encoding, chunks):
    decoder, out = decoder_for(encoding), b""
    for chunk in chunks:
        if chunk:
            decoder.feed(chunk)
        while piece := decoder.take():
            assert len(piece) <= STEP
            out += piece
    decoder.end()
    return out


HELLO = gzip.compress(b"hello", mtime=0)


def bare(data):
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


ENCODERS = {
    "gzip": (b"gzip", gzip.compress),
    "members": (b"x-gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]) + b"\0\0\0"),
    "zlib": (b"deflate", zlib.compress),
    "bare": (b"Deflate", bare),
}


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=300), times=st.sampled_from([1, 1000]), cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_chunking_never_matters(name, data, times, cuts):
    """However the encoded bytes are cut, the decoded ones are the same."""
    encoding, encode = ENCODERS[name]
    data = data * times
    wire = encode(data)
    edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    assert decode(encoding, [wire[a:b] for a, b in itertools.pairwise(edges)]) == data


def test_byte_by_byte():
    """One byte at a time works too."""
    for encoding, encode in ENCODERS.values():
        wire = encode(b"hello, hello, hello")
        assert decode(encoding, [wire[i : i + 1] for i in range(len(wire))]) == b"hello, hello, hello"


@pytest.mark.parametrize(
    ("encoding", "wire", "code"),
    [
        (b"gzip", HELLO[:-3], "body_cut"),
        (b"gzip", b"\x1f", "body_cut"),
        (b"gzip", b"hello", "malformed_response"),
        (b"gzip", HELLO + b"more", "malformed_response"),
        (b"gzip", HELLO + b"\0x", "malformed_response"),
        (b"gzip", HELLO[:-8] + b"\0" * 8, "malformed_response"),
        (b"deflate", zlib.compress(b"hello") + b"more", "malformed_response"),
        (b"deflate", b"\xff" * 40, "malformed_response"),
    ],
)
def test_broken_data(encoding, wire, code):
    """Cut or corrupt data is an error, never a shorter answer."""
    with pytest.raises(UpstreamBroken) as caught:
        decode(encoding, [wire])
    assert caught.value.code == code


def test_empty_body():
    """No byte at all is a clean end (a 204 may carry the header)."""
    assert decode(b"gzip", []) == b""


def test_identity_and_unknown():
    """Identity needs no decoder; what was not asked for is refused by name."""
    assert decoder_for(None) is decoder_for(b" Identity ") is None
    for encoding in (b"br", b"zstd", b"gzip, gzip"):
        with pytest.raises(UpstreamBroken) as caught:
            decoder_for(encoding)
        assert caught.value.code == "unknown_encoding"
