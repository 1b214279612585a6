"""Reads the content blocks of an Anthropic request into neutral parts, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.core.message import (
    AnyPart,
    Document,
    Image,
    Other,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.anthropic.wire import NAME, encode
from headgate.dialects.shapes import (
    get_bool,
    get_object,
    get_text,
    rest,
    want_list,
    want_object,
    want_text,
    wrong,
)


def read_content(value: Any, path: str) -> list[AnyPart]:
    """Returns the parts of a ``content``: a string, or blocks.

    Raises:
        BadRequest: a block has the wrong shape.
    """
    if isinstance(value, str):
        return [Text(text=value)]
    if not isinstance(value, list):
        raise wrong(path, "a string or an array of content blocks")
    return [read_part(block, f"{path}[{index}]") for index, block in enumerate(value)]


def read_part(value: Any, path: str) -> AnyPart:
    """Returns the part that a block is; a kind without neutral form is kept whole as ``Other``.

    Raises:
        BadRequest: it has the wrong shape.
    """
    block = want_object(value, path)
    kind = want_text(block.get("type"), f"{path}.type")
    reader = _READERS.get(kind)
    if reader is None:
        return Other(data=block, origin=NAME)
    return reader(block, path)


def _cache(block: dict[str, Any], path: str) -> dict[str, Any] | None:
    return get_object(block, "cache_control", path)


def _text(block: dict[str, Any], path: str) -> AnyPart:
    citations = block.get("citations")
    return Text(
        text=want_text(block.get("text"), f"{path}.text"),
        citations=None if citations is None else want_list(citations, f"{path}.citations"),
        cache=_cache(block, path),
        extra=rest(block, "type", "text", "citations", "cache_control"),
    )


def _image(block: dict[str, Any], path: str) -> AnyPart:
    source = want_object(block.get("source"), f"{path}.source")
    kind, where = source.get("type"), f"{path}.source"
    image = Image(cache=_cache(block, path), extra=rest(block, "type", "source", "cache_control"))
    if kind == "base64":
        image.data = want_text(source.get("data"), f"{where}.data")
        image.media_type = want_text(source.get("media_type"), f"{where}.media_type")
    elif kind == "url":
        image.url = want_text(source.get("url"), f"{where}.url")
    elif kind == "file":
        image.file_id = want_text(source.get("file_id"), f"{where}.file_id")
    else:
        want_text(kind, f"{where}.type")
        return Other(data=block, origin=NAME)
    return Other(data=block, origin=NAME) if rest(source, "type", *_SOURCE_KEYS[kind]) else image


def _document(block: dict[str, Any], path: str) -> AnyPart:
    source = want_object(block.get("source"), f"{path}.source")
    kind, where = source.get("type"), f"{path}.source"
    document = Document(
        name=get_text(block, "title", path),
        context=get_text(block, "context", path),
        citations=get_object(block, "citations", path),
        cache=_cache(block, path),
        extra=rest(block, "type", "source", "title", "context", "citations", "cache_control"),
    )
    if kind in ("base64", "text"):
        data = want_text(source.get("data"), f"{where}.data")
        document.media_type = want_text(source.get("media_type"), f"{where}.media_type")
        if kind == "text":
            document.text = data
        else:
            document.data = data
    elif kind == "url":
        document.url = want_text(source.get("url"), f"{where}.url")
    elif kind == "file":
        document.file_id = want_text(source.get("file_id"), f"{where}.file_id")
    elif kind == "content":
        document.content = list(read_content(source.get("content"), f"{where}.content"))
    else:
        want_text(kind, f"{where}.type")
        return Other(data=block, origin=NAME)
    return Other(data=block, origin=NAME) if rest(source, "type", *_SOURCE_KEYS[kind]) else document


_SOURCE_KEYS: dict[str, tuple[str, ...]] = {
    "base64": ("data", "media_type"),
    "text": ("data", "media_type"),
    "url": ("url",),
    "file": ("file_id",),
    "content": ("content",),
}


def _thinking(block: dict[str, Any], path: str) -> AnyPart:
    return Thinking(
        text=want_text(block.get("thinking"), f"{path}.thinking"),
        signature=get_text(block, "signature", path),
        cache=_cache(block, path),
        extra=rest(block, "type", "thinking", "signature", "cache_control"),
    )


def _redacted(block: dict[str, Any], path: str) -> AnyPart:
    return RedactedThinking(
        data=want_text(block.get("data"), f"{path}.data"),
        cache=_cache(block, path),
        extra=rest(block, "type", "data", "cache_control"),
    )


def _tool_use(block: dict[str, Any], path: str) -> AnyPart:
    arguments = want_object(block.get("input"), f"{path}.input")
    return ToolCall(
        id=want_text(block.get("id"), f"{path}.id"),
        name=want_text(block.get("name"), f"{path}.name"),
        arguments=encode(arguments).decode(),
        cache=_cache(block, path),
        extra=rest(block, "type", "id", "name", "input", "cache_control"),
    )


def _tool_result(block: dict[str, Any], path: str) -> AnyPart:
    content = block.get("content")
    return ToolResult(
        id=want_text(block.get("tool_use_id"), f"{path}.tool_use_id"),
        parts=[] if content is None else list(read_content(content, f"{path}.content")),
        error=get_bool(block, "is_error", path) or False,
        cache=_cache(block, path),
        extra=rest(block, "type", "tool_use_id", "content", "is_error", "cache_control"),
    )


_READERS: dict[str, Callable[[dict[str, Any], str], AnyPart]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}
