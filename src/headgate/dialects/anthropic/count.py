"""Token counting on the Anthropic wire: what ``/v1/messages/count_tokens`` answers."""

from __future__ import annotations

import msgspec

from headgate.core.errors import UpstreamBroken
from headgate.dialects.anthropic.wire import encode


class _Count(msgspec.Struct):
    input_tokens: int


_decode_count = msgspec.json.Decoder(_Count).decode


def write_count_answer(tokens: int) -> bytes:
    """Renders ``{"input_tokens": N}``."""
    return encode({"input_tokens": tokens})


def read_count_answer(body: bytes) -> int:
    """Reads an upstream's count.

    Raises:
        UpstreamBroken: ``malformed_answer``.
    """
    try:
        return _decode_count(body).input_tokens
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamBroken(
            "The upstream's token count is not of the form {'input_tokens': N}.", code="malformed_answer", sent=True
        ) from None
