"""Reads filters that are written as one line: ``model=fast since=1d outcome=failed tag:team=red``."""

from __future__ import annotations

import difflib
import re
import shlex
import time
from typing import Any, NamedTuple

from headgate.core.errors import BadRequest
from headgate.stores.period import read_period
from headgate.stores.query import Filters

_WORDS = (
    *("key", "user", "team", "model", "deployment", "outcome", "error", "finish"),
    *("trace", "session", "feature", "prompt"),
)
_STATUS = re.compile(r"[0-5]?\d{1,2}", re.ASCII)
_NAMES = (*_WORDS, "since", "until", "status", "id", "text", "tag:NAME")


class Where(NamedTuple):
    """Filters, and the words that calls must say (None for any), as ``headgate.stores.search`` takes them."""

    filters: Filters
    text: str | None = None


def read_where(text: str, now_ns: int | None = None) -> Where:
    """Returns the filters.

    Args:
        text: ``name=value`` pairs with space between them; quotes as in a shell.
        now_ns: now, for spans back from it.

    Raises:
        BadRequest: ``invalid_filter``; the message names what is wrong.
    """
    now = time.time_ns() if now_ns is None else now_ns
    found: dict[str, Any] = {}
    tags: dict[str, str] = {}
    times: dict[str, str] = {}
    words: str | None = None
    for name, value in _once(_pairs(text)):
        if name.startswith("tag:") and len(name) > 4:
            tags[name[4:]] = value
        elif name in ("since", "until"):
            times[name] = value
        elif name == "status":
            if not _STATUS.fullmatch(value):
                raise _wrong(f"status must be an HTTP status, or its first digit, not {value[:40]!r}")
            found[name] = int(value)
        elif name == "text":
            words = value
        elif name == "id":
            found["id_prefix"] = value
        elif name in _WORDS:
            found[name] = value
        else:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_NAMES)}"
            raise _wrong(f"there is no filter {name[:40]!r}; {hint}")
    since_ns, until_ns = read_period(times.get("since"), times.get("until"), now)
    return Where(Filters(**found, since_ns=since_ns, until_ns=until_ns, tags=tags), words)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _wrong(f"the filters can not be read: {error}") from None
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise _wrong(f"{word[:40]!r} is no filter; write NAME=VALUE")
        pairs.append((name, value))
    return pairs


def _once(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """All must hold: one that stands twice could only lose one of its values."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _wrong(f"{twice[:40]!r} stands twice; write it once")
    return pairs


def _wrong(message: str) -> BadRequest:
    return BadRequest(message, code="invalid_filter", param="where")
