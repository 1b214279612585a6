"""The redactor: puts pseudonyms in the place of what is private, in texts, JSON bodies and event streams. No I/O.

The same value has the same pseudonym, ``[EMAIL:k3v7q2mz]``, wherever it stands; without the secret that it is made with
nobody can tell, or test, what it stands for.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any, NamedTuple

import msgspec

from headgate.guards.detector import find_all, find_secrets
from headgate.guards.finding import Finding
from headgate.guards.stream import Stream, encode, is_stream

_DEEPEST = 3
"""How often JSON may lie in a string of JSON and still be read as such."""

_REPEATED = 80
_LEAST_NUMBER = 10**6
_UNSAID = frozenset(
    [
        "id",
        "type",
        "role",
        "model",
        "object",
        "index",
        "finish_reason",
        "stop_reason",
        "system_fingerprint",
        "media_type",
        "mime_type",
        "data",
        "signature",
        "encrypted_content",
        "b64_json",
        "url",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "item_id",
        "service_tier",
    ]
)
"""Fields that say nothing that anybody would search for."""


class Redacted(NamedTuple):
    """A body without what was private in it, and its words alone, for a search. ``found`` counts what was replaced."""

    data: bytes
    text: str
    found: int


class Redactor:
    """Replaces private values by pseudonyms made with ``secret``.

    Args:
        secret: at least 16 random bytes; whoever has it can test guesses.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def pseudonym(self, kind: str, value: str) -> str:
        """Returns what stands for a value of this kind."""
        digest = hmac.digest(self._secret, f"{kind}:{value}".encode(errors="surrogatepass"), "sha256")
        return f"[{kind}:{base64.b32encode(digest[:5]).decode().lower()}]"

    def text(self, text: str) -> str:
        """Returns a text without what is private in it."""
        found = find_all(text)
        return self._replaced(text, found) if found else text

    def name(self, text: str) -> str:
        """Returns a name without the secrets in it. People and places may have names: only keys and tokens go."""
        found = find_secrets(text)
        return self._replaced(text, found) if found else text

    def value(self, value: Any) -> Any:
        """Returns plain values (of JSON) without what is private in them, also in keys and numbers."""
        return _Walk(self).value(value)

    def body(self, data: bytes) -> Redacted:
        """Returns a request or answer without what is private in it: JSON, an event stream, or any text.

        Where nothing was found the bytes stay as they are.
        """
        walk = _Walk(self)
        new = Stream(walk.value, self._pieces(walk)).rewrite(data) if is_stream(data) else walk.document(data)
        return Redacted(new if walk.found else data, "\n".join(walk.said), walk.found)

    def _pieces(self, walk: _Walk) -> Any:
        def rewrite(pieces: list[str]) -> list[str]:
            text = "".join(pieces)
            found = find_all(text)
            if found:
                walk.found += len(found)
                pieces = _spread(pieces, [(one.start, one.end, self.pseudonym(one.kind, one.value)) for one in found])
                text = "".join(pieces)
            walk.said.append(text)
            return pieces

        return rewrite

    def _replaced(self, text: str, found: list[Finding]) -> str:
        parts, at = [], 0
        for one in found:
            parts += [text[at : one.start], self.pseudonym(one.kind, one.value)]
            at = one.end
        return "".join([*parts, text[at:]])


class _Walk:
    """One body on its way through the redactor: what it says, and how much was replaced so far."""

    def __init__(self, redactor: Redactor) -> None:
        self.said: list[str] = []
        self.found = 0
        self._redactor = redactor
        self._depth = 0
        self._clean: set[str] = set()

    def document(self, data: bytes) -> bytes:
        """JSON; else text; else bytes that may hold text."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, ValueError):
            return self._plain(data)
        new = self.value(value)
        if self.found:
            new = _without_tokens(new)
            return encode(new)
        return data

    def value(self, value: Any, key: str = "") -> Any:
        """A value of JSON, whatever it is."""
        if isinstance(value, str):
            return self._string(value, key)
        if isinstance(value, dict):
            return {self._key(name): self.value(item, name) for name, item in value.items()}
        if isinstance(value, list):
            if value and isinstance(value[0], float) and all(type(item) is float for item in value):
                return value  # a vector
            return [self.value(item, key) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LEAST_NUMBER:
            return self._number(value)
        return value

    def _string(self, text: str, key: str) -> str:
        if text in self._clean:
            return text  # said before: what every event of a stream repeats
        if len(text) > 2 and text[0] in "{[" and "\\" in text and self._depth < _DEEPEST:
            inner = self._inner(text)
            if inner is not None:
                return inner
        found = find_all(text)
        if found:
            self.found += len(found)
            text = self._redactor._replaced(text, found)
        elif len(text) <= _REPEATED:
            self._clean.add(text)
        if key not in _UNSAID and text:
            self.said.append(text)
        return text

    def _inner(self, text: str) -> str | None:
        """JSON in a string (a tool's arguments): its escapes would hide what a search looks for."""
        before, said = self.found, len(self.said)
        self._depth += 1
        try:
            new = self.value(msgspec.json.decode(text))
        except (msgspec.DecodeError, RecursionError, ValueError):
            self.found = before
            del self.said[said:]
            return None
        finally:
            self._depth -= 1
        return encode(new).decode() if self.found != before else text

    def _key(self, name: str) -> str:
        found = find_all(name) if len(name) >= 6 else None
        if found:
            self.found += len(found)
            return self._redactor._replaced(name, found)
        return name

    def _number(self, value: int) -> int | str:
        text = str(value)
        found = find_all(text)
        if not found:
            return value
        self.found += len(found)
        return self._redactor._replaced(text, found)

    def _plain(self, data: bytes) -> bytes:
        try:
            text, coding = data.decode(), "utf-8"
        except UnicodeDecodeError:
            text, coding = data.decode("latin-1"), "latin-1"
        new = self._string(text, "" if coding == "utf-8" else "data")
        return new.encode(coding, "surrogatepass")


def _without_tokens(value: Any) -> Any:
    """Drops what tells an answer's text once more, piece by piece (``logprobs``)."""
    if isinstance(value, dict):
        return {
            name: None if name == "logprobs" and not isinstance(item, bool) else _without_tokens(item)
            for name, item in value.items()
        }
    return [_without_tokens(item) for item in value] if isinstance(value, list) else value


def _spread(pieces: list[str], changes: list[tuple[int, int, str]]) -> list[str]:
    """Applies changes of the joined text to its pieces: what is put in stands in the piece where the change begins."""
    new, at, number = [], 0, 0
    for piece in pieces:
        end, parts, inside = at + len(piece), [], at
        while number < len(changes) and changes[number][0] < end:
            start, stop, text = changes[number]
            if start >= at:
                parts += [piece[inside - at : start - at], text]
            inside = min(stop, end)
            if stop > end:
                break
            number += 1
        parts.append(piece[inside - at :])
        new.append("".join(parts))
        at = end
    return new
