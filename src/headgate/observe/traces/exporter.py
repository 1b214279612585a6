"""The exporter: takes what waits, makes spans of it, has them sent; patient with a collector that is away."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from headgate.core.record import Record
from headgate.core.trace import TracePlan
from headgate.observe.traces.encode import encode_request, encode_spans, read_refusal
from headgate.observe.traces.mapper import SERVICE_NAME, is_error, map_call
from headgate.observe.traces.pending import PendingCalls
from headgate.observe.traces.sender import NotTakenError
from headgate.observe.traces.span import Value, is_sampled, place_of

CALLS = 512
"""Calls in a request, at most."""
BODY_BYTES = 2 << 20
"""Before compression; collectors refuse what is far larger."""
KEPT = 6000
"""Calls that are kept in memory until they are sent; what does not fit is read from the store again."""
FRESH_S = 30.0
"""How long, at most: what is erased from the store must not be sent from memory."""
SETTLE_S = 2.0
"""With content, how long a call waits for its payloads, which may be stored a batch later."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_SAY_S = 60.0
_ALL_REFUSED = 10
"""So many single calls refused in a row: it is not the calls."""
_log = logging.getLogger("headgate.traces")

Send = Callable[[TracePlan, bytes, float | None], bytes]


class Source(Protocol):
    """Where calls are read that are not in memory any more, and what was said in them."""

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Returns the calls that the store has, by id."""

    def content(self, records: Sequence[Record]) -> Mapping[str, Mapping[str, Value]]:
        """Returns attributes that tell prompts and answers, by id, of those calls that have any."""


class Counts:
    """What became of calls and spans since the recorder began; ``failures`` counts requests that were not taken."""

    def __init__(self) -> None:
        self.calls = 0
        self.spans = 0
        self.sampled_out = 0
        self.failures = 0
        self.dropped: dict[str, int] = {"backlog": 0, "refused": 0, "not_found": 0, "malformed": 0, "disk": 0}


class Exporter:
    """Sends what is pending to one collector; at least once.

    Args:
        pending: the calls.
        source: of calls that are not in memory.
        send: posts a body; raises ``NotTakenError``.
        fixed: attributes of the resource that no plan changes.
        version: of Headgate.
        monotonic: the clock.
    """

    def __init__(
        self,
        pending: PendingCalls,
        source: Source,
        send: Send,
        fixed: Mapping[str, Value],
        version: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self._pending = pending
        self._source = source
        self._send = send
        self._fixed = fixed
        self._version = version
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Record, float]] = {}
        self._limit = CALLS
        self._wait = 0.0
        self._not_before = 0.0
        self._refused_in_a_row = 0
        self._said = -_SAY_S
        self._failing = False

    def keep(self, records: Sequence[Record]) -> None:
        """Keeps calls that are stored now in memory, as far as there is room."""
        now = self._monotonic()
        with self._lock:
            for record in records[: max(0, KEPT - len(self._kept))]:
                self._kept[record.id] = (record, now)

    def forget(self) -> None:
        """Lets go of what is in memory."""
        with self._lock:
            self._kept.clear()

    def run(self, plan: TracePlan, halted: Callable[[], bool], timeout: float | None = None) -> None:
        """Sends all that can be sent now; returns where nothing is left, or the collector does not take it.

        Args:
            plan: what to send, and where to.
            halted: asked before each request whether to stop here.
            timeout: seconds for one request, None for the plan's.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the store is away.
            OSError: the files of what is pending are.
        """
        self._bound(plan)
        while self._monotonic() >= self._not_before and not halted():
            ids = self._pending.peek(self._limit)
            records = self._find(ids, plan)
            if not records:
                return
            if not self._deliver(plan, records, timeout):
                return

    def _bound(self, plan: TracePlan) -> None:
        while (surplus := self._pending.waiting - plan.pending) > 0:
            ids = self._pending.peek(min(surplus, 10_000))
            self._done(ids)
            self._drop("backlog", len(ids), f"over {plan.pending} wait for the collector, the oldest make room")

    def _find(self, ids: Sequence[str], plan: TracePlan) -> dict[str, Record | None]:
        """Returns those that can go now, in order; None for one that the store has not (any more)."""
        now = self._monotonic()
        found: dict[str, Record | None] = {}
        with self._lock:
            for id in ids:
                record, since = self._kept.get(id, (None, 0.0))
                if record is not None and plan.content and now - since < SETTLE_S:
                    break
                found[id] = record if now - since < FRESH_S else None
        missing = [id for id, record in found.items() if record is None]
        if missing:
            found.update(self._source.records(missing))
        return found

    def _deliver(self, plan: TracePlan, records: Mapping[str, Record | None], timeout: float | None) -> bool:
        """Sends one request. Returns whether it is worth going on at once."""
        parts: list[bytes] = []
        ids: list[str] = []
        spans = sent = gone = out = 0
        resource = {SERVICE_NAME: plan.service, **self._fixed, **plan.attributes}
        there = [record for record in records.values() if record is not None]
        content = self._source.content(there) if plan.content else None
        size = 0
        for id, record in records.items():
            if record is None:
                gone += 1
            else:
                mapped, part = self._encode(record, plan, None if content is None else content.get(id, {}))
                if parts and size + len(part) > BODY_BYTES:
                    break
                if part:
                    parts.append(part)
                    size += len(part)
                    spans += mapped
                    sent += 1
                out += mapped == 0
            ids.append(id)
        if parts:
            try:
                answer = self._send(plan, encode_request(parts, resource, self._version), timeout)
            except NotTakenError as error:
                return self._failed(error, ids, sent)
            self._taken(answer, spans)
        self.counts.calls += sent
        self.counts.sampled_out += out
        if gone:
            self._drop("not_found", gone, "the store does not have them any more")
        self._done(ids)
        return True

    def _encode(self, record: Record, plan: TracePlan, told: Mapping[str, Value] | None) -> tuple[int, bytes]:
        """Returns how many spans are to be sent of a call, and their bytes: 0 of one that is not sampled.

        Of one that can not be told it is -1: whatever it is would be so again, and others must go on.
        """
        try:
            place = place_of(record)
            if not is_error(record) and not is_sampled(place, plan.sampling):
                return 0, b""
            spans = map_call(record, plan.providers, told, place)
            return len(spans), encode_spans(spans)
        except Exception as error:  # as above
            self._drop("malformed", 1, f"{record.id} can not be told ({type(error).__name__})")
            return -1, b""

    def _taken(self, answer: bytes, spans: int) -> None:
        self._wait, self._limit, self._refused_in_a_row = 0.0, min(CALLS, self._limit * 2), 0
        if self._failing:
            self._failing, self._said = False, -_SAY_S
            _log.info("traces are taken again; %d calls wait", self._pending.waiting)
        try:
            refused, words = read_refusal(answer)
        except ValueError as error:
            _log.debug("traces: %s", error)
            refused, words = 0, ""
        self.counts.spans += max(0, spans - refused)
        if refused:
            self._drop("refused", refused, f"the collector took only a part: {words[:200]!r}")

    def _failed(self, error: NotTakenError, ids: Sequence[str], sent: int) -> bool:
        """Goes on with fewer where it is the data that is not wanted; else waits, longer each time."""
        self.counts.failures += 1
        if error.refused and self._refused_in_a_row < _ALL_REFUSED:
            if len(ids) > 1:
                self._limit = max(1, len(ids) // 2)
                return True
            self._refused_in_a_row += 1
            self._drop("refused", sent, str(error))
            self._done(ids)
            return True
        self._failing = True
        self._wait = min(_LONGEST_WAIT_S, max(_FIRST_WAIT_S, self._wait * 2))
        pause = error.after if error.after is not None else self._wait * random.uniform(0.75, 1.25)
        self._not_before = self._monotonic() + pause
        self._say("traces wait (%d calls): %s", self._pending.waiting, error)
        return False

    def _done(self, ids: Sequence[str]) -> None:
        with self._lock:
            for id in ids:
                self._kept.pop(id, None)
        self._pending.take(ids)

    def _drop(self, reason: str, count: int, words: str) -> None:
        self.counts.dropped[reason] += count
        self._say("traces of %d calls or spans are dropped: %s", count, words)

    def _say(self, words: str, *values: object) -> None:
        now = self._monotonic()
        if now - self._said >= _SAY_S:
            self._said = now
            _log.warning(words, *values)
