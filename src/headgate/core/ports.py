"""The ports: what the core asks of the outside world, each with several implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from headgate.core.call import Attempt, Principal, Settlement
from headgate.core.errors import HeadgateError
from headgate.core.event import Frame, Summary
from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.core.reply import Source
from headgate.core.rule import LimitRule
from headgate.core.tape import Tape


class Exchange(Protocol):
    """One HTTP request under way at an upstream, its response head in hand.

    Attributes:
        status: the HTTP status, 200..599 (1xx are skipped by the transport).
        headers: response headers, lower-case names; values of repeated headers joined with ``", "``.
        reused: whether it went over a kept-alive connection.
    """

    status: int
    headers: Mapping[bytes, bytes]
    reused: bool

    async def read(self) -> bytes:
        """Returns the next decoded bytes of the body, ``b""`` at its clean end.

        How long a body is read piece by piece is the caller's to bound, but for a compressed one.

        Raises:
            UpstreamBroken: cut before its end, malformed, or (compressed) over the transport's cap when decoded.
        """

    async def read_all(self, limit: int) -> bytes:
        """Returns the whole decoded body.

        Raises:
            UpstreamBroken: as ``read``; code ``response_too_large`` over ``limit`` bytes, or the transport's cap.
        """

    def finish(self) -> None:
        """The caller needs no more: gives the connection back if the body is at its end (allowing it a
        moment for a last chunk), else closes it. Idempotent."""

    def abort(self, error: HeadgateError | None = None) -> None:
        """Closes the connection now; a waiting ``read`` raises ``error``. Idempotent."""


class Pending(Protocol):
    """What ``Transport.send`` is doing right now; lets a timer say what it is that takes too long.

    ``stage`` is ``"queued"``, ``"connecting"``, ``"sending"`` or ``"waiting"`` (sent whole, no response head yet).
    ``sent`` is True once the whole request has been handed to the socket.
    """

    stage: str
    sent: bool


class Transport(Protocol):
    """HTTP/1.1 to one origin, connections kept alive."""

    async def send(
        self,
        method: str,
        target: bytes,
        headers: bytes,
        body: bytes,
        *,
        connect_timeout: float,
        on_abort: Callable[[Callable[[HeadgateError], None]], None] | None = None,
    ) -> Exchange:
        """Sends one request and returns once the response head is in.

        Args:
            method: ``"POST"``, ``"GET"``…
            target: path with query, percent-encoded, e.g. ``b"/v1/chat/completions"``.
            headers: header lines, each ending in CRLF, without host, content-length and connection,
                which the transport writes itself.
            body: the whole body; content-length is its length.
            connect_timeout: seconds for name resolution, TCP, proxy and TLS together.
            on_abort: called at once with a bound method of the request's ``Pending`` that aborts it at whatever
                stage it is in, making this coroutine (or a later ``read``) raise the error given.

        Raises:
            ConnectFailed: no connection (``sent`` False).
            Timeout: code ``connect_timeout``.
            UpstreamBroken: closed or malformed before a response head; ``sent``: did the request go out whole?
        """

    async def aclose(self) -> None:
        """Closes every connection."""


class UpstreamAnswer:
    """What a driver has in hand once an upstream has begun to answer well.

    ``ready`` are frames at hand, ``source`` where more come from (None: ``ready`` is the whole answer), ``dialect`` the
    name of the one that the frames are in, ``headers`` those of the response that may go to the client.
    """

    __slots__ = ("dialect", "headers", "ready", "source", "summary")

    def __init__(
        self,
        ready: Sequence[Frame],
        source: Source | None,
        summary: Summary,
        dialect: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.ready = ready
        self.source = source
        self.summary = summary
        self.dialect = dialect
        self.headers = headers


class Upstream(Protocol):
    """Sends attempts to one deployment."""

    async def open(self, attempt: Attempt) -> UpstreamAnswer:
        """Sends the request; returns once the upstream answers 2xx with a body of the right kind (unary: the whole
        body). Sets ``attempt.abort``, ``attempt.head_at`` and the record's status, sent, lost and max_tokens.

        Raises:
            HeadgateError: what went wrong, before any frame; an upstream's error body is in ``UpstreamError.body``
                only where the client speaks the same dialect.
        """


class Journal(Protocol):
    """Where a worker writes finished Records, before the last frame of their answer goes out."""

    def append(self, record: Record) -> Settlement | None:
        """Takes the Record. Returns None if a killed process can no longer lose it, or else what tells of that
        moment. Never raises for a full disk: it says so and counts."""

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        """Writes a call's payloads to their own segment; shed, and counted, when the disk is short.

        ``policy`` is ``"full"`` or ``"redacted"``: how they are to be kept.
        """

    def append_tapes(self, call_id: str, tapes: Sequence[Tape]) -> None:
        """Writes what a call's failed attempts have heard, with the payloads; shed as those are."""

    def append_feedback(self, feedback: Feedback) -> Settlement | None:
        """Takes feedback; returns as ``append``.

        Raises:
            Unavailable: the disk does not take it; it is not kept.
        """

    def close(self) -> None:
        """Flushes and lets the recorder have it all."""


class KeyRing(Protocol):
    """The virtual keys, in memory, kept fresh behind the scenes."""

    @property
    def empty(self) -> bool:
        """True while no key exists (keyless mode)."""

    @property
    def stale(self) -> bool:
        """True once the store has been away for so long that no key is valid any more."""

    @property
    def rules(self) -> Sequence[LimitRule]:
        """The limits that are stored beside the keys, oldest first."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls ``changed``, on any thread, whenever ``rules`` are others, before keys that came with them are valid.
        It may block for a moment. The last one who watches counts."""

    def find(self, digest: bytes) -> Principal | None:
        """Returns whose key it is, by the 32 bytes of its SHA-256; None for an unknown, revoked or expired one."""

    def refresh(self) -> None:
        """Looks for changes now, on this thread; may block.

        Raises:
            Unavailable: the store does not answer.
        """
