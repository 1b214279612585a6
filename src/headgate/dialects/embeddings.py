"""The dialect ``embeddings``: both faces of OpenAI's ``POST /v1/embeddings``, which is unary only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.errors import BadRequest, HeadgateError, UpstreamBroken, UpstreamError
from headgate.core.event import Embedding, End, Event, Frame, Kind, Start, Summary, UsageReport
from headgate.core.message import Conversation, Encoded
from headgate.core.usage import Usage
from headgate.dialects.base import Dialect, Encoder, StreamDecoder, View
from headgate.dialects.fields import STRING, patch_fields, peek, read_fields
from headgate.dialects.openai_chat.errors import read_error, read_stream_error
from headgate.dialects.openai_chat.refusals import error_body, error_frame


class _Usage(msgspec.Struct, gc=False):
    """Voyage reports a total alone."""

    prompt_tokens: int | None = None
    total_tokens: int | None = None

    def neutral(self) -> Usage:
        return Usage(self.prompt_tokens or self.total_tokens or 0)


class _Skipped(msgspec.Struct, gc=False):
    """A vector that is not looked into."""


class _Scan(msgspec.Struct, gc=False):
    data: list[_Skipped] | None = None
    usage: _Usage | None = None
    model: str | None = None
    id: str | None = None
    error: Any = None


class _Vector(msgspec.Struct, gc=False):
    embedding: list[float] | str
    index: int | None = None


class _Whole(msgspec.Struct, gc=False):
    data: list[_Vector]
    usage: _Usage | None = None
    model: str | None = None
    id: str | None = None


_scan = msgspec.json.Decoder(_Scan).decode
_whole = msgspec.json.Decoder(_Whole, strict=False).decode


class Embeddings(Dialect):
    """OpenAI's embeddings. Nothing here translates to or from a conversation.

    Example:
        >>> Embeddings().view(b'{"model":"small","input":"hello"}').model
        'small'
    """

    name = "embeddings"

    def view(self, raw: bytes) -> View:
        """See ``Dialect.view``. The input is a string or a non-empty array; what is in it the provider checks."""
        fields = read_fields(raw)
        view = View(raw, fields)
        view.model = peek(fields, "model", STRING, "a string") or ""
        if not view.model:
            raise BadRequest("'model' is missing; name the model to ask.", code="missing_field", param="model")
        if "input" not in fields:
            raise BadRequest("'input' is missing; send the text to embed.", code="missing_field", param="input")
        text = bytes(fields["input"])
        if text[:1] not in (b'"', b"[") or (len(text) < 20 and text.replace(b" ", b"") in (b'""', b"[]")):
            raise BadRequest("'input' must be a string or an array, and not empty.", code="invalid_type", param="input")
        if "user" in fields:
            view.user = peek(fields, "user", STRING, "a string") or ""
        return view

    def read_request(self, view: View) -> Conversation:
        """Raises BadRequest: an embeddings request is no conversation."""
        raise _untranslatable()

    def encoder(self, *, stream: bool, model: str, include_usage: bool = True) -> Encoder:
        """See ``Dialect.encoder``; there is no streamed form."""
        return _EmbeddingsEncoder(model)

    def error_body(self, error: HeadgateError, status: int, call_id: str) -> bytes:
        """See ``Dialect.error_body``."""
        return error_body(error)

    def error_frame(self, error: HeadgateError, call_id: str) -> bytes:
        """See ``Dialect.error_frame``."""
        return error_frame(error)

    def patch(self, view: View, changes: Mapping[str, Any]) -> bytes:
        """See ``Dialect.patch``."""
        return patch_fields(view.raw, view.fields, changes)

    def policy(
        self, view: View, *, model: str, max_tokens: int, max_tokens_field: str, stream_usage: bool
    ) -> dict[str, Any]:
        """See ``Dialect.policy``; only the model is ever set, nothing is generated that could be limited."""
        return {} if model == view.model else {"model": model}

    def write_request(self, conversation: Conversation, *, max_tokens_field: str, stream_usage: bool) -> Encoded:
        """Raises BadRequest: a conversation is no embeddings request."""
        raise _untranslatable()

    def stream_decoder(self) -> StreamDecoder:
        """Raises UpstreamBroken: embeddings are never streamed."""
        raise UpstreamBroken(
            "The upstream streams embeddings, which nobody does.", code="wrong_content_type", sent=True
        )

    def read_answer(self, body: bytes) -> tuple[Frame, Summary]:
        """See ``Dialect.read_answer``."""
        try:
            answer = _scan(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _not_an_answer(body, str(error)) from None
        if answer.error or answer.data is None:
            raise _not_an_answer(body, "it has no data")
        summary = Summary(answer.id or "", answer.model or "", complete=True)
        if answer.usage is not None:
            summary.usage = answer.usage.neutral()
        return Frame(Kind.CONTENT, body, body, _events), summary

    def read_error(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
        """See ``Dialect.read_error``."""
        return read_error(status, headers, body)


class _EmbeddingsEncoder(Encoder):
    """Renders vectors in OpenAI's shape."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._vectors: list[Embedding] = []
        self._usage = Usage()

    def feed(self, events: Sequence[Event]) -> bytes:
        """See ``Encoder.feed``."""
        for event in events:
            if isinstance(event, Embedding):
                self._vectors.append(event)
            elif isinstance(event, UsageReport):
                self._usage = event.usage
            elif isinstance(event, Start):
                self._model = event.model or self._model
        return b""

    def end(self) -> bytes:
        """See ``Encoder.end``."""
        data = [{"object": "embedding", "index": one.index, "embedding": one.vector} for one in self._vectors]
        usage = {"prompt_tokens": self._usage.input, "total_tokens": self._usage.input}
        return msgspec.json.encode({"object": "list", "data": data, "model": self._model, "usage": usage})


def _events(body: bytes) -> list[Event]:
    try:
        answer = _whole(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_an_answer(body, str(error)) from None
    events: list[Event] = [Start(answer.id or "", answer.model or "")]
    for position, vector in enumerate(answer.data):
        events.append(Embedding(position if vector.index is None else vector.index, vector.embedding))
    if answer.usage is not None:
        events.append(UsageReport(answer.usage.neutral()))
    events.append(End())
    return events


def _untranslatable() -> BadRequest:
    return BadRequest("Embeddings are only served by upstreams that speak OpenAI's embeddings.", code="unsupported")


def _not_an_answer(body: bytes, reason: str) -> HeadgateError:
    error = read_stream_error(body)
    if error is not None:
        return error
    return UpstreamBroken(
        f"The upstream's answer holds no embeddings: {reason[:150]}.", code="malformed_answer", sent=True
    )
