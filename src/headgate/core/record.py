"""The Record: the whole story of one call, written once and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headgate.core.price import Rates
from headgate.core.usage import Usage

Outcome = Literal["completed", "failed", "cancelled", "refused"]

RECORD_VERSION = 1

LOAD_TAG = "headgate_load"
"""The tag of calls that ``headgate load`` makes: they are nobody's, and count in no picture of the traffic."""


class AttemptRecord(msgspec.Struct, array_like=True):
    """One try at one deployment. Times are microseconds since the call's start; -1 means never happened.

    ``outcome`` is ``completed``, ``failed``, ``cancelled`` (a losing hedge, a client that left).
    ``cost`` is nano-dollars, at the ``rates`` of that moment: 0 for what nobody bills (never sent whole, or refused).
    ``usage`` without ``cost`` means that the deployment had no price.
    New fields go at the end with a default: the journal of an older release must still be read.
    """

    deployment: str
    provider: str
    model: str
    started_us: int
    first_content_us: int = -1
    ended_us: int = -1
    outcome: str = ""
    status: int = 0
    error: str = ""
    error_message: str = ""
    fault: str = ""
    sent: bool = False
    upstream_id: str = ""
    upstream_model: str = ""
    finish: str = ""
    usage: Usage | None = None
    reused_connection: bool = False
    max_tokens: int = 0
    lost: list[str] = []
    cost: int | None = None
    rates: Rates | None = None

    @property
    def unpriced(self) -> bool:
        """Whether something was billed that nobody knows the price of."""
        return self.cost is None and self.usage is not None


def sum_costs(attempts: Sequence[AttemptRecord]) -> int | None:
    """Returns what a call's attempts cost in all; None where something was billed, and nothing of it had a price."""
    total = sum([attempt.cost for attempt in attempts if attempt.cost])
    return None if not total and any(attempt.unpriced for attempt in attempts) else total


class Record(msgspec.Struct, array_like=True):
    """One call, from its arrival to its end. Times in µs since ``time_ns``; -1 means never happened.

    ``outcome``: ``completed`` (answered whole), ``failed``, ``cancelled`` (the client left, or was cut), ``refused``
    (by a policy of ours, before any upstream). ``status`` is the HTTP status sent, 0 in the library.
    ``attempts`` are in order of their start; the answer came from ``attempts[winner]`` (-1: none).
    ``cost`` is nano-dollars, of all attempts that have a price; None where what was billed had none. ``prompt`` is the
    caller's name for the prompt that it used. ``parent`` is the caller's span, from its ``traceparent``: ids of
    trace and span, and flags, in hex, with a dash between two.
    New fields go at the end with a default: the journal of an older release must still be read.
    """

    id: str
    time_ns: int
    version: int = RECORD_VERSION
    key_id: str = ""
    key_name: str = ""
    user: str = ""
    team: str = ""
    feature: str = ""
    tags: dict[str, str] = {}
    trace: str = ""
    session: str = ""
    priority: str = "interactive"
    dialect: str = ""
    model: str = ""
    stream: bool = False
    outcome: str = ""
    status: int = 0
    error: str = ""
    error_message: str = ""
    fault: str = ""
    finish: str = ""
    wire_finish: str = ""
    usage: Usage | None = None
    attempts: list[AttemptRecord] = []
    winner: int = -1
    first_content_us: int = -1
    duration_us: int = -1
    request_bytes: int = 0
    response_bytes: int = 0
    max_tokens: int = 0
    lost: list[str] = []
    payloads: str = "none"
    notes: dict[str, Any] = {}
    cost: int | None = None
    prompt: str = ""
    parent: str = ""


def dispatched(record: Record) -> int:
    """Returns how many attempts were really made; those that a breaker or a full queue turned away were not."""
    attempts = record.attempts
    if len(attempts) == 1 and attempts[0].outcome != "skipped":
        return 1
    return sum(attempt.outcome != "skipped" for attempt in attempts)
