"""Token counting on the Anthropic wire: ``/v1/messages/count_tokens``, and an estimate where nobody can count."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.errors import UpstreamBroken
from headgate.core.message import (
    AnyPart,
    Audio,
    Conversation,
    Document,
    Image,
    Other,
    RedactedThinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.anthropic.read_request import read_request
from headgate.dialects.anthropic.wire import encode
from headgate.dialects.base import View

PER_MESSAGE = 8
PER_REQUEST = 32
PER_TOOLS = 350
"""The system prompt that Anthropic adds where tools are given (346 tokens for current models)."""
PER_IMAGE = 1600
"""A full-size image (width times height / 750, scaled down to about 1.15 megapixels)."""
PER_PAGE = 3000
"""A page of a PDF at its dearest (1,500-3,000 tokens)."""
BYTES_PER_PAGE = 50_000


class _Count(msgspec.Struct):
    input_tokens: int


_decode_count = msgspec.json.Decoder(_Count).decode


def read_count_request(view: View) -> Conversation:
    """Decodes a count request: a messages request without ``max_tokens``.

    Raises:
        BadRequest: a field has the wrong shape; ``param`` is its path.
    """
    return read_request(view)


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


def estimate_input_tokens(conversation: Conversation) -> int:
    """Returns about how many input tokens a conversation costs, without its model's tokenizer.

    Text counts a token for 3.5 ASCII characters and one for any other character, which is on the high side for
    prose of current models; files and images count at their dearest. It is an estimate: for money use
    ``bound_input_tokens``.
    """
    total = float(PER_REQUEST)
    for message in conversation.messages:
        total += PER_MESSAGE + sum(_estimate(part) for part in message.parts)
    if conversation.tools:
        total += PER_TOOLS + sum(_tokens(encode(tool).decode()) for tool in conversation.tools)
    if conversation.output is not None and conversation.output.schema is not None:
        total += _tokens(encode(conversation.output.schema).decode())
    return int(total) + 1


def bound_input_tokens(conversation: Conversation) -> int:
    """Returns a number of input tokens that no tokenizer exceeds: one per UTF-8 byte (DESIGN §6).

    Images and files have no such bound without decoding them: they count at the flat prices above, a file behind
    a URL or an id as one page. Callers that must never undercount these widen the bound from what they settle.
    """
    total = PER_REQUEST
    for message in conversation.messages:
        total += PER_MESSAGE + sum(_bound(part) for part in message.parts)
    if conversation.tools:
        total += PER_TOOLS + sum(len(encode(tool)) for tool in conversation.tools)
    if conversation.output is not None and conversation.output.schema is not None:
        total += len(encode(conversation.output.schema))
    return total


def _tokens(text: str) -> float:
    if text.isascii():
        return len(text) / 3.5
    plain = len(text.encode("ascii", "ignore"))
    return plain / 3.5 + (len(text) - plain)


def _estimate(part: AnyPart) -> float:
    flat = _flat(part)
    if flat is not None:
        return flat
    if isinstance(part, ToolResult):
        return PER_MESSAGE + sum(_estimate(inner) for inner in part.parts)
    return sum(_tokens(text) for text in _texts(part))


def _bound(part: AnyPart) -> int:
    flat = _flat(part)
    if flat is not None:
        return flat
    if isinstance(part, ToolResult):
        return PER_MESSAGE + sum(_bound(inner) for inner in part.parts)
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in _texts(part))


def _flat(part: AnyPart) -> int | None:
    """The price of what is not text."""
    if isinstance(part, Image):
        return PER_IMAGE
    if isinstance(part, Document) and part.text is None and part.content is None:
        return PER_PAGE * (1 + len(part.data or "") * 3 // 4 // BYTES_PER_PAGE)
    if isinstance(part, Audio):
        return len(part.data) // 4
    return None


def _texts(part: AnyPart) -> list[str]:
    if isinstance(part, ToolCall):
        return [part.name, part.arguments]
    if isinstance(part, RedactedThinking):
        return [part.data]
    if isinstance(part, Other):
        return [encode(part.data).decode()]
    if isinstance(part, Document):
        inner: list[Any] = part.content or []
        texts = [text for item in inner for text in _texts(item)]
        return [part.text or "", part.name or "", part.context or "", *texts]
    return [getattr(part, "text", "")]
