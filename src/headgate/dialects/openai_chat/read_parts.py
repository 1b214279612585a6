"""Reads the content of OpenAI messages into neutral parts, nothing left behind."""

from __future__ import annotations

from typing import Any

from headgate.core.message import AnyPart, Audio, Document, Image, Other, Refusal, Text
from headgate.dialects.openai_chat.wire import NAME
from headgate.dialects.shapes import get_object, get_text, want_object, want_text, wrong


def read_content(value: Any, path: str) -> list[AnyPart]:
    """Returns the parts of a ``content``: a string, an array of parts, or nothing for null.

    Raises:
        BadRequest: a part has the wrong shape; ``param`` is its path.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [Text(text=value)]
    if not isinstance(value, list):
        raise wrong(path, "a string or an array of content parts")
    return [_part(part, f"{path}[{index}]") for index, part in enumerate(value)]


def left_over(data: dict[str, Any], *known: str) -> dict[str, Any]:
    """Returns the keys that have no neutral form; nulls and empty lists say nothing."""
    return {key: value for key, value in data.items() if key not in known and value is not None and value != []}


def _part(value: Any, path: str) -> AnyPart:
    if isinstance(value, str):  # Some clients send bare strings in the array; OpenAI takes them.
        return Text(text=value)
    part = want_object(value, path)
    kind = want_text(part.get("type"), f"{path}.type")
    reader = _READERS.get(kind)
    if reader is None:
        return Other(data=part, origin=NAME)
    read: AnyPart = reader(part, path)
    if len(part) > 2 and not isinstance(read, Other):
        read.cache = get_object(part, "cache_control", path)
        read.extra = left_over(part, "type", kind, "cache_control")
    return read


def _text(part: dict[str, Any], path: str) -> AnyPart:
    return Text(text=want_text(part.get("text"), f"{path}.text"))


def _refusal(part: dict[str, Any], path: str) -> AnyPart:
    return Refusal(text=want_text(part.get("refusal"), f"{path}.refusal"))


def _image(part: dict[str, Any], path: str) -> AnyPart:
    value = part.get("image_url")
    source = {"url": value} if isinstance(value, str) else want_object(value, f"{path}.image_url")
    url = want_text(source.get("url"), f"{path}.image_url.url")
    if left_over(source, "url", "detail"):
        return Other(data=part, origin=NAME)
    detail = get_text(source, "detail", f"{path}.image_url")
    inline = _inline(url)
    if inline is None:
        return Image(url=url, detail=detail)
    return Image(data=inline[1], media_type=inline[0], detail=detail)


def _audio(part: dict[str, Any], path: str) -> AnyPart:
    source = want_object(part.get("input_audio"), f"{path}.input_audio")
    data = want_text(source.get("data"), f"{path}.input_audio.data")
    form = want_text(source.get("format"), f"{path}.input_audio.format")
    return Other(data=part, origin=NAME) if left_over(source, "data", "format") else Audio(data=data, format=form)


def _file(part: dict[str, Any], path: str) -> AnyPart:
    source = want_object(part.get("file"), f"{path}.file")
    data = get_text(source, "file_data", f"{path}.file")
    file_id = get_text(source, "file_id", f"{path}.file")
    name = get_text(source, "filename", f"{path}.file")
    if left_over(source, "file_data", "file_id", "filename") or not (data or file_id):
        return Other(data=part, origin=NAME)
    document = Document(file_id=file_id, name=name)
    if data is not None:
        inline = _inline(data)
        if inline is not None:
            document.media_type, document.data = inline
        elif data.startswith(("http://", "https://")):
            document.url = data
        else:
            document.data, document.media_type = data, "application/pdf"
    return document


def _inline(url: str) -> tuple[str, str] | None:
    """Returns media type and base64 text of a data URL, or None for any other URL."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    media_type, marker, _ = head.partition(";base64")
    return (media_type or "application/octet-stream", data) if comma and marker else None


_READERS = {"text": _text, "refusal": _refusal, "image_url": _image, "input_audio": _audio, "file": _file}
