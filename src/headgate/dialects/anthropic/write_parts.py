"""Writes neutral parts as Anthropic content blocks, naming what has no place there."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from headgate.core.message import (
    AnyPart,
    Document,
    Image,
    Other,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.anthropic.wire import NAME

_ODD_ID = re.compile(r"[^A-Za-z0-9_-]")
_decode = msgspec.json.Decoder().decode

Blocks = list[dict[str, Any]]


class PartWriter:
    """Turns parts into blocks for one request.

    ``native`` is True where the conversation came in this dialect: then everything has its place, and
    nothing is tidied. ``lost`` collects paths in the caller's request.
    """

    def __init__(self, native: bool) -> None:
        self.native = native
        self.lost: list[str] = []

    def lose(self, path: str) -> None:
        """Names what could not be carried over, once."""
        if path not in self.lost:
            self.lost.append(path)

    def block(self, part: AnyPart, path: str) -> dict[str, Any] | None:
        """Returns the block for a part, or None where it has none (named in ``lost`` if it said anything)."""
        data = self._body(part, path)
        if data is None:
            return None
        if part.cache is not None:
            data["cache_control"] = part.cache
        if part.extra:
            if self.native:
                data.update(part.extra)
            else:
                for key in part.extra:
                    self.lose(f"{path}.{key}")
        return data

    def content(self, blocks: Blocks) -> str | Blocks:
        """Returns blocks as a ``content``: as a string where one plain text says it all."""
        if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and blocks[0]["type"] == "text":
            text = blocks[0]["text"]
            assert isinstance(text, str)
            return text
        return blocks

    def _body(self, part: AnyPart, path: str) -> dict[str, Any] | None:
        if isinstance(part, Text):
            return self._text(part, path)
        if isinstance(part, ToolCall):
            return self._call(part, path)
        if isinstance(part, ToolResult):
            return self._result(part, path)
        if isinstance(part, Image):
            return self._image(part, path)
        if isinstance(part, Document):
            return self._document(part, path)
        if isinstance(part, Thinking):
            return self._thinking(part, path)
        if isinstance(part, RedactedThinking):
            return {"type": "redacted_thinking", "data": part.data}
        if isinstance(part, Refusal):
            self.lose(path)
            return {"type": "text", "text": part.text} if part.text.strip() else None
        if isinstance(part, Other) and part.origin == NAME:
            return dict(part.data)
        self.lose(path)
        return None

    def _text(self, part: Text, path: str) -> dict[str, Any] | None:
        if not self.native and not part.text.strip():
            # Anthropic refuses text without a visible character.
            if part.text:
                self.lose(path)
            return None
        data: dict[str, Any] = {"type": "text", "text": part.text}
        if part.citations is not None:
            if self.native:
                data["citations"] = part.citations
            else:
                self.lose(f"{path}.annotations")
        return data

    def _thinking(self, part: Thinking, path: str) -> dict[str, Any] | None:
        if part.signature is None and not self.native:
            self.lose(path)
            return None
        data = {"type": "thinking", "thinking": part.text}
        if part.signature is not None:
            data["signature"] = part.signature
        return data

    def _call(self, part: ToolCall, path: str) -> dict[str, Any]:
        try:
            value = _decode(part.arguments) if part.arguments.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self.lose(f"{path}.function.arguments")
            value = {}
        return {"type": "tool_use", "id": self._id(part.id), "name": part.name, "input": value}

    def _id(self, wire: str) -> str:
        return wire if self.native else _ODD_ID.sub("_", wire)

    def _result(self, part: ToolResult, path: str) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "tool_result", "tool_use_id": self._id(part.id)}
        blocks = []
        for index, inner in enumerate(part.parts):
            block = self.block(inner, f"{path}.content[{index}]")
            if block is not None:
                blocks.append(block)
        if blocks:
            data["content"] = self.content(blocks)
        if part.error:
            data["is_error"] = True
        return data

    def _image(self, part: Image, path: str) -> dict[str, Any] | None:
        if part.detail not in (None, "auto"):
            self.lose(f"{path}.image_url.detail")
        source = _source(part.url, part.data, part.media_type)
        if source is None and part.file_id is not None and self.native:
            source = {"type": "file", "file_id": part.file_id}
        if source is None:
            self.lose(path)
            return None
        return {"type": "image", "source": source}

    def _document(self, part: Document, path: str) -> dict[str, Any] | None:
        source: dict[str, Any] | None
        if part.text is not None:
            source = {"type": "text", "media_type": part.media_type or "text/plain", "data": part.text}
        elif part.content is not None:
            inner = [self.block(item, f"{path}.source.content[{index}]") for index, item in enumerate(part.content)]
            source = {"type": "content", "content": self.content([block for block in inner if block is not None])}
        elif part.file_id is not None:
            source = {"type": "file", "file_id": part.file_id} if self.native else None
        else:
            source = _source(part.url, part.data, part.media_type or _guess(part))
            if not self.native:
                source = _as_document(source)
        if source is None:
            self.lose(path)
            return None
        data: dict[str, Any] = {"type": "document", "source": source}
        for key, value in (("title", part.name), ("context", part.context), ("citations", part.citations)):
            if value is not None:
                data[key] = value
        return data


def _source(url: str | None, data: str | None, media_type: str | None) -> dict[str, Any] | None:
    if url is None and data is not None and data.startswith("data:"):
        url, data = data, None
    if url is not None and url.startswith("data:"):
        head, _, payload = url[5:].partition(",")
        kind, *options = head.split(";")
        if "base64" not in options or not payload:
            return None
        return {"type": "base64", "media_type": kind or media_type or "", "data": payload}
    if data is not None:
        return {"type": "base64", "media_type": media_type, "data": data} if media_type else None
    return None if url is None else {"type": "url", "url": url}


def _guess(part: Document) -> str | None:
    name = (part.name or "").lower()
    if name.endswith(".pdf") or (part.data or "").startswith("JVBERi0"):
        return "application/pdf"
    return "text/plain" if name.endswith((".txt", ".md", ".csv")) else None


def _as_document(source: dict[str, Any] | None) -> dict[str, Any] | None:
    """Base64 documents are PDF here; text travels as text; no other kind has a place."""
    if source is None or source["type"] != "base64" or source["media_type"] == "application/pdf":
        return source
    if not source["media_type"].startswith("text/"):
        return None
    try:
        text = base64.b64decode(source["data"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return {"type": "text", "media_type": "text/plain", "data": text}
