"""The Anthropic messages dialect: both faces of ``/v1/messages``, over the modules of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from headgate.core.errors import BadRequest, HeadgateError, UpstreamError
from headgate.core.event import Frame, Summary
from headgate.core.message import Conversation, Encoded
from headgate.dialects.anthropic.answer import read_answer
from headgate.dialects.anthropic.encoder import UnaryEncoder
from headgate.dialects.anthropic.encoder_stream import StreamEncoder
from headgate.dialects.anthropic.errors import error_body, error_frame, read_error
from headgate.dialects.anthropic.names import FIELD_NAMES
from headgate.dialects.anthropic.read_request import read_request
from headgate.dialects.anthropic.stream import AnthropicStream
from headgate.dialects.anthropic.wire import NAME
from headgate.dialects.anthropic.write_request import write_request
from headgate.dialects.base import Dialect, Encoder, StreamDecoder, View
from headgate.dialects.fields import BOOLEAN, INTEGER, STRING, patch_fields, peek, read_fields


class _Metadata(msgspec.Struct):
    user_id: str | None = None


_METADATA = msgspec.json.Decoder(_Metadata)


class Anthropic(Dialect):
    """Anthropic messages, read and written. A stream's usage is always shown: the wire has it in place."""

    name: ClassVar[str] = NAME
    field_names: ClassVar[frozenset[str]] = FIELD_NAMES

    def view(self, raw: bytes) -> View:
        """Reads the top level of a request.

        Raises:
            BadRequest: not a JSON object with unique keys, or ``model``, ``stream``, ``max_tokens`` or ``metadata``
                of the wrong type.
        """
        fields = read_fields(raw)
        view = View(raw, fields)
        view.model = peek(fields, "model", STRING, "a string") or ""
        if not view.model:
            raise BadRequest("'model' is missing; name the model to use.", code="missing_field", param="model")
        if "stream" in fields:
            view.stream = peek(fields, "stream", BOOLEAN, "a boolean") or False
        if "max_tokens" in fields:
            limit = view.max_tokens = peek(fields, "max_tokens", INTEGER, "a whole number")
            if limit is not None and limit < 1:
                raise BadRequest("'max_tokens' must be 1 or more.", code="invalid_value", param="max_tokens")
        if "metadata" in fields:
            metadata = peek(fields, "metadata", _METADATA, "an object whose 'user_id' is a string")
            view.user = (metadata.user_id or "") if metadata is not None else ""
        return view

    def read_request(self, view: View) -> Conversation:
        """Decodes the whole request; see ``read_request.read_request``."""
        return read_request(view)

    def encoder(self, *, stream: bool, model: str, include_usage: bool = True) -> Encoder:
        """Returns an encoder for one answer; ``include_usage`` says nothing here, usage is always shown."""
        return StreamEncoder(model) if stream else UnaryEncoder(model)

    def error_body(self, error: HeadgateError, status: int, call_id: str) -> bytes:
        """Renders ``{"type": "error", "error": {…}, "request_id": …}``."""
        return error_body(error, status, call_id)

    def error_frame(self, error: HeadgateError, call_id: str) -> bytes:
        """Renders the same as an ``error`` event."""
        return error_frame(error, call_id)

    def patch(self, view: View, changes: Mapping[str, Any]) -> bytes:
        """Returns the body with top-level fields set or removed, all else byte for byte."""
        return patch_fields(view.raw, view.fields, changes)

    def policy(
        self, view: View, *, model: str, max_tokens: int, max_tokens_field: str, stream_usage: bool
    ) -> dict[str, Any]:
        """Returns the changes for one attempt: the model's name there, and a bound where the caller set none."""
        changes: dict[str, Any] = {}
        if view.model != model:
            changes["model"] = model
        if view.max_tokens is None:
            changes[max_tokens_field] = max_tokens
        return changes

    def write_request(self, conversation: Conversation, *, max_tokens_field: str, stream_usage: bool) -> Encoded:
        """Renders a neutral request; a stream's usage needs no asking here."""
        return write_request(conversation, max_tokens_field=max_tokens_field)

    def stream_decoder(self) -> StreamDecoder:
        """Returns a decoder for one streamed answer."""
        return AnthropicStream()

    def read_answer(self, body: bytes) -> tuple[Frame, Summary]:
        """Reads a whole unary body; see ``answer.read_answer``."""
        return read_answer(body)

    def read_error(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
        """Classifies an error answer; see ``errors.read_error``."""
        return read_error(status, headers, body)
