"""Server-sent events: bytes in, whole events out, with the bytes of each kept exactly."""

from __future__ import annotations

import re

from headgate.core.errors import UpstreamBroken

# Two line ends in a row, each CRLF, LF or CR; a CR counts as CRLF's half when LF follows.
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
_LINES = re.compile(rb"\r\n|\n|\r")

MAX_EVENT = 16 * 1024 * 1024

SseEvent = tuple[bytes, bytes, bytes]
"""One event: its exact bytes with the blank line, its ``event:`` name (or b""), its joined ``data:`` lines."""


class SseSplitter:
    """Splits a stream of bytes into server-sent events; where the bytes are cut never matters.

    The joined ``raw`` parts of all events and of ``rest`` are exactly the bytes fed.
    """

    __slots__ = ("_max", "_parts", "_size")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        """Args:
        max_event: bytes that one event may have, framing included.
        """
        self._parts: list[bytes] = []
        self._size = 0
        self._max = max_event

    def feed(self, data: bytes) -> list[SseEvent]:
        """Returns the events that ``data`` completes.

        Raises:
            UpstreamBroken: an event over the size cap (``event_too_large``). Behind good events in one ``data`` it is
                raised by the next call, ``rest`` included.
        """
        if self._parts:
            if self._size > self._max:
                raise self._too_large()
            # A long event in many pieces: look only where its end could be, join once it has come.
            tail = self._parts[-1][-3:] + data
            if tail.find(b"\n\n") < 0 and tail.find(b"\r") < 0:
                return self._wait(data)
            data = b"".join([*self._parts, data])
            self._parts.clear()
            self._size = 0
        # Not `in`, which tries a number first and drops a TypeError: half a microsecond for each event.
        if data.find(b"\r") >= 0:
            return self._feed_any(data)
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._parts.append(rest)
            self._size = len(rest)
        events: list[SseEvent] = []
        for block in blocks:
            # The two forms that providers write, one data line with or without a name, need no look at every line.
            if block.startswith(b"data: "):
                if block.find(b"\n") < 0:
                    events.append((block + b"\n\n", b"", block[6:]))
                    continue
            elif block.startswith(b"event: "):
                at = block.find(b"\n") + 1
                if block.startswith(b"data: ", at) and block.find(b"\n", at) < 0:
                    events.append((block + b"\n\n", block[7 : at - 1], block[at + 6 :]))
                    continue
            events.append(_parse(block + b"\n\n", block))
        return events if len(data) <= self._max else self._bounded(events)

    def rest(self) -> bytes:
        """Returns the bytes after the last whole event, and forgets them.

        Raises:
            UpstreamBroken: see ``feed``.
        """
        if self._size > self._max:
            raise self._too_large()
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data

    def _wait(self, data: bytes) -> list[SseEvent]:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max:
            raise self._too_large()
        return []

    def _bounded(self, events: list[SseEvent]) -> list[SseEvent]:
        """Keeps what comes before the first event that is too large; the rest stays behind as what broke the cap."""
        for number, event in enumerate(events):
            if len(event[0]) > self._max:
                self._parts[:0] = [raw for raw, _, _ in events[number:]]
                self._size = sum(map(len, self._parts))
                del events[number:]
                break
        if not events and self._size > self._max:
            raise self._too_large()
        return events

    def _too_large(self) -> UpstreamBroken:
        return UpstreamBroken(
            f"The upstream sent one event of more than {self._max} bytes.", code="event_too_large", sent=True
        )

    def _feed_any(self, data: bytes) -> list[SseEvent]:
        """For streams with CR in them. A CR at the very end may be half of a CRLF: it waits for the next byte."""
        limit = len(data) - 1 if data.endswith(b"\r") else len(data)
        events: list[SseEvent] = []
        start = 0
        for blank in _BLANK.finditer(data, 0, limit):
            events.append(_parse(data[start : blank.end()], data[start : blank.start()]))
            start = blank.end()
        if start < len(data):
            self._parts.append(data[start:])
            self._size = len(data) - start
        return events if len(data) <= self._max else self._bounded(events)


def _parse(raw: bytes, block: bytes) -> SseEvent:
    name = b""
    data: list[bytes] = []
    for line in _LINES.split(block):
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return raw, name, data[0] if len(data) == 1 else b"\n".join(data)


def parse_block(raw: bytes) -> SseEvent:
    """Reads one event from ``raw`` where its blank line is missing (the rest of a stream that ended early)."""
    return _parse(raw, raw.strip(b"\r\n"))
