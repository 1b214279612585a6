"""Answer: reads what comes back of one call, piece by piece: the times of its contents, its usage, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headgate.load.histogram import Histogram

_ERROR_BYTES = 64 * 1024
_LINE_BYTES = 16 * 1024 * 1024


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Choice(msgspec.Struct):
    delta: dict[str, Any] = {}
    message: dict[str, Any] | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Body).decode
_QUIET = frozenset({"role", "refusal", "function_call", "audio"})


class Answer:
    """What came back of one call so far. Times are seconds on the clock that it was given.

    Attributes:
        status: of HTTP, 0 before.
        id: the gateway's id of the call, "" from other servers.
        first: when the first content came, 0.0 before.
        last: when the newest content came.
        usage: input and output tokens as reported, None where nothing was.
        error: what is wrong with it, "" while nothing is.
    """

    def __init__(self, stream: bool, now: Callable[[], float], gaps: Histogram) -> None:
        """Args:
        stream: whether events are to come.
        now: the clock.
        gaps: takes the times between two pieces of content in.
        """
        self.status = 0
        self.id = ""
        self.first = 0.0
        self.last = 0.0
        self.usage: tuple[int, int] | None = None
        self.error = ""
        self._stream = stream
        self._now = now
        self._gaps = gaps
        self._rest = b""
        self._finished = self._closed = False

    def feed(self, data: bytes) -> None:
        """Takes bytes of the body in."""
        if self.status != 200 or not self._stream:
            if len(self._rest) < _LINE_BYTES:
                self._rest += data
            return
        if len(self._rest) > _LINE_BYTES:
            self.error = self.error or "broken stream: endless line"
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def end(self, clean: bool) -> None:
        """The body is over; ``clean`` is whether HTTP says that it is whole."""
        if self.status != 200:
            self.error = self.error or (f"{self.status} {_code(self._rest)}".strip() if self.status else "no answer")
        elif not self._stream:
            self._whole(clean)
        elif not self.error and not (clean and self._closed):
            self.error = "broken stream: cut" if self._closed or not clean else "broken stream: no [DONE]"
        elif not self.error and not self._finished:
            self.error = "broken stream: no finish"
        self._rest = b""

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._closed = True
            return
        try:
            body = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.error = self.error or "broken stream: not JSON"
            return
        if body.error is not None:
            self.error = self.error or f"error in stream {_code(data)}".strip()
        if body.usage is not None:
            self.usage = body.usage.prompt_tokens, body.usage.completion_tokens
        for choice in body.choices:
            self._finished = self._finished or choice.finish_reason is not None
            if any(value and name not in _QUIET for name, value in choice.delta.items()):
                self._content()

    def _content(self) -> None:
        now = self._now()
        if self.first:
            self._gaps.add((now - self.last) * 1e6)
        else:
            self.first = now
        self.last = now

    def _whole(self, clean: bool) -> None:
        try:
            body = _decode(self._rest)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.error = "broken answer: not JSON" if clean else "broken answer: cut"
            return
        if body.error is not None:
            self.error = f"error in 200 {_code(self._rest)}".strip()
        if body.usage is not None:
            self.usage = body.usage.prompt_tokens, body.usage.completion_tokens
        self.first = self.last = self._now()


def _code(body: bytes) -> str:
    """The word for an error in its body; never its message, which may hold anything."""
    try:
        error = msgspec.json.decode(body[:_ERROR_BYTES], type=dict[str, Any]).get("error")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if not isinstance(error, dict):
        return ""
    word = error.get("code") or error.get("type")
    return word[:60] if isinstance(word, str) and word.isprintable() else ""
