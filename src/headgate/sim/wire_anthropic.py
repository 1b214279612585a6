"""Anthropic's wire, written by hand: messages (whole and streamed), count_tokens, models, errors.

On purpose it shares nothing with ``headgate.dialects``: a test peer with its subject's encoder hides its bugs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headgate.sim.behaviour import Pace
from headgate.sim.draft import Call, Choice, Draft
from headgate.sim.play import Act, Piece

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_encode = msgspec.json.Encoder().encode
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

_TYPES = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low."),
    403: ("permission_error", "Your API key may not use this resource."),
    404: ("not_found_error", "model not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}


def error_body(status: int, message: str | None = None, *, request_id: str | None = None) -> bytes:
    """Returns an error body for ``status``."""
    kind, usual = _TYPES.get(status, _TYPES[400 if status < 500 else 500])
    return _encode({"type": "error", "error": {"type": kind, "message": message or usual}, "request_id": request_id})


def error_event(status: int, message: str | None = None) -> bytes:
    """Returns the error as an event inside a stream."""
    kind, usual = _TYPES.get(status, _TYPES[500])
    error = {"type": kind, "message": message or usual}
    return _event("error", {"type": "error", "error": error})


def usage(draft: Draft, output_tokens: int) -> dict[str, Any]:
    """Returns the usage object; cached tokens stand beside ``input_tokens``, as in the real API."""
    return {
        "input_tokens": draft.input_tokens - draft.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": draft.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def sign(thinking: str) -> str:
    """Returns the signature of a thinking block: a base64 of its hash."""
    digest = hashlib.blake2b(thinking.encode("utf-8", "surrogatepass"), key=b"headgate-sim").digest()
    return base64.b64encode(digest).decode("ascii")


def _message(draft: Draft, content: list[Any], choice: Choice | None, output_tokens: int) -> dict[str, Any]:
    return {
        "id": "msg_" + draft.id,
        "type": "message",
        "role": "assistant",
        "model": draft.model,
        "content": content,
        "stop_reason": None if choice is None else _FINISH.get(choice.finish, choice.finish),
        "stop_sequence": None if choice is None else choice.stop,
        "usage": usage(draft, output_tokens),
    }


def render(draft: Draft) -> bytes:
    """Returns a whole message."""
    choice = draft.choices[0]
    content: list[dict[str, Any]] = []
    if choice.reasoning:
        thinking = "".join(choice.reasoning)
        content.append({"type": "thinking", "thinking": thinking, "signature": sign(thinking)})
    if choice.text:
        content.append({"type": "text", "text": "".join(choice.text)})
    for call in choice.calls:
        content.append({"type": "tool_use", "id": "toolu_" + call.id, "name": call.name, "input": _whole(call)})
    return _encode(_message(draft, content, choice, draft.output_tokens))


def _whole(call: Call) -> Any:
    try:
        return msgspec.json.decode("".join(call.pieces))
    except msgspec.DecodeError:
        return {}  # cut by max_tokens: a whole message can not hold half an object


def stream(draft: Draft, pace: Pace) -> Iterator[Piece]:
    """Returns the pieces of a streamed answer, the HEAD first."""
    choice = draft.choices[0]
    yield Piece(pace.head, Act.HEAD)
    opening = {"type": "message_start", "message": _message(draft, [], None, min(1, draft.output_tokens))}
    yield Piece(pace.head, Act.PREAMBLE, _event("message_start", opening))
    position, pinged = 0, False
    for index, (block, kind, field, pieces, signature) in enumerate(_blocks(choice)):
        at = pace.first + position * pace.gap
        start = {"type": "content_block_start", "index": index, "content_block": block}
        # A tool's name is content: its opening commits, as text's does not.
        act = Act.CONTENT if kind == "input_json_delta" else Act.PREAMBLE
        yield Piece(at, act, _event("content_block_start", start))
        if not pinged:
            yield Piece(at, Act.PREAMBLE, PING)
            pinged = True
        head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % index
        head += b'"delta":{"type":"%b","%b":' % (kind.encode(), field.encode())
        for piece in pieces:
            yield Piece(pace.first + position * pace.gap, Act.CONTENT, head + _encode(piece) + b"}}\n\n")
            position += 1
        at = pace.first + position * pace.gap
        if signature:
            delta = {"type": "signature_delta", "signature": signature}
            event = {"type": "content_block_delta", "index": index, "delta": delta}
            yield Piece(at, Act.PREAMBLE, _event("content_block_delta", event))
        yield Piece(at, Act.PREAMBLE, _event("content_block_stop", {"type": "content_block_stop", "index": index}))
    at = pace.first + position * pace.gap
    reason = _FINISH.get(choice.finish, choice.finish)
    last = {"stop_reason": reason, "stop_sequence": choice.stop}
    event = {"type": "message_delta", "delta": last, "usage": {"output_tokens": draft.output_tokens}}
    yield Piece(at, Act.FINISH, _event("message_delta", event))
    yield Piece(at, Act.MARKER, STOP)


def _blocks(choice: Choice) -> Iterator[tuple[dict[str, Any], str, str, list[str], str]]:
    if choice.reasoning:
        block: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        yield block, "thinking_delta", "thinking", choice.reasoning, sign("".join(choice.reasoning))
    if choice.text:
        yield {"type": "text", "text": ""}, "text_delta", "text", choice.text, ""
    for call in choice.calls:
        block = {"type": "tool_use", "id": "toolu_" + call.id, "name": call.name, "input": {}}
        yield block, "input_json_delta", "partial_json", call.pieces, ""


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode(data) + b"\n\n"


def render_count(input_tokens: int) -> bytes:
    """Returns a count_tokens answer."""
    return _encode({"input_tokens": input_tokens})


def _model(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 1_000_000,
        "max_tokens": 100_000,
    }


def render_model(name: str) -> bytes:
    """Returns one entry of the models list."""
    return _encode(_model(name))


def render_models(names: Sequence[str]) -> bytes:
    """Returns the models list, as one page."""
    first, last = (names[0], names[-1]) if names else (None, None)
    page = {"data": [_model(name) for name in names], "has_more": False, "first_id": first, "last_id": last}
    return _encode(page)
