"""What a dialect is: both faces of one provider's wire, as pure functions over bytes.

The client face reads requests and writes answers; the provider face writes requests and reads answers.
No dialect does I/O, knows a URL, a key or a status code of ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from headgate.core.encoding import Encoding
from headgate.core.errors import HeadgateError, UpstreamError
from headgate.core.event import Event, Frame, Summary
from headgate.core.message import Conversation, Encoded


class View:
    """A request, seen through its top-level fields; values stay raw until somebody decodes them.

    Attributes:
        raw: the body as it came.
        fields: top-level keys, each with its value's raw JSON.
        model, stream, max_tokens, n, user, include_usage: what policy needs of it. ``max_tokens`` is None
            where the caller named none; ``include_usage`` says whether a stream's usage is to be shown.
    """

    __slots__ = ("fields", "include_usage", "max_tokens", "model", "n", "raw", "stream", "user")

    def __init__(self, raw: bytes, fields: dict[str, msgspec.Raw]) -> None:
        self.raw = raw
        self.fields = fields
        self.model = ""
        self.stream = False
        self.max_tokens: int | None = None
        self.n = 1
        self.user = ""
        self.include_usage = True


class StreamDecoder(ABC):
    """Splits one upstream stream into frames; keeps a Summary and the termination contract.

    Attributes:
        error: what ended the stream for good (an error event: ``UpstreamError``; else ``UpstreamBroken``), or None.
            Frames that ``feed`` returned with it came before it and are good; any later call raises it.
    """

    summary: Summary
    error: HeadgateError | None = None

    @abstractmethod
    def feed(self, data: bytes) -> list[Frame]:
        """Returns the whole frames that ``data`` completes; how bytes are chunked never matters.

        Raises:
            UpstreamBroken: malformed framing or JSON, or an event over the size cap.
        """

    @abstractmethod
    def end(self) -> list[Frame]:
        """The body is at its clean end: returns what is left.

        Raises:
            UpstreamBroken: the termination contract is not met (code ``stream_cut``).
        """


class Encoder(ABC):
    """Renders neutral events for a client, streamed or unary, for one answer."""

    @abstractmethod
    def feed(self, events: Sequence[Event]) -> bytes:
        """Returns the bytes that these events make ready to go out; may be empty (always, for a unary answer)."""

    @abstractmethod
    def end(self) -> bytes:
        """Returns the rest: closing events and marker of a stream, or the whole unary body."""

    @property
    def lost(self) -> tuple[str, ...]:
        """What of the answer this dialect can not express, by name."""
        return ()


class Dialect(ABC):
    """Both faces of one wire. Instances hold no state; one per process."""

    name: ClassVar[str]
    stream_type: ClassVar[bytes] = b"text/event-stream; charset=utf-8"
    comment: ClassVar[bytes] = b": \n\n"
    """A heartbeat that every client of this dialect ignores."""
    field_names: ClassVar[frozenset[str]] = frozenset()
    """Words that this wire's specification has for request fields; others are the caller's own."""
    billed: ClassVar[bool] = True
    """Whether providers charge for this surface."""

    # client face
    @abstractmethod
    def view(self, raw: bytes) -> View:
        """Reads the top level of a request.

        Raises:
            BadRequest: not UTF-8 JSON, not an object, a duplicate top-level key, nested too deep, or a policy
                field of the wrong type; ``param`` names it.
        """

    @abstractmethod
    def read_request(self, view: View) -> Conversation:
        """Decodes the whole request.

        Raises:
            BadRequest: a field has the wrong shape; ``param`` names it by path.
        """

    @abstractmethod
    def encoder(self, *, stream: bool, model: str, include_usage: bool = True) -> Encoder:
        """Returns an encoder for one answer; ``model`` is what the caller asked for."""

    @abstractmethod
    def error_body(self, error: HeadgateError, status: int, call_id: str) -> bytes:
        """Renders an error as a unary body; an ``UpstreamError`` of this dialect's own goes through as it came."""

    @abstractmethod
    def error_frame(self, error: HeadgateError, call_id: str) -> bytes:
        """Renders an error as an in-band event of a stream that has begun; no marker follows it."""

    def local_answer(self, view: View, encoding: Encoding) -> tuple[Frame, Summary] | None:
        """Returns an answer made here, for a provider that does not serve this surface; None where there is none.

        ``encoding`` is the deployment's.
        """
        return None

    # provider face
    @abstractmethod
    def patch(self, view: View, changes: Mapping[str, Any]) -> bytes:
        """Returns the body with top-level fields set (or removed, for None), all else byte for byte."""

    @abstractmethod
    def policy(
        self, view: View, *, model: str, max_tokens: int, max_tokens_field: str, stream_usage: bool
    ) -> dict[str, Any]:
        """Returns the changes that ``patch`` needs for one attempt; empty where the body can go as it is."""

    @abstractmethod
    def write_request(self, conversation: Conversation, *, max_tokens_field: str, stream_usage: bool) -> Encoded:
        """Renders a neutral request that came in another dialect."""

    @abstractmethod
    def stream_decoder(self) -> StreamDecoder:
        """Returns a decoder for one streamed answer."""

    @abstractmethod
    def read_answer(self, body: bytes) -> tuple[Frame, Summary]:
        """Reads a whole unary 2xx body into one frame (kind CONTENT, events decoded lazily).

        Raises:
            UpstreamBroken: not an answer of this dialect.
            UpstreamError: an error inside a 200.
        """

    @abstractmethod
    def read_error(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
        """Classifies an error answer (any shape of body, HTML too); finds its retry delay in headers or body."""
