"""What calls came to: counts, tokens, money, errors and sketches, that can be added up in any order without loss.

The recorder makes ``Figures`` of Records, rollups keep them (see ``schema``), reports show them. Everything in them can
be added, so that the figures of two times, keys or machines make those of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from headgate.core.record import Record, dispatched
from headgate.stores.sketch import Sketch, bin_of, merge_counts

_LARGEST = (1 << 31) - 1
_DEAREST = 1 << 60
_WORD = 100
_NO_TOKENS = frozenset({"count_tokens"})
_NO_TEXT = frozenset({"count_tokens", "embeddings"})

COUNTS = (
    *("calls", "completed", "failed", "cancelled", "refused"),
    *("input_tokens", "output_tokens", "cached_tokens", "cost", "lost_cost"),
    *("unpriced", "attempts", "fallbacks", "empty"),
)
"""The figures that are plain numbers, in the order of the columns of the rollup tables."""


class Facts(NamedTuple):
    """What one call adds to every figure that it belongs to.

    Sketches hold completed calls only; a bin is None where there is nothing to count. ``moved`` says what attempts
    cost that were made at other deployments than the one that answered: nano-dollars by deployment.
    """

    outcome: str
    input: int
    output: int
    cached: int
    cost: int
    lost: int
    unpriced: int
    attempts: int
    fallback: int
    empty: int
    error: str
    finish: str
    status: int
    cache: str
    latency: int | None
    first: int | None
    speed: int | None
    moved: dict[str, int] | None


def facts_of(record: Record, deployment: str) -> Facts:
    """Returns what a Record adds; ``deployment`` is the one that it counts for (see ``rows.deployment_of``)."""
    attempts = record.attempts
    usage = record.usage
    tokens = usage if usage is not None and record.dialect not in _NO_TOKENS else None
    cost, lost, moved, fallback, unpriced = record.cost or 0, 0, None, 0, False
    if len(attempts) == 1:
        unpriced = attempts[0].unpriced
        if record.winner != 0:
            lost = attempts[0].cost or 0
    elif attempts:
        unpriced = any(attempt.unpriced for attempt in attempts)
        lost, moved = _elsewhere(record, deployment)
        fallback = int(record.winner > 0 and deployment != attempts[0].deployment)
    latency = first = speed = None
    completed = record.outcome == "completed"
    if completed:
        duration, begun = record.duration_us, record.first_content_us
        if duration > 0:
            latency = bin_of(duration)
        if begun > 0 and record.stream:
            first = bin_of(begun)
        if tokens is not None and tokens.output > 0:
            took = duration - begun if record.stream and begun > 0 else duration
            if took > 0:
                speed = bin_of(min(tokens.output, _LARGEST) * 1e6 / took)
    return Facts(
        record.outcome,
        0 if tokens is None else min(tokens.input, _LARGEST),
        0 if tokens is None else min(tokens.output, _LARGEST),
        0 if tokens is None else min(tokens.cached, _LARGEST),
        min(cost, _DEAREST),
        min(lost, _DEAREST),
        1 if unpriced or record.cost is None else 0,
        dispatched(record) if attempts else 0,
        fallback,
        int(completed and usage is not None and not usage.output and record.dialect not in _NO_TEXT),
        record.error[:_WORD],
        record.finish[:_WORD],
        min(record.status, 32_767),
        _cache_verdict(record),
        latency,
        first,
        speed,
        moved,
    )


def _elsewhere(record: Record, deployment: str) -> tuple[int, dict[str, int] | None]:
    """What attempts cost that did not answer, and of it by deployment what was spent elsewhere."""
    lost = 0
    moved: dict[str, int] | None = None
    for number, attempt in enumerate(record.attempts):
        if number != record.winner and attempt.cost:
            lost += attempt.cost
            if attempt.deployment != deployment:
                moved = {} if moved is None else moved
                moved[attempt.deployment] = moved.get(attempt.deployment, 0) + attempt.cost
    return lost, moved


def _cache_verdict(record: Record) -> str:
    notes = record.notes
    verdict = notes.get("cache") if notes else None
    return verdict[:_WORD] if isinstance(verdict, str) else ""


class _More(msgspec.Struct, array_like=True):
    """What of figures has no column. New fields go at the end with a default: old rows must still be read."""

    errors: dict[str, int]
    finishes: dict[str, int]
    statuses: dict[int, int]
    caches: dict[str, int]
    latency: dict[int, int]
    first_content: dict[int, int]
    speed: dict[int, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_More).decode


class Figures:
    """The sums of some calls.

    Attributes:
        calls: all of them; ``completed``, ``failed``, ``cancelled`` and ``refused`` by outcome.
        input_tokens, output_tokens, cached_tokens: of answers, reported or estimated; counting tokens is free.
        cost: nano-dollars of all attempts that have a price; ``lost_cost``: of it what did not answer.
        unpriced: calls of which something was billed that has no price.
        attempts: tries that were really made; ``fallbacks``: answers of another deployment than the first one tried.
        empty: completed answers without a single token.
        errors, finishes, statuses, caches: how many calls, by error code, finish reason, HTTP status, cache verdict.
        latency_bins, first_bins, speed_bins: see the properties ``latency``, ``first_content`` and ``speed``.
    """

    __slots__ = (*COUNTS, "caches", "errors", "finishes", "first_bins", "latency_bins", "speed_bins", "statuses")

    def __init__(self) -> None:
        self.calls = self.completed = self.failed = self.cancelled = self.refused = 0
        self.input_tokens = self.output_tokens = self.cached_tokens = self.cost = self.lost_cost = 0
        self.unpriced = self.attempts = self.fallbacks = self.empty = 0
        self.errors: dict[str, int] = {}
        self.finishes: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self.caches: dict[str, int] = {}
        self.latency_bins: dict[int, int] = {}
        self.first_bins: dict[int, int] = {}
        self.speed_bins: dict[int, int] = {}

    @property
    def latency(self) -> Sketch:
        """Durations of completed calls, in µs."""
        return Sketch(self.latency_bins)

    @property
    def first_content(self) -> Sketch:
        """Times to the first content of completed streams, in µs."""
        return Sketch(self.first_bins)

    @property
    def speed(self) -> Sketch:
        """Output tokens per second of completed calls; for streams, from the first content on."""
        return Sketch(self.speed_bins)

    @property
    def error_rate(self) -> float | None:
        """The share of failed calls among those that were neither refused nor cancelled; None where there are none."""
        judged = self.completed + self.failed
        return self.failed / judged if judged else None

    def add(self, facts: Facts) -> None:
        """Adds one call."""
        self.calls += 1
        outcome = facts.outcome
        if outcome == "completed":
            self.completed += 1
        elif outcome == "failed":
            self.failed += 1
        elif outcome == "cancelled":
            self.cancelled += 1
        elif outcome == "refused":
            self.refused += 1
        self.input_tokens += facts.input
        self.output_tokens += facts.output
        self.cached_tokens += facts.cached
        self.cost += facts.cost
        self.lost_cost += facts.lost
        self.unpriced += facts.unpriced
        self.attempts += facts.attempts
        self.fallbacks += facts.fallback
        self.empty += facts.empty
        for name, counts in (
            (facts.error, self.errors),
            (facts.finish, self.finishes),
            (facts.cache, self.caches),
        ):
            if name:
                counts[name] = counts.get(name, 0) + 1
        self.statuses[facts.status] = self.statuses.get(facts.status, 0) + 1
        for number, bins in (
            (facts.latency, self.latency_bins),
            (facts.first, self.first_bins),
            (facts.speed, self.speed_bins),
        ):
            if number is not None:
                bins[number] = bins.get(number, 0) + 1

    def move(self, cost: int) -> None:
        """Adds what attempts cost that a call made here, or takes it away where it was made elsewhere (below 0)."""
        self.cost += cost
        self.lost_cost += cost

    def merge(self, other: Figures) -> None:
        """Adds other figures."""
        self.add_counts(other.counts())
        self._add_maps(other.maps())

    def add_counts(self, values: Sequence[int | None]) -> None:
        """Adds values of ``COUNTS``; None is 0."""
        for name, value in zip(COUNTS, values, strict=True):
            if value:
                setattr(self, name, getattr(self, name) + int(value))

    def counts(self) -> list[int]:
        """Returns the values of ``COUNTS``."""
        return [getattr(self, name) for name in COUNTS]

    def maps(self) -> tuple[dict[Any, int], ...]:
        """Returns what is counted by name or bin, in the order of the rollups' ``more``."""
        return (
            *(self.errors, self.finishes, self.statuses, self.caches),
            *(self.latency_bins, self.first_bins, self.speed_bins),
        )

    def to_columns(self) -> tuple[Any, ...]:
        """Returns the values of a rollup row behind its key: ``COUNTS`` (0 as None: it takes no room), ``more``."""
        more = _encode(self.maps())
        return (*[value or None for value in self.counts()], more)

    def add_columns(self, values: Sequence[Any]) -> None:
        """Adds what ``to_columns`` made."""
        self.add_counts(values[:-1])
        self.add_more(values[-1])

    def add_more(self, more: bytes) -> None:
        """Adds a rollup row's ``more``."""
        read = _decode(more)
        self._add_maps(
            (read.errors, read.finishes, read.statuses, read.caches, read.latency, read.first_content, read.speed)
        )

    def _add_maps(self, maps: Iterable[dict[Any, int]]) -> None:
        for mine, more in zip(self.maps(), maps, strict=True):
            if more:
                merge_counts(mine, more)
