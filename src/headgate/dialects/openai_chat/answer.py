"""Unary answers: a lean scan for policy now, neutral events if somebody asks."""

from __future__ import annotations

import msgspec

from headgate.core.errors import UpstreamBroken
from headgate.core.event import Event, Frame, Kind, Summary
from headgate.dialects.openai_chat.errors import read_stream_error
from headgate.dialects.openai_chat.events import answer_events
from headgate.dialects.openai_chat.wire import Answer, ScannedAnswer, finish_reason

_CONTENT = Kind.CONTENT
_scan = msgspec.json.Decoder(ScannedAnswer).decode
_whole = msgspec.json.Decoder(Answer).decode


def read_answer(body: bytes) -> tuple[Frame, Summary]:
    """See ``Dialect.read_answer``."""
    try:
        answer = _scan(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_an_answer(body, str(error)) from None
    choices = answer.choices
    if answer.error or not choices:
        raise _not_an_answer(body, "it has no choices")
    first = choices[0]
    word = first.finish_reason
    if word is None:
        if first.message is None:
            raise _not_an_answer(body, "its choice has no message")
        word = "" if first.finish_details is None else first.finish_details.type or ""
    frame = Frame(_CONTENT, body, body, _events)
    usage = answer.usage
    reason = finish_reason(word, first.stop_reason)
    if usage is not None:
        counts = usage.neutral(answer.service_tier)
        return frame, Summary(answer.id or "", answer.model or "", reason, word, counts, 0, True)
    characters = sum(map(_characters, frame.events))
    return frame, Summary(answer.id or "", answer.model or "", reason, word, None, characters, True)


def _events(body: bytes) -> list[Event]:
    try:
        return answer_events(_whole(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return answer_events(msgspec.convert(msgspec.json.decode(body), Answer, strict=False))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_an_answer(body, str(error)) from None


def _characters(event: Event) -> int:
    return len(getattr(event, "text", "")) + len(getattr(event, "arguments", ""))


def _not_an_answer(body: bytes, reason: str) -> Exception:
    """Returns the error that hides in the body, or says that it is no answer."""
    error = read_stream_error(body)
    if error is not None:
        return error
    return UpstreamBroken(
        f"The upstream's answer is not a chat completion: {reason[:150]}.", code="malformed_answer", sent=True
    )
