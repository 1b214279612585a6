"""The dialect ``openai_chat``: both faces of ``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.core.errors import HeadgateError, UpstreamError
from headgate.core.event import Frame, Summary
from headgate.core.message import Conversation, Encoded
from headgate.dialects.base import Dialect, Encoder, StreamDecoder, View
from headgate.dialects.fields import patch_fields
from headgate.dialects.openai_chat.answer import read_answer
from headgate.dialects.openai_chat.decoder import ChatStreamDecoder
from headgate.dialects.openai_chat.errors import read_error
from headgate.dialects.openai_chat.names import FIELD_NAMES
from headgate.dialects.openai_chat.read_request import read_request
from headgate.dialects.openai_chat.refusals import error_body, error_frame
from headgate.dialects.openai_chat.stream_encoder import ChatStreamEncoder
from headgate.dialects.openai_chat.unary_encoder import ChatUnaryEncoder
from headgate.dialects.openai_chat.view import policy, view_request
from headgate.dialects.openai_chat.wire import NAME
from headgate.dialects.openai_chat.write_request import write_request


class OpenAIChat(Dialect):
    """OpenAI's chat completions, and the many servers that speak like it.

    Example:
        >>> OpenAIChat().view(b'{"model":"fast","messages":[]}').model
        'fast'
    """

    name = NAME
    field_names = FIELD_NAMES

    def view(self, raw: bytes) -> View:
        """See ``Dialect.view``."""
        return view_request(raw)

    def read_request(self, view: View) -> Conversation:
        """See ``Dialect.read_request``."""
        return read_request(view)

    def encoder(self, *, stream: bool, model: str, include_usage: bool = True) -> Encoder:
        """See ``Dialect.encoder``."""
        return ChatStreamEncoder(model, include_usage) if stream else ChatUnaryEncoder(model)

    def error_body(self, error: HeadgateError, status: int, call_id: str) -> bytes:
        """See ``Dialect.error_body``. OpenAI's bodies have no place for a status or an id; headers tell them."""
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
        """See ``Dialect.policy``."""
        return policy(
            view, model=model, max_tokens=max_tokens, max_tokens_field=max_tokens_field, stream_usage=stream_usage
        )

    def write_request(self, conversation: Conversation, *, max_tokens_field: str, stream_usage: bool) -> Encoded:
        """See ``Dialect.write_request``."""
        return write_request(conversation, max_tokens_field=max_tokens_field, stream_usage=stream_usage)

    def stream_decoder(self) -> StreamDecoder:
        """See ``Dialect.stream_decoder``."""
        return ChatStreamDecoder()

    def read_answer(self, body: bytes) -> tuple[Frame, Summary]:
        """See ``Dialect.read_answer``."""
        return read_answer(body)

    def read_error(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
        """See ``Dialect.read_error``."""
        return read_error(status, headers, body)
