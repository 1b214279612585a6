"""A Tape: what one attempt heard from its upstream, byte for byte, so that it can be played again without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headgate.core.errors import (
    ConnectFailed,
    HeadgateError,
    Timeout,
    Unavailable,
    UpstreamBroken,
    UpstreamError,
)

TAPE_LIMIT = 8 * 1024 * 1024
"""Bytes of one answer that a tape holds; a longer one is marked as cut there."""

_HIDDEN = frozenset({b"set-cookie", b"set-cookie2"})
_KINDS: dict[str, type[HeadgateError]] = {
    kind.__name__: kind for kind in (ConnectFailed, HeadgateError, Timeout, Unavailable, UpstreamBroken)
}


class TapedError(msgspec.Struct, array_like=True):
    """An error that an attempt ended with, as plain values."""

    kind: str
    code: str
    message: str
    fault: str
    sent: bool = False
    retry_after: float | None = None

    def again(self) -> HeadgateError:
        """Returns the error anew."""
        kind = _KINDS.get(self.kind, UpstreamBroken)
        fault = self.fault if self.fault in ("caller", "upstream", "gateway") else "upstream"
        return kind(
            self.message,
            code=self.code,
            fault=fault,  # type: ignore[arg-type]
            sent=self.sent,
            retry_after=self.retry_after,
        )


class Tape(msgspec.Struct, array_like=True):
    """One exchange. Times are µs since the attempt began; -1 means never happened.

    Attributes:
        attempt: its place in the Record's attempts.
        dialect: the wire that was spoken.
        target: the path that was asked.
        status: the HTTP status, 0 without a response head.
        headers: of the response, cookies left out.
        head_us: when the head came.
        pieces: when each piece of the body came, and the piece.
        end_us: when the body came to its clean end.
        error: what the connection, or a bound in time, ended it with.
        too_long: the rest of the body did not fit.

    New fields go at the end with a default.
    """

    attempt: int
    dialect: str
    target: bytes
    status: int = 0
    headers: list[tuple[bytes, bytes]] = []
    head_us: int = -1
    pieces: list[tuple[int, bytes]] = []
    end_us: int = -1
    error: TapedError | None = None
    too_long: bool = False

    @property
    def body(self) -> bytes:
        """All that came of the body."""
        return b"".join([data for _, data in self.pieces])

    def begin(self, status: int, headers: Mapping[bytes, bytes], at_us: int) -> None:
        """The response head came."""
        self.status, self.head_us = status, at_us
        self.headers = [(name, value) for name, value in headers.items() if name not in _HIDDEN]

    def fail(self, error: HeadgateError) -> None:
        """It ended with this."""
        self.error = taped(error)


class TapesEntry(msgspec.Struct, array_like=True):
    """The tapes of one call's attempts that failed, as they lie in a journal."""

    call_id: str
    tapes: list[Tape]


def taped(error: HeadgateError) -> TapedError:
    """Returns an error as plain values."""
    return TapedError(type(error).__name__, error.code, error.message, error.fault, error.sent, error.retry_after)


def error_of(kind: str, code: str, message: str, fault: str, status: int) -> HeadgateError:
    """Returns the error that an attempt's record tells of, where there is no tape to make it from."""
    if status >= 400:
        return UpstreamError(message, status=status, code=code, fault=fault or None)  # type: ignore[arg-type]
    return TapedError(kind, code, message, fault or "upstream").again()


encode_tapes = msgspec.msgpack.Encoder().encode
_decode_tapes = msgspec.msgpack.Decoder(list[Tape]).decode


def decode_tapes(data: bytes) -> Sequence[Tape]:
    """Returns the tapes in these bytes (made by ``encode_tapes``)."""
    return _decode_tapes(data)
