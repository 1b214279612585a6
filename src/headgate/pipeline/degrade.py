"""The layer ``degrade``: when nothing else has answered, a static text does, marked as such."""

from __future__ import annotations

from collections.abc import Mapping

from headgate.core.call import Call, Handler
from headgate.core.errors import HeadgateError
from headgate.core.event import Event, Finish, FinishReason, Frame, Kind, Start, Summary, TextDelta, UsageReport
from headgate.core.reply import Reply
from headgate.core.usage import Usage

_CONVERSATIONS = frozenset({"openai_chat", "anthropic"})
_HEADERS = ((b"x-headgate-degraded", b"static"),)


def degrade(next: Handler, answers: Mapping[str, str]) -> Handler:
    """Builds the layer.

    Args:
        next: the layer inside.
        answers: the text of every model that has one.

    The answer has the header ``x-headgate-degraded: static``, finish ``stop`` and no tokens; its Record has the note
    ``degraded`` with the code of the error that it stands for. What the caller is to blame for stays an error.
    """

    async def handler(call: Call) -> Reply:
        try:
            return await next(call)
        except HeadgateError as error:
            text = answers.get(call.view.model)
            blameless = error.fault != "caller" or error.code == "deadline_exceeded"
            if text is None or not blameless or call.dialect.name not in _CONVERSATIONS:
                raise
            call.record.notes = {**call.record.notes, "degraded": "static", "degraded_for": error.code}
            return _answer(call, text)

    return handler


def _answer(call: Call, text: str) -> Reply:
    summary = Summary(id=call.id, model=call.view.model, finish=FinishReason.STOP, wire_finish="stop")
    summary.usage = Usage()
    summary.content_chars = len(text)
    summary.complete = True
    said: list[Event] = [Start(call.id, call.view.model, call.record.time_ns // 1_000_000_000), TextDelta(text)]
    done: list[Event] = [Finish(FinishReason.STOP), UsageReport(Usage())]
    frames = [Frame(Kind.CONTENT, None, events=said), Frame(Kind.FINISH, None, events=done)]
    return Reply(frames, None, summary, "", _HEADERS)
