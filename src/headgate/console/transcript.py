"""A Transcript: what was asked and answered, read from the kept bytes by the dialects, as turns of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from headgate.core.errors import HeadgateError
from headgate.core.event import (
    ErrorEvent,
    Event,
    Frame,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from headgate.core.message import (
    Audio,
    Conversation,
    Document,
    Image,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.base import Dialect


class Piece(msgspec.Struct):
    """One piece of a turn: text, or what stands for something that is not shown.

    ``kind`` is ``text``, ``reasoning``, ``tool call``, ``tool result``, ``refusal``, ``error``, or ``image``,
    ``document``…; ``name`` is a tool's name, or such a thing's.
    """

    kind: str
    text: str = ""
    name: str = ""


class Turn(msgspec.Struct):
    """One turn of the conversation."""

    role: str
    pieces: list[Piece]


def read_asked(raw: str, dialect: Dialect | None) -> tuple[list[Turn], list[tuple[str, str]]]:
    """Returns the turns of a request and its parameters; nothing where it can not be read."""
    if dialect is None:
        return [], []
    try:
        asked = dialect.read_request(dialect.view(raw.encode()))
    except (HeadgateError, NotImplementedError):
        return [], []
    turns = [Turn(message.role, [_piece(part) for part in message.parts]) for message in asked.messages]
    return turns, _parameters(asked)


def read_answered(raw: str, stream: bool, dialects: Iterable[Dialect]) -> list[Turn]:
    """Returns the turns of an answer (one for each of ``n``), in whichever of these dialects reads it; else nothing."""
    for dialect in dialects:
        try:
            turns = _fold(_frames(raw.encode(), stream, dialect))
        except (HeadgateError, NotImplementedError, msgspec.MsgspecError, KeyError, TypeError):
            continue
        if turns:
            return turns
    return []


def _frames(raw: bytes, stream: bool, dialect: Dialect) -> list[Frame]:
    if not stream:
        return [dialect.read_answer(raw)[0]]
    decoder = dialect.stream_decoder()
    return decoder.feed(raw)


def _fold(frames: Iterable[Frame]) -> list[Turn]:
    turns: dict[int, Turn] = {}
    calls: dict[tuple[int, int], Piece] = {}
    for frame in frames:
        for event in frame.events:
            choice = getattr(event, "choice", 0)
            pieces = turns.setdefault(choice, Turn("assistant", [])).pieces if _shows(event) else []
            if isinstance(event, ToolCallStart):
                pieces.append(Piece("tool call", name=event.name))
                calls[choice, event.index] = pieces[-1]
            elif isinstance(event, ToolCallDelta):
                if (choice, event.index) in calls:
                    calls[choice, event.index].text += event.arguments
            elif isinstance(event, ErrorEvent):
                pieces.append(Piece("error", event.message, event.code))
            elif isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
                kind = _KINDS[type(event)]
                if not pieces or pieces[-1].kind != kind:
                    pieces.append(Piece(kind))
                pieces[-1].text += event.text
    return [turns[choice] for choice in sorted(turns)]


_KINDS: Mapping[type[Event], str] = {TextDelta: "text", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}


def _shows(event: Event) -> bool:
    if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
        return bool(event.text)
    return isinstance(event, ToolCallStart | ErrorEvent)


def _piece(part: Part) -> Piece:
    match part:
        case Text(text=text):
            return Piece("text", text)
        case Thinking(text=text):
            return Piece("reasoning", text)
        case Refusal(text=text):
            return Piece("refusal", text)
        case ToolCall(name=name, arguments=arguments):
            return Piece("tool call", arguments, name)
        case ToolResult(id=id, parts=parts):
            inner = [_piece(one) for one in parts if isinstance(one, Part)]
            return Piece("tool result", "\n".join(one.text or f"[{one.kind}]" for one in inner), id)
        case Image(url=url, media_type=kind):
            return Piece("image", name=url or kind or "")
        case Document(name=name, text=text):
            return Piece("document", text or "", name or "")
        case Audio(format=kind):
            return Piece("audio", name=kind)
    return Piece(type(part).__name__.lower())


_SHOWN = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "n",
    "seed",
    "stop",
    "effort",
    "thinking",
    "thinking_tokens",
    "frequency_penalty",
    "presence_penalty",
)


def _parameters(asked: Conversation) -> list[tuple[str, str]]:
    found = []
    for name in _SHOWN:
        value: Any = getattr(asked, name)
        if value is not None and not (name == "n" and value == 1):
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            found.append((name.replace("_", " "), shown))
    if asked.tools:
        found.append(("tools", ", ".join(tool.name for tool in asked.tools)))
    return found
