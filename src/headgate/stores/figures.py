"""What calls came to: counts, tokens, money, errors and sketches, that can be added up in any order without loss.

The recorder makes ``Figures`` of Records, rollups keep them (see ``schema``), reports show them. Everything in them can
be added, so that the figures of two times, keys or machines make those of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import add
from typing import Any

import msgspec

from headgate.core.record import Record, dispatched
from headgate.stores.sketch import Sketch, bin_of

_LARGEST = (1 << 31) - 1
_DEAREST = 1 << 60
_WORD = 100
_MANY = 10
_NO_TOKENS = frozenset({"count_tokens"})
NO_TEXT = frozenset({"count_tokens", "embeddings"})

COUNTS = (
    *("calls", "completed", "failed", "cancelled", "refused"),
    *("input_tokens", "output_tokens", "cached_tokens", "cost", "lost_cost"),
    *("unpriced", "attempts", "fallbacks", "empty"),
)
"""The figures that are plain numbers, in the order of the columns of the rollup tables."""


# What is counted by name stands in one dict: words behind a letter that says what they are, numbers times four plus
# what they are. One dict of a few entries is what makes a Figures cheap to make, to merge and to store.
_ERROR, _FINISH, _CACHE = "e", "f", "c"
_LATENCY, _FIRST, _SPEED, _STATUS = range(4)

_OUTCOMES = {
    "completed": (1, 1, 0, 0, 0),
    "failed": (1, 0, 1, 0, 0),
    "cancelled": (1, 0, 0, 1, 0),
    "refused": (1, 0, 0, 0, 1),
}
_NO_OUTCOME = (1, 0, 0, 0, 0)


class Facts(msgspec.Struct):
    """What one call adds to every figure that it belongs to.

    ``counts`` in the order of ``COUNTS``; ``named`` what it counts once for by name. ``moved`` says what attempts cost
    that were made at other deployments than the one that answered: nano-dollars by deployment.
    """

    counts: tuple[int, ...]
    named: list[str | int]
    status: int
    moved: dict[str, int] | None


def facts_of(record: Record, deployment: str) -> Facts:
    """Returns what a Record adds; ``deployment`` is the one that it counts for (see ``rows.deployment_of``)."""
    attempts = record.attempts
    usage = record.usage
    tokens = usage if usage is not None and record.dialect not in _NO_TOKENS else None
    lost, moved, fallback, made, unpriced = 0, None, 0, 0, record.cost is None
    if len(attempts) == 1:
        only = attempts[0]
        made = 0 if only.outcome == "skipped" else 1
        unpriced = unpriced or only.unpriced
        if record.winner != 0:
            lost = only.cost or 0
    elif attempts:
        made = dispatched(record)
        unpriced = unpriced or any(attempt.unpriced for attempt in attempts)
        lost, moved = _elsewhere(record, deployment)
        fallback = int(record.winner > 0 and deployment != attempts[0].deployment)
    status = min(record.status, 32_767)
    named: list[str | int] = [status * 4 + _STATUS]
    completed = record.outcome == "completed"
    if completed:
        _count_times(record, 0 if tokens is None else tokens.output, named)
    if record.error:
        named.append(_ERROR + record.error[:_WORD])
    if record.finish:
        named.append(_FINISH + record.finish[:_WORD])
    if record.notes:
        verdict = record.notes.get("cache")
        if verdict and isinstance(verdict, str):
            named.append(_CACHE + verdict[:_WORD])
    spent = (0, 0, 0) if tokens is None else (tokens.input, tokens.output, tokens.cached)
    if max(spent) > _LARGEST:
        spent = (min(spent[0], _LARGEST), min(spent[1], _LARGEST), min(spent[2], _LARGEST))
    empty = completed and usage is not None and not usage.output and record.dialect not in NO_TEXT
    rest = (min(record.cost or 0, _DEAREST), min(lost, _DEAREST), 1 if unpriced else 0, made, fallback, int(empty))
    return Facts(_OUTCOMES.get(record.outcome, _NO_OUTCOME) + spent + rest, named, status, moved)


def _count_times(record: Record, output: int, named: list[str | int]) -> None:
    """Names the bins of a completed call: how long it took, until it began, how fast it went on."""
    duration, begun = record.duration_us, record.first_content_us
    if duration > 0:
        named.append(bin_of(duration) * 4 + _LATENCY)
    streamed = record.stream and begun > 0
    if streamed:
        named.append(bin_of(begun) * 4 + _FIRST)
    if output > 0:
        took = duration - begun if streamed else duration
        if took > 0:
            named.append(bin_of(min(output, _LARGEST) * 1e6 / took) * 4 + _SPEED)


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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str | int, int]).decode
_NOTHING = [0] * len(COUNTS)
_COST, _LOST = COUNTS.index("cost"), COUNTS.index("lost_cost")


def _count(name: str) -> Any:
    place = COUNTS.index(name)
    return property(lambda figures: figures.sums[place])


class Figures:
    """The sums of some calls.

    Attributes:
        calls: all of them; ``completed``, ``failed``, ``cancelled`` and ``refused`` by outcome.
        input_tokens, output_tokens, cached_tokens: of answers, reported or estimated; counting tokens is free.
        cost: nano-dollars of all attempts that have a price; ``lost_cost``: of it what did not answer.
        unpriced: calls of which something was billed that has no price.
        attempts: tries that were really made; ``fallbacks``: answers of another deployment than the first one tried.
        empty: completed answers without a single token.
        sums: all of these, in the order of ``COUNTS``.
        named: what is counted by name or bin, as rollup rows keep it; read it by the properties below.
    """

    __slots__ = ("named", "sums")

    calls: int = _count("calls")
    completed: int = _count("completed")
    failed: int = _count("failed")
    cancelled: int = _count("cancelled")
    refused: int = _count("refused")
    input_tokens: int = _count("input_tokens")
    output_tokens: int = _count("output_tokens")
    cached_tokens: int = _count("cached_tokens")
    cost: int = _count("cost")
    lost_cost: int = _count("lost_cost")
    unpriced: int = _count("unpriced")
    attempts: int = _count("attempts")
    fallbacks: int = _count("fallbacks")
    empty: int = _count("empty")

    def __init__(self) -> None:
        self.sums = _NOTHING
        self.named: dict[str | int, int] = {}

    @property
    def errors(self) -> dict[str, int]:
        """How many calls ended with each error code, the most frequent first."""
        return self._words(_ERROR)

    @property
    def finishes(self) -> dict[str, int]:
        """How many answers ended for each finish reason, the most frequent first."""
        return self._words(_FINISH)

    @property
    def caches(self) -> dict[str, int]:
        """How many calls had each cache verdict, the most frequent first."""
        return self._words(_CACHE)

    @property
    def statuses(self) -> dict[int, int]:
        """How many calls were answered with each HTTP status; 0 in the library."""
        return dict(sorted(self._numbers(_STATUS).items()))

    @property
    def latency(self) -> Sketch:
        """Durations of completed calls, in µs."""
        return Sketch(self._numbers(_LATENCY))

    @property
    def first_content(self) -> Sketch:
        """Times to the first content of completed streams, in µs."""
        return Sketch(self._numbers(_FIRST))

    @property
    def speed(self) -> Sketch:
        """Output tokens per second of completed calls; for streams, from the first content on."""
        return Sketch(self._numbers(_SPEED))

    @property
    def error_rate(self) -> float | None:
        """The share of failed calls among those that were neither refused nor cancelled; None where there are none."""
        judged = self.completed + self.failed
        return self.failed / judged if judged else None

    def add(self, facts: Facts) -> None:
        """Adds one call; ``sum_of`` adds many sooner."""
        self.sums = list(map(add, self.sums, facts.counts))
        named = self.named
        for name in facts.named:
            named[name] = named.get(name, 0) + 1

    def move(self, cost: int) -> None:
        """Adds what attempts cost that a call made here, or takes it away where it was made elsewhere (below 0)."""
        self.sums = list(self.sums)
        self.sums[_COST] += cost
        self.sums[_LOST] += cost

    def merge(self, other: Figures) -> None:
        """Adds other figures."""
        self.sums = list(map(add, self.sums, other.sums))
        self._merge_named(other.named)

    def add_counts(self, values: Sequence[Any]) -> None:
        """Adds values of ``COUNTS``; None is 0."""
        self.sums = [mine + more if more else mine for mine, more in zip(self.sums, values, strict=True)]

    def to_columns(self) -> tuple[Any, ...]:
        """Returns the values of a rollup row behind its key: ``COUNTS`` (0 as None: it takes no room), ``more``."""
        return (*[value or None for value in self.sums], _encode(self.named))

    def add_columns(self, values: Sequence[Any]) -> None:
        """Adds what ``to_columns`` made."""
        self.add_counts(values[:-1])
        self._merge_named(_decode(values[-1]))

    def _merge_named(self, more: Mapping[str | int, int]) -> None:
        named = self.named
        if not named:
            named.update(more)
            return
        get = named.get
        for name, count in more.items():
            named[name] = get(name, 0) + count

    def _words(self, kind: str) -> dict[str, int]:
        found = [(name[1:], count) for name, count in self.named.items() if isinstance(name, str) and name[0] == kind]
        return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))

    def _numbers(self, kind: int) -> dict[int, int]:
        return {name >> 2: count for name, count in self.named.items() if isinstance(name, int) and name & 3 == kind}


def sum_of(calls: Sequence[Facts]) -> Figures:
    """Returns the figures of calls (at least one)."""
    figures = Figures()
    figures.named = named = dict.fromkeys(calls[0].named, 1)  # a call counts once for each
    if len(calls) < _MANY:
        sums: Any = calls[0].counts
        for facts in calls[1:]:
            sums = map(add, sums, facts.counts)
            for name in facts.named:
                named[name] = named.get(name, 0) + 1
        figures.sums = list(sums)
    else:
        figures.sums = list(map(sum, zip(*[facts.counts for facts in calls], strict=True)))
        figures.named = dict(Counter(chain.from_iterable([facts.named for facts in calls])))
    return figures
