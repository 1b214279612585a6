"""A span as the mapper makes it, in no wire's form; and which trace a call belongs to."""

from __future__ import annotations

import hashlib
import re
from typing import Literal, NamedTuple

from headgate.core.record import Record

Value = str | bool | int | float | list[str]
Kind = Literal["internal", "server", "client"]

SAMPLED = 0x01
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_RANDOM = (1 << 56) - 1


class Event(NamedTuple):
    """Something that happened at one moment of a span."""

    name: str
    time_ns: int
    attributes: dict[str, Value]


class Span(NamedTuple):
    """One span. Ids are 16 and 8 bytes, ``parent_id`` is empty for a root; times in ns since 1970.

    Attributes:
        remote: whether the parent is somebody else's span.
        failed: whether the operation ended in an error; ``message`` then says more, or nothing.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    remote: bool
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    failed: bool = False
    message: str = ""
    events: tuple[Event, ...] = ()


class Place(NamedTuple):
    """Where a call stands: its trace, and the caller's span (empty where it sent none) with its sampled flag."""

    trace_id: bytes
    parent_id: bytes = b""
    sampled: bool = True


def place_of(record: Record) -> Place:
    """Returns the trace that a call belongs to; the same one whenever it is asked.

    That is the caller's where a ``traceparent`` came; else the trace that the call was given a name of, by that name;
    else its own, by the call's id.
    """
    if record.parent:
        trace, span, flags = record.parent.split("-")
        return Place(bytes.fromhex(trace), bytes.fromhex(span), bool(int(flags, 16) & SAMPLED))
    if not record.trace:
        return Place(_digest(record.id, "call", 16))
    if _TRACE_ID.fullmatch(record.trace):
        return Place(bytes.fromhex(record.trace))
    return Place(_digest(record.trace, "trace", 16))


def span_id(call_id: str, attempt: int = 0) -> bytes:
    """Returns the id of a call's span, or of its n-th attempt's (from 1)."""
    return _digest(f"{call_id} {attempt}" if attempt else call_id, "span", 8)


def is_sampled(place: Place, share: float) -> bool:
    """Whether a trace is exported, going by its id alone, so that every call of a trace has the same verdict.

    As in OpenTelemetry's consistent probability sampling: the last 56 bits of the id, against a threshold. A caller
    who says that their trace is not sampled has nothing that our spans could hang on.
    """
    return place.sampled and int.from_bytes(place.trace_id, "big") & _RANDOM >= (1.0 - share) * (_RANDOM + 1)


def _digest(text: str, use: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size, person=f"hg.{use}".encode()).digest()
