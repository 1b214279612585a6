"""Writes the neutral turns of another dialect as OpenAI messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.core.message import (
    AnyPart,
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Other,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.openai_chat.lost import Lost, locate
from headgate.dialects.openai_chat.wire import NAME
from headgate.dialects.unsaid import refuse_unsaid

Wire = dict[str, Any]


def write_messages(conversation: Conversation, lost: Lost) -> list[Wire]:
    """Returns the messages; names in ``lost`` what OpenAI has no place for.

    Raises:
        BadRequest: nothing of a user's message has one.
    """
    messages: list[Wire] = []
    for message, (place, offset) in zip(conversation.messages, locate(conversation), strict=True):
        paths = [f"{place}[{offset + index}]" for index in range(len(message.parts))]
        if message.role == "tool":
            messages += _results(message, paths, lost)
        elif message.role == "assistant":
            messages.append(_assistant(message, paths, lost))
        else:
            written: Wire = {"role": message.role, "content": _content(message.parts, paths, lost)}
            if message.name is not None:
                written["name"] = message.name
            if message.role == "user" and not written["content"] and lost.origin != NAME:
                refuse_unsaid(zip(message.parts, paths, strict=True), "OpenAI's chat completions")
            messages.append(written)
    return messages


def _content(parts: Sequence[AnyPart], paths: Sequence[str], lost: Lost) -> str | list[Wire]:
    """Returns a plain string where one plain text says it all: every compatible server takes that."""
    written: list[Wire] = []
    for part, path in zip(parts, paths, strict=True):
        written += _part(part, path, lost)
    if not written:
        return ""
    if len(written) == 1 and written[0].keys() == {"type", "text"}:
        text: str = written[0]["text"]
        return text
    return written


def _part(part: AnyPart, path: str, lost: Lost) -> list[Wire]:
    """Returns the content parts that a neutral part becomes, usually one."""
    if isinstance(part, Text):
        if part.citations:
            lost.add(f"{path}.citations")
        return _dressed({"type": "text", "text": part.text}, part, path, lost)
    if isinstance(part, Image):
        return _image(part, path, lost)
    if isinstance(part, Document):
        return _document(part, path, lost)
    if isinstance(part, Audio):
        audio = {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        return _dressed(audio, part, path, lost)
    if isinstance(part, Refusal):
        return _dressed({"type": "refusal", "refusal": part.text}, part, path, lost)
    if isinstance(part, Other) and part.origin == NAME:
        return [part.data]
    lost.add(path)
    return []


def _dressed(written: Wire, part: AnyPart, path: str, lost: Lost) -> list[Wire]:
    """Adds what a part carries beside its content, or names it."""
    if part.cache is not None:
        if lost.origin == NAME:
            written["cache_control"] = part.cache
        else:
            lost.add(f"{path}.cache_control")
    if part.extra:
        written.update(lost.extra(path, part.extra))
    return [written]


def _image(part: Image, path: str, lost: Lost) -> list[Wire]:
    if part.data is not None:
        url = f"data:{part.media_type or 'image/png'};base64,{part.data}"
    elif part.url is not None:
        url = part.url
    else:
        lost.add(path)
        return []
    source = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
    return _dressed({"type": "image_url", "image_url": source}, part, path, lost)


def _document(part: Document, path: str, lost: Lost) -> list[Wire]:
    if part.context:
        lost.add(f"{path}.context")
    if part.citations and part.citations.get("enabled") is not False:
        lost.add(f"{path}.citations")
    if part.data is not None:
        media_type = part.media_type or "application/pdf"
        name = part.name or ("document.pdf" if media_type == "application/pdf" else "document")
        file = {"filename": name, "file_data": f"data:{media_type};base64,{part.data}"}
        return _dressed({"type": "file", "file": file}, part, path, lost)
    if part.file_id is not None and lost.origin == NAME:
        file = {"file_id": part.file_id} if part.name is None else {"file_id": part.file_id, "filename": part.name}
        return _dressed({"type": "file", "file": file}, part, path, lost)
    if part.text is None and part.content is None:
        lost.add(path)
        return []
    if part.name:
        lost.add(f"{path}.title")
    if part.text is not None:
        return _dressed({"type": "text", "text": part.text}, part, path, lost)
    written: list[Wire] = []
    for index, piece in enumerate(part.content or ()):
        written += _part(piece, f"{path}.source.content[{index}]", lost)
    return written


def _assistant(message: Message, paths: Sequence[str], lost: Lost) -> Wire:
    """Texts are joined: an assistant's blocks follow one another without a gap."""
    written: Wire = {"role": "assistant", "content": None}
    texts: list[str] = []
    calls: list[Wire] = []
    for part, path in zip(message.parts, paths, strict=True):
        if isinstance(part, Thinking) and lost.origin == NAME:
            written["reasoning_content"] = part.text
        elif isinstance(part, Thinking | RedactedThinking):
            lost.add(path)
        elif isinstance(part, ToolCall):
            call = {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
            calls += _dressed(call, part, path, lost)
        elif isinstance(part, Refusal):
            written["refusal"] = part.text
        elif isinstance(part, Other) and part.origin == NAME:
            _own(written, calls, part.data)
        else:
            for piece in _part(part, path, lost):
                if piece.get("type") == "text":
                    texts.append(piece.pop("text"))
                    written.update({key: value for key, value in piece.items() if key != "type"})
                else:
                    lost.add(path)
    if texts or not (calls or "refusal" in written):
        written["content"] = "".join(texts)
    if calls:
        written["tool_calls"] = calls
    if message.name is not None:
        written["name"] = message.name
    return written


def _own(written: Wire, calls: list[Wire], data: Wire) -> None:
    """Something of our own wire that has no neutral form: a custom tool's call, or a message's other keys."""
    if "id" in data and "type" in data:
        calls.append(data)
    else:
        written.update(data)


def _results(message: Message, paths: Sequence[str], lost: Lost) -> list[Wire]:
    """One message per result. Tool messages hold text only: images follow in a user turn, after the last result."""
    written: list[Wire] = []
    shown: list[Wire] = []
    for part, path in zip(message.parts, paths, strict=True):
        if not isinstance(part, ToolResult):
            lost.add(path)
            continue
        texts: list[AnyPart] = []
        text_paths: list[str] = []
        for index, piece in enumerate(part.parts):
            piece_path = f"{path}.content[{index}]"
            if isinstance(piece, Image | Audio) or (isinstance(piece, Document) and piece.data is not None):
                shown += _part(piece, piece_path, lost)
            else:
                texts.append(piece)
                text_paths.append(piece_path)
        result: Wire = {"role": "tool", "tool_call_id": part.id, "content": _content(texts, text_paths, lost)}
        if part.error:
            lost.add(f"{path}.is_error")
        written += _dressed(result, part, path, lost)
    if shown:
        written.append({"role": "user", "content": shown})
    return written
