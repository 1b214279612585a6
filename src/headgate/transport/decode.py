"""Content decoding: gzip and deflate bodies, piece by piece, so that no bomb can grow in memory."""

from __future__ import annotations

import zlib

from headgate.core.errors import UpstreamBroken

STEP = 64 * 1024
"""At most so many decoded bytes per ``take``."""

_INPUT_STEP = 16 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"


def decoder_for(encoding: bytes | None) -> Decoder | None:
    """Returns what decodes a body with this ``content-encoding``, None where it is sent as it is.

    Raises:
        UpstreamBroken: code ``unknown_encoding``: anything but gzip, deflate and identity.
    """
    if encoding is None:
        return None
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name in (b"gzip", b"x-gzip"):
        return Decoder(gzip=True)
    if name == b"deflate":
        return Decoder(gzip=False)
    shown = name[:40].decode("ascii", "replace")
    raise UpstreamBroken(
        f"The upstream sent a body in the content encoding {shown!r}, which nobody asked for.", code="unknown_encoding"
    )


class Decoder:
    """Decodes one body: ``feed`` what came, ``take`` until it returns ``b""``, ``end`` at the body's end."""

    __slots__ = ("_gzip", "_input", "_members", "_zlib")

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._input = memoryview(b"")
        self._zlib: zlib._Decompress | None = None
        self._members = 0

    def feed(self, data: bytes) -> None:
        """Adds encoded bytes; what was fed before should have been taken."""
        self._input = memoryview(bytes(self._input) + data if self._input else data)

    def take(self) -> bytes:
        """Returns the next decoded bytes, at most ``STEP``; ``b""`` when more input is needed.

        Raises:
            UpstreamBroken: code ``malformed_response``: not what the content encoding promises.
        """
        while self._input or self._zlib is not None:
            inflate = self._zlib or self._start()
            if inflate is None:
                return b""
            piece = self._input[:_INPUT_STEP]
            try:
                out = inflate.decompress(piece, STEP)
            except zlib.error:
                raise _malformed("corrupt data") from None
            left = len(inflate.unused_data) if inflate.eof else len(inflate.unconsumed_tail)
            self._input = self._input[len(piece) - left :]
            if inflate.eof:
                self._zlib = None
                self._members += 1
            if out:
                return out
            if not inflate.eof and not self._input:
                return b""
        return b""

    def end(self) -> None:
        """Checks, at the body's clean end and all taken, that the encoded data is whole too.

        Raises:
            UpstreamBroken: code ``body_cut``.
        """
        if self._zlib is not None or self._input:
            raise UpstreamBroken("The upstream's compressed body ends in the middle.", code="body_cut")

    def _start(self) -> zlib._Decompress | None:
        """Begins a member, once enough bytes say what it is; drops zero padding after the last."""
        data = self._input
        if self._members:
            if not self._gzip:
                raise _malformed("bytes after its end")
            if data[0] == 0:
                if any(data):
                    raise _malformed("bytes after its end")
                self._input = memoryview(b"")
                return None
        if len(data) < 2:
            return None
        head = bytes(data[:2])
        if self._gzip:
            if head != _GZIP_MAGIC:
                raise _malformed("bytes after its end" if self._members else "no gzip header")
            bits = _GZIP
        else:
            # "deflate" means zlib (RFC 9110 8.4.1.2), but some servers send it bare.
            zlib_header = head[0] & 15 == 8 and int.from_bytes(head, "big") % 31 == 0
            bits = zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS
        self._zlib = zlib.decompressobj(bits)
        return self._zlib


def _malformed(what: str) -> UpstreamBroken:
    return UpstreamBroken(f"The upstream's compressed body can not be decoded: {what}.", code="malformed_response")
