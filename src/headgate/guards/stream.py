"""An event stream as a body: finds the texts that its events tell in pieces, so that what is split is found whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_PIECEWISE = frozenset({"delta", "choices", "candidates"})
"""Below these, the strings of one place in all events are one text in pieces."""

_WHOLE = frozenset({"type", "role", "id", "name", "finish_reason", "stop_reason", "native_finish_reason"})
"""These are told whole each time."""

_PLACES = ("index", "output_index", "content_index", "item_id")
_Path = tuple[object, ...]


def is_stream(data: bytes) -> bool:
    """Says whether a body is an event stream."""
    start = data[:64].lstrip()
    return start.startswith(_FIELDS)


class Stream:
    """Rewrites a stream of events, keeping its lines and their order.

    Args:
        value: rewrites any value of JSON that is told whole, given the field that it is the value of.
        pieces: rewrites the pieces of one text; as many as it gets.
    """

    def __init__(self, value: Callable[[Any, str], Any], pieces: Callable[[list[str]], list[str]]) -> None:
        self._value = value
        self._pieces = pieces
        self._texts: dict[_Path, list[tuple[Any, Any]]] = {}

    def rewrite(self, data: bytes) -> bytes:
        """Returns the stream rewritten."""
        lines = [self._read(line) for line in data.split(b"\n")]
        for places in self._texts.values():
            new = self._pieces([holder[key] for holder, key in places])
            for (holder, key), text in zip(places, new, strict=True):
                holder[key] = text
        return b"\n".join(start + (rest if isinstance(rest, bytes) else encode(rest)) for start, rest in lines)

    def _read(self, line: bytes) -> tuple[bytes, Any]:
        """A line's beginning as it is, and its data, decoded where it is JSON; the latter changes later on."""
        if line.startswith(b"data:"):
            rest = line[5:].lstrip(b" ")
            start = line[: len(line) - len(rest)]
            try:
                event = msgspec.json.decode(rest)
            except (msgspec.DecodeError, RecursionError, ValueError):
                return start, self._text(rest)
            if isinstance(event, dict):
                self._collect(event, tuple(event.get(name) for name in _PLACES), inside=False)
                return start, event
            return start, self._value(event, "data")
        return b"", self._text(line)

    def _text(self, data: bytes) -> bytes:
        if len(data) < 6 or data.startswith(b"event:"):
            return data
        new = self._value(data.decode("utf-8", "surrogateescape"), "data")
        return str(new).encode("utf-8", "surrogateescape")

    def _collect(self, node: dict[str, Any], path: _Path, *, inside: bool) -> None:
        for key, value in list(node.items()):
            below = inside or key in _PIECEWISE
            if isinstance(value, str):
                if below and key not in _WHOLE:
                    self._texts.setdefault((*path, key), []).append((node, key))
                else:
                    node[key] = self._value(value, key) if key not in ("type", "object") else value
            elif key == "logprobs" and value:
                node[key] = None  # the text once more, token by token
            elif isinstance(value, dict):
                self._collect(value, (*path, key), inside=below)
            elif isinstance(value, list) and below:
                self._collect_list(value, (*path, key))
            else:
                node[key] = self._value(value, key)

    def _collect_list(self, items: list[Any], path: _Path) -> None:
        for number, item in enumerate(items):
            if isinstance(item, dict):
                self._collect(item, (*path, item.get("index", number)), inside=True)
            elif isinstance(item, str):
                self._texts.setdefault((*path, number), []).append((items, number))
            else:
                items[number] = self._value(item, "")


def encode(value: Any) -> bytes:
    """Returns JSON; also of integers that no machine word holds, and of text that is half a character."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, ValueError, TypeError):
        return json.dumps(value, separators=(",", ":")).encode()
