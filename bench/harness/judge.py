"""Judges an answer as its client saw it: whole, or how it failed. The same judge for every gateway.

The upstream repeats the question, so what a whole answer says is known to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["whole", "wrong", "restarted", "filtered", "typed", "bare", "untyped", "hung", "left"]
KINDS: dict[Kind, str] = {
    "whole": "the whole text, a finish reason and the closing marker",
    "wrong": "closed as if complete (finish reason or marker, no error), but the text is another",
    "restarted": "begun again after it broke off: the first part, then the whole text, in one answer",
    "filtered": "says honestly that a content filter ended it",
    "typed": "an error that names its type: an error status, or an error event in the stream",
    "bare": "an error status whose body names no type of error",
    "untyped": "ended without a word: cut, no finish and no marker, or bytes that are no answer",
    "hung": "not ended within the bound",
    "left": "the client went away on purpose",
}
_FINISHED = {"stop", "length", "end_turn", "max_tokens", "stop_sequence"}
_FILTERED = {"content_filter", "refusal"}


class Said:
    """What an answer said.

    Attributes:
        text: its content.
        finish: its finish reason, "" where there is none.
        marker: whether the closing marker came.
        error: the type (or code) of the error in it, "" for none; ``broken``: something in it could not be read.
    """

    def __init__(self) -> None:
        self.text = self.finish = self.error = ""
        self.marker = self.broken = False


def judge(status: int, body: bytes, *, stream: bool, clean: bool, expected: str) -> tuple[Kind, str]:
    """Returns the kind of an answer that ended, and a word on it: the error's type, or what was wrong.

    Args:
        status: HTTP status; 0 where no head came.
        body: all bytes of it, dechunked.
        stream: whether events were asked for.
        clean: whether HTTP ended it as HTTP should.
        expected: the text of a whole answer.
    """
    if not status:
        return "untyped", "no head"
    if status >= 400:
        error = _error_name(_object(body))
        return ("typed", f"{status} {error}") if error else ("bare", f"{status} {body[:60]!r}")
    said = _said_stream(body) if stream else _said_unary(body)
    if said.error and stream:
        return "typed", f"event {said.error}"
    if said.error:
        return "untyped", f"status {status} with the error {said.error}"
    if said.text == expected and said.finish in _FINISHED and said.marker and clean and not said.broken:
        return "whole", ""
    if said.finish in _FILTERED:
        return "filtered", said.finish
    if said.text == expected:
        return "untyped", "all text, but not ended as it should"
    if not said.finish and not said.marker:
        return "untyped", "unreadable" if said.broken else "cut, clean HTTP end" if clean else "cut"
    if said.text.endswith(expected) and expected.startswith(said.text[: -len(expected)]):
        return "restarted", ""
    return "wrong", f"{len(said.text)} of {len(expected)} characters, finish {said.finish or 'none'}"


def has_content(data: bytes) -> bool:
    """Whether the bytes of a stream show content; cheap, and asked of each piece until it says yes."""
    at = data.find(b'"content":')
    while at >= 0:
        rest = data[at + 10 : at + 13].lstrip()
        if rest[:1] == b'"' and rest[1:2] not in (b'"', b""):
            return True
        at = data.find(b'"content":', at + 10)
    return b'"text_delta"' in data


def _object(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _error_name(value: Any) -> str:
    """Returns the type or code of an error body, "" where it is none: a message alone tells a program nothing."""
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return str(error.get("type") or error.get("code") or "")
    return ""


def _said_unary(body: bytes) -> Said:
    said, value = Said(), _object(body)
    if not isinstance(value, dict):
        said.broken = True
        return said
    said.error, said.marker = _error_name(value), True
    if "choices" in value:
        for choice in value["choices"] or ():
            said.text += (choice.get("message") or {}).get("content") or ""
            said.finish = choice.get("finish_reason") or ""
    elif "content" in value:
        said.text = "".join(block.get("text", "") for block in value["content"] or ())
        said.finish = value.get("stop_reason") or ""
    else:
        said.marker, said.broken = False, True
    return said


def _events(body: bytes) -> Iterator[bytes]:
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
        if lines:
            yield b"\n".join(lines)


def _said_stream(body: bytes) -> Said:
    said = Said()
    for data in _events(body):
        if data == b"[DONE]":
            said.marker = True
            continue
        value = _object(data)
        if not isinstance(value, dict):
            said.broken = True
            continue
        if value.get("error"):
            said.error = said.error or _error_name(value) or ""
            said.broken = said.broken or not said.error
        for choice in value.get("choices") or ():
            said.text += (choice.get("delta") or {}).get("content") or ""
            said.finish = choice.get("finish_reason") or said.finish
        kind = value.get("type")
        if kind == "content_block_delta":
            said.text += (value.get("delta") or {}).get("text") or ""
        elif kind == "message_delta":
            said.finish = (value.get("delta") or {}).get("stop_reason") or said.finish
        elif kind == "message_stop":
            said.marker = True
    return said
