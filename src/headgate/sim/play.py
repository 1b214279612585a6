"""An answer as a play: what goes on the wire, when, and what breaks; both fronts perform it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec


class Act(enum.Enum):
    """What one piece of a play is, or does. Compare with ``is``."""

    HEAD = "head"  # the response head goes out
    TORN_HEAD = "torn_head"  # the first half of it, and no more
    PREAMBLE = "preamble"  # an event without content
    CONTENT = "content"  # an event that a person would see something of
    FINISH = "finish"  # finish reason, usage, closing of blocks
    MARKER = "marker"  # [DONE], message_stop
    BODY = "body"  # body bytes that are no event: a unary answer, or part of one
    RAW = "raw"  # bytes outside of HTTP's framing
    HANG = "hang"  # nothing more, and the connection stays open
    RESET = "reset"  # TCP RST
    CLOSE = "close"  # TCP FIN, the body not ended


class Piece(NamedTuple):
    """One step: at ``at`` seconds after the request came in, do ``act`` with ``data``."""

    at: float
    act: Act
    data: bytes = b""


class Hit(enum.Enum):
    """What an answer does to the listener, beyond its own connection."""

    REFUSE = "refuse"  # the port is closed for a while
    BREAK_TLS = "break_tls"  # handshakes fail for a while


class Answer(msgspec.Struct, kw_only=True):
    """One answer, ready to be performed.

    Attributes:
        status: HTTP status.
        headers: lower-case names; without content-length and transfer-encoding, which the front writes.
        body: the whole body of an answer that is sent in one go at ``at``; None where ``pieces`` tell.
        at: seconds after the request came in.
        pieces: the steps, starting with a HEAD where one is sent at all; their end is the body's clean end.
        length: the content-length to announce for ``pieces``; None: chunked.
        content: how many CONTENT pieces there are (in a play without faults).
        model: the model asked for, for the meter.
        fault: the fault in it, or "".
        hit: what happens to the listener as well, for ``hit_s`` seconds.
    """

    status: int = 200
    headers: Mapping[bytes, bytes] = {}
    body: bytes | None = None
    at: float = 0.0
    pieces: Iterator[Piece] | None = None
    length: int | None = None
    content: int = 0
    model: str = ""
    fault: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    hit: Hit | None = None
    hit_s: float = 0.0

    def steps(self) -> Iterator[Piece]:
        """Returns the pieces of any answer, unary or streamed; may be called once."""
        if self.body is None:
            return self.pieces or iter(())
        return iter((Piece(self.at, Act.HEAD), Piece(self.at, Act.BODY, self.body)))

    @property
    def announced(self) -> int | None:
        """The content-length to announce, or None for chunked."""
        return self.length if self.body is None else len(self.body)
