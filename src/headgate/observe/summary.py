"""Figures as people and programs are shown them: plain names, dollars, milliseconds, quantiles."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from headgate.core.errors import BadRequest
from headgate.core.price import show_dollars
from headgate.stores.figures import Figures
from headgate.stores.rollups import DAY_NS, HOUR_NS, MINUTE_NS
from headgate.stores.sketch import Sketch

_STEP = re.compile(r"(\d{1,5})(m|h|d)", re.ASCII)
_UNITS = {"m": MINUTE_NS, "h": HOUR_NS, "d": DAY_NS}
_STEPS = tuple(n * MINUTE_NS for n in (1, 5, 15)) + tuple(n * HOUR_NS for n in (1, 3, 6, 12)) + (DAY_NS, 7 * DAY_NS)
_POINTS = 150


class Quantiles(msgspec.Struct, frozen=True):
    """Where a share of all values lies below, within 1 %; null where there are none."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class Counts(msgspec.Struct, frozen=True):
    """The plain numbers of what calls came to. Money is dollars, exact, as text; `unpriced` calls are not in it."""

    calls: int
    completed: int
    failed: int
    cancelled: int
    refused: int
    error_rate: Annotated[float | None, Meta(description="Failed of completed and failed; null where there are none.")]
    attempts: int
    fallbacks: Annotated[int, Meta(description="Answers of another deployment than the first one tried.")]
    empty: Annotated[int, Meta(description="Completed answers without a single token.")]
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: str
    lost_cost_usd: Annotated[str, Meta(description="Of `cost_usd`, what attempts cost that did not answer.")]
    unpriced: int


class Summary(Counts, frozen=True):
    """What calls came to. Money is dollars, exact, as text; `unpriced` calls are not in it."""

    errors: Annotated[dict[str, int], Meta(description="Calls by error code.")]
    finishes: Annotated[dict[str, int], Meta(description="Calls by finish reason.")]
    statuses: Annotated[dict[str, int], Meta(description="Calls by HTTP status; 0 in the library.")]
    caches: Annotated[dict[str, int], Meta(description="Calls by cache verdict.")]
    latency_ms: Annotated[Quantiles, Meta(description="How long completed calls took.")]
    first_content_ms: Annotated[Quantiles, Meta(description="When completed streams began.")]
    tokens_per_second: Annotated[Quantiles, Meta(description="Output tokens per second of completed calls.")]


def summarize(figures: Figures) -> Summary:
    """Returns figures as they are shown."""
    return Summary(
        **msgspec.structs.asdict(summarize_counts(figures)),
        errors=figures.errors,
        finishes=figures.finishes,
        statuses={str(status): count for status, count in figures.statuses.items()},
        caches=figures.caches,
        latency_ms=_quantiles(figures.latency, 1e-3),
        first_content_ms=_quantiles(figures.first_content, 1e-3),
        tokens_per_second=_quantiles(figures.speed, 1.0),
    )


def summarize_counts(figures: Figures) -> Counts:
    """As ``summarize``, of figures that have the plain numbers only."""
    rate = figures.error_rate
    return Counts(
        *(figures.calls, figures.completed, figures.failed, figures.cancelled, figures.refused),
        None if rate is None else round(rate, 6),
        *(figures.attempts, figures.fallbacks, figures.empty),
        *(figures.input_tokens, figures.output_tokens, figures.cached_tokens),
        *(show_dollars(figures.cost), show_dollars(figures.lost_cost), figures.unpriced),
    )


def parse_step(text: str, length_ns: int) -> int:
    """Returns a step of a series in ns.

    Args:
        text: ``5m``, ``1h`` or ``1d``; "" for one that fits the length.
        length_ns: of the series.

    Raises:
        BadRequest: it is none of these, or 0.
    """
    if not text:
        return next((step for step in _STEPS if step * _POINTS >= length_ns), _STEPS[-1])
    match = _STEP.fullmatch(text)
    if match is None or not int(match[1]):
        raise BadRequest("a step is a number of minutes, hours or days: 5m, 1h, 1d", code="invalid_value", param="step")
    return int(match[1]) * _UNITS[match[2]]


def _quantiles(sketch: Sketch, scale: float) -> Quantiles:
    values = (sketch.quantile(q) for q in (0.5, 0.95, 0.99))
    return Quantiles(sketch.count, *(None if value is None else _round(value * scale) for value in values))


def _round(value: float) -> float:
    """Four digits say all that a sketch knows."""
    return float(f"{value:.4g}")
