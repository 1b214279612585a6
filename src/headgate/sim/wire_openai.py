"""OpenAI's wire, written by hand: chat completions (whole and streamed), embeddings, models, errors.

On purpose it shares nothing with ``headgate.dialects``: a test peer with its subject's encoder hides its bugs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headgate.sim.ask import Ask
from headgate.sim.ask_openai import EmbeddingsAsk
from headgate.sim.behaviour import Pace
from headgate.sim.draft import Choice, Draft
from headgate.sim.play import Act, Piece
from headgate.sim.vectors import as_base64, make_vector

CREATED = 1_767_225_600
"""The creation time in every answer (2026-01-01): the same seed gives the same bytes."""

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode
_FINISH = {"stop_sequence": "stop"}

_TYPES: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Country not supported."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    408: ("invalid_request_error", None, "Request timed out."),
    413: ("invalid_request_error", None, "Request too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


def error_body(status: int, message: str | None = None, *, code: str | None = None, param: str | None = None) -> bytes:
    """Returns an error body for ``status``; ``code`` replaces the usual one."""
    kind, usual, text = _TYPES.get(status, _TYPES[400 if status < 500 else 500])
    if code == "insufficient_quota":
        kind = code
    inner = {"message": message or text, "type": kind, "param": param, "code": code or usual}
    return _encode({"error": inner})


def error_event(status: int, message: str | None = None) -> bytes:
    """Returns the error as an event inside a stream."""
    return b"data: " + error_body(status, message) + b"\n\n"


def usage(draft: Draft) -> dict[str, Any]:
    """Returns the usage object of an answer."""
    output_tokens = draft.output_tokens
    return {
        "prompt_tokens": draft.input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": draft.input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": draft.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": draft.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def render(draft: Draft) -> bytes:
    """Returns a whole ``chat.completion``."""
    answer = {
        "id": "chatcmpl-" + draft.id,
        "object": "chat.completion",
        "created": CREATED,
        "model": draft.model,
        "choices": [_choice(index, choice) for index, choice in enumerate(draft.choices)],
        "usage": usage(draft),
        "service_tier": "default",
        "system_fingerprint": "fp_sim",
    }
    return _encode(answer)


def _choice(index: int, choice: Choice) -> dict[str, Any]:
    text = "".join(choice.text)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.calls and not text else text,
        "refusal": None,
        "annotations": [],
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.calls:
        message["tool_calls"] = [
            {"id": "call_" + call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
            for call in choice.calls
            for arguments in ("".join(call.pieces),)
        ]
    finish = _FINISH.get(choice.finish, choice.finish)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def stream(draft: Draft, ask: Ask, pace: Pace) -> Iterator[Piece]:
    """Returns the pieces of a streamed answer, the HEAD first; choices are spoken side by side."""
    head = {
        "id": "chatcmpl-" + draft.id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": draft.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sim",
    }
    start = b"data: " + _encode(head)[:-1] + b',"choices":['
    end = b'],"usage":null}\n\n' if ask.include_usage else b"]}\n\n"
    yield Piece(pace.head, Act.HEAD)
    for index in range(len(draft.choices)):
        delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        yield Piece(pace.head, Act.PREAMBLE, start + _delta(index, _encode(delta)) + end)
    speakers = [_speak(index, choice) for index, choice in enumerate(draft.choices)]
    for position in range(draft.longest):
        at = pace.first + position * pace.gap
        for speaker in speakers:
            for delta_bytes in next(speaker, ()):
                yield Piece(at, Act.CONTENT, start + delta_bytes + end)
    at = pace.first + draft.longest * pace.gap
    for index, choice in enumerate(draft.choices):
        finish = _FINISH.get(choice.finish, choice.finish)
        yield Piece(at, Act.FINISH, start + _delta(index, b"{}", b'"%s"' % finish.encode()) + end)
    if ask.include_usage:
        yield Piece(at, Act.FINISH, start + b'],"usage":' + _encode(usage(draft)) + b"}\n\n")
    yield Piece(at, Act.MARKER, DONE)


def _delta(index: int, delta: bytes, finish: bytes = b"null") -> bytes:
    return b'{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}' % (index, delta, finish)


def _speak(index: int, choice: Choice) -> Iterator[tuple[bytes, ...]]:
    """One step per token: the deltas that it makes (a tool call's first token opens the call as well)."""
    start, end = b'{"index":%d,"delta":{' % index, b'},"logprobs":null,"finish_reason":null}'
    for piece in choice.reasoning:
        yield (start + b'"reasoning_content":' + _encode(piece) + end,)
    text = start + b'"content":'
    for piece in choice.text:
        yield (text + _encode(piece) + end,)
    for number, call in enumerate(choice.calls):
        opened = {"index": number, "id": "call_" + call.id, "type": "function"}
        inner = _encode(opened | {"function": {"name": call.name, "arguments": ""}})
        opening = start + b'"tool_calls":[' + inner + b"]" + end
        part = start + b'"tool_calls":[{"index":%d,"function":{"arguments":' % number
        for position, piece in enumerate(call.pieces):
            step = part + _encode(piece) + b"}}]" + end
            yield (opening, step) if position == 0 else (step,)


def render_embeddings(ask: EmbeddingsAsk, dimensions: int) -> bytes:
    """Returns an embeddings answer, as floats or base64 as asked for."""
    vectors = [make_vector(text, ask.dimensions or dimensions) for text in ask.texts]
    base64 = ask.encoding_format == "base64"
    answer = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": as_base64(vector) if base64 else list(vector)}
            for index, vector in enumerate(vectors)
        ],
        "model": ask.model,
        "usage": {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens},
    }
    return _encode(answer)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "headgate-sim"}


def render_model(name: str) -> bytes:
    """Returns one entry of the models list."""
    return _encode(_model(name))


def render_models(names: Sequence[str]) -> bytes:
    """Returns the models list."""
    return _encode({"object": "list", "data": [_model(name) for name in names]})
