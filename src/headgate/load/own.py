"""The gateway's own share: what calls took beyond their upstreams, from the records that the gateway made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from headgate.load.histogram import Histogram
from headgate.load.tally import Timed


class OwnShare(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of first content that were not the upstream's.

    ``outside`` counts from the sending of the request to the arrival of the first content at the load, less the
    upstream's own time: network and the load's own reading are in it, so it is never too small. ``inside`` is what the
    gateway's own clock saw.

    Attributes:
        calls: how many were looked at: those that one attempt answered.
        outside_p50_ms, outside_p95_ms, outside_p99_ms: quantiles.
        inside_p50_ms, inside_p99_ms: the same by the gateway's clock.
        slowest: of the calls at or above p99 of first content, how many.
        slowest_first_ms, slowest_own_ms: what those took on the average, and what of it was the gateway's.
    """

    calls: int
    outside_p50_ms: float
    outside_p95_ms: float
    outside_p99_ms: float
    inside_p50_ms: float
    inside_p99_ms: float
    slowest: int
    slowest_first_ms: float
    slowest_own_ms: float

    @property
    def slowest_share(self) -> float:
        """Which part (0 to 1) of the slowest calls' first content was the gateway's."""
        return self.slowest_own_ms / self.slowest_first_ms if self.slowest_first_ms else 0.0


class Recorded(NamedTuple):
    """What the gateway's records say of one run.

    Attributes:
        cost: nano-dollars, None where no call of it is recorded, or none has a price.
        unpriced: calls that had no price.
        own: its own share, None where that can not be told.
    """

    cost: int | None
    unpriced: int
    own: OwnShare | None


NOTHING = Recorded(None, 0, None)
"""No record of the run."""


def own_share(stories: Iterable[Mapping[str, Any]], timed: Mapping[str, Timed]) -> OwnShare | None:
    """Compares records with what the load saw of the same calls.

    Args:
        stories: records of the run, in any order; read once.
        timed: the calls that the load remembers, by id.

    Returns:
        None where no record belongs to a call that is remembered.
    """
    outside, inside, firsts = Histogram(), Histogram(), Histogram()
    pairs: list[tuple[float, float]] = []
    for story in stories:
        seen = timed.get(story["id"])
        attempts, winner = story["attempts"], story["winner"]
        if seen is None or seen.first_us < 0 or winner != 0 or len(attempts) != 1:
            continue
        attempt = attempts[winner]
        if attempt["first_content_us"] < 0 or story["first_content_us"] < 0:
            continue
        # Unary: the whole body is the first content.
        upstream = attempt["first_content_us"] - attempt["started_us"]
        own = max(1.0, seen.first_us - upstream)
        outside.add(own)
        inside.add(max(1.0, story["first_content_us"] - upstream))
        firsts.add(seen.first_us)
        pairs.append((seen.first_us, own))
    border = firsts.quantile(0.99)
    if border is None:
        return None
    slow = [pair for pair in pairs if pair[0] >= border * 0.99] or [max(pairs)]
    return OwnShare(
        calls=outside.count,
        outside_p50_ms=_ms(outside, 0.5),
        outside_p95_ms=_ms(outside, 0.95),
        outside_p99_ms=_ms(outside, 0.99),
        inside_p50_ms=_ms(inside, 0.5),
        inside_p99_ms=_ms(inside, 0.99),
        slowest=len(slow),
        slowest_first_ms=sum(first for first, _ in slow) / len(slow) / 1000,
        slowest_own_ms=sum(own for _, own in slow) / len(slow) / 1000,
    )


def _ms(histogram: Histogram, part: float) -> float:
    return (histogram.quantile(part) or 0.0) / 1000
