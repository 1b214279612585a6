"""Reads a unary Anthropic answer: what policy needs at once, its neutral events on demand."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headgate.core.errors import UpstreamBroken
from headgate.core.event import End, Event, Frame, Kind, Summary
from headgate.core.usage import Usage
from headgate.dialects.anthropic.blocks import message_events
from headgate.dialects.anthropic.errors import error_of_type
from headgate.dialects.anthropic.wire import WireError, decode_answer, decode_object, finish_of


def read_answer(body: bytes) -> tuple[Frame, Summary]:
    """Reads a whole 2xx body into one frame and its summary.

    Raises:
        UpstreamBroken: ``malformed_answer``: not an Anthropic message.
        UpstreamError: an error body inside a 200.
    """
    try:
        answer = decode_answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _malformed("it is not JSON of the right shape") from None
    if answer.error is not None or answer.type == "error":
        raise error_of_type(answer.error or WireError(), body)
    blocks, wire = answer.content, answer.stop_reason
    if blocks is None:
        raise _malformed("it has no content")
    if wire is None:
        raise _malformed("it has no stop_reason")
    size = 0
    for block in blocks:
        size += block.size
    usage = None if answer.usage is None else answer.usage.neutral()
    summary = Summary(answer.id, answer.model, finish_of(wire), wire, usage, size, True)
    return Frame(Kind.CONTENT, body, (body, usage), _events), summary


def _events(wire: tuple[bytes, Usage | None]) -> Sequence[Event]:
    body, usage = wire
    return [*message_events(decode_object(body), usage), End()]


def _malformed(why: str) -> UpstreamBroken:
    return UpstreamBroken(
        f"The upstream's answer is not an Anthropic message: {why}.", code="malformed_answer", sent=True
    )
