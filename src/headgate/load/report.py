"""Report: what a load test came to, as figures, as a table, and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.price import show_dollars
from headgate.load.histogram import Histogram
from headgate.load.kept import LoadMark
from headgate.load.own import NOTHING, OwnShare, Recorded
from headgate.load.tally import Tally

LATE_MS = 20.0
"""A load that sends later than this at p99 measures itself."""

_MINUTE = 60.0


class Spread(msgspec.Struct, frozen=True):
    """One kind of time in milliseconds; None where there was none."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Stretch(msgspec.Struct, frozen=True):
    """What began in one stretch of the run: from second ``at``; first content in ms."""

    at: float
    calls: int
    errors: int
    p50: float | None
    p99: float | None


class Report(LoadMark, frozen=True, kw_only=True):
    """One load test, whole. Its first fields are those that the data directory remembers.

    Attributes:
        model: what was asked for.
        streamed: which part of the calls was streamed, as far as arrivals did not say.
        took_s: from the start to the last answer, in seconds.
        times: by name, the spreads: first content, inter-token, total, from the intended start; ``service`` is total
            from the moment of sending, ``lag`` how late calls were sent.
        errors_by_kind: how many of each, the most frequent first.
        calls_per_s, tokens_per_s: calls ended, and output tokens, per second of the whole run.
        input_tokens, output_tokens: as reported.
        cost: dollars as a decimal, None where it is not known; ``unpriced`` calls are not in it.
        own: the gateway's own share, None where it can not be told.
        curves: first content and total: points of (ms, part of all that is at most that).
        stretches: the run in up to 120 pieces, each ``stretch_s`` seconds long.
        stopped: whether it was ended before its time.
    """

    model: str
    streamed: float
    took_s: float
    times: dict[str, Spread]
    errors_by_kind: dict[str, int]
    calls_per_s: float
    tokens_per_s: float
    input_tokens: int
    output_tokens: int
    cost: str | None
    unpriced: int
    own: OwnShare | None
    curves: dict[str, list[tuple[float, float]]]
    stretches: list[Stretch]
    stretch_s: float
    stopped: bool = False


def make_report(
    tally: Tally,
    *,
    time_ns: int,
    target: str,
    source: str,
    speed: float,
    model: str,
    streamed: float,
    took_s: float,
    recorded: Recorded = NOTHING,
    stopped: bool = False,
) -> Report:
    """Makes the report of a run that is over; every figure as ``Report`` has it."""
    own = recorded.own
    calls = tally.started + tally.skipped
    kinds = {"first_content": tally.first, "inter_token": tally.gaps, "total": tally.total}
    times = {name: _spread(found) for name, found in {**kinds, "service": tally.service, "lag": tally.lag}.items()}
    short = tally.last_s < _MINUTE
    return Report(
        time_ns=time_ns,
        target=target,
        source=source,
        speed=speed,
        calls=calls,
        errors=tally.failed,
        seconds=round(tally.last_s, 3),
        per_minute=round(calls * 60 / max(tally.last_s, 10.0), 1) if short else float(tally.busiest),
        first_content_p99_ms=times["first_content"].p99,
        total_p99_ms=times["total"].p99,
        own_p99_ms=None if own is None else own.outside_p99_ms,
        model=model,
        streamed=streamed,
        took_s=round(took_s, 3),
        times=times,
        errors_by_kind=dict(tally.errors.most_common()),
        calls_per_s=round(tally.ended / max(took_s, 0.001), 2),
        tokens_per_s=round(tally.output_tokens / max(took_s, 0.001), 1),
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cost=None if recorded.cost is None else show_dollars(recorded.cost),
        unpriced=recorded.unpriced,
        own=own,
        curves={name: _curve(found) for name, found in kinds.items() if name != "inter_token"},
        stretches=_stretches(tally),
        stretch_s=round(tally.width, 1),
        stopped=stopped,
    )


def rows(report: Report) -> list[tuple[str, str, str, str, str]]:
    """Returns the table of times: name, p50, p95, p99 and the longest."""
    names = {"first_content": "first content", "inter_token": "inter-token", "total": "whole answer"}
    found = [(title, report.times[name]) for name, title in names.items()]
    return [(title, show_ms(one.p50), show_ms(one.p95), show_ms(one.p99), show_ms(one.max)) for title, one in found]


def lines(report: Report) -> list[str]:
    """Returns the facts beside the table, one a line."""
    share = f"{100 * report.errors / report.calls:.2f} %" if report.calls else "0 %"
    short = report.seconds < _MINUTE  # there was no whole minute to count in
    rate = "calls a minute, as they came" if short else "calls in the busiest minute"
    found = [
        f"{report.calls:,} calls in {report.took_s:,.1f} s: {report.calls_per_s:,.1f} calls/s, "
        f"{report.tokens_per_s:,.0f} tokens/s out; {report.per_minute:,.0f} {rate}",
        f"errors: {report.errors:,} ({share})",
    ]
    found += [f"  {number:,} x {kind}" for kind, number in report.errors_by_kind.items()]
    unpriced = f", {report.unpriced:,} calls unpriced" if report.unpriced else ""
    cost = "not known" if report.cost is None else f"${report.cost}{unpriced}"
    found.append(f"tokens: {report.input_tokens:,} in, {report.output_tokens:,} out; cost: {cost}")
    if report.own is not None:
        own = report.own
        found.append(
            f"the gateway's own share of first content: p50 {show_ms(own.outside_p50_ms)}, p95 "
            f"{show_ms(own.outside_p95_ms)}, p99 {show_ms(own.outside_p99_ms)} (by its own clock: p99 "
            f"{show_ms(own.inside_p99_ms)}); of the slowest {own.slowest:,} calls' {show_ms(own.slowest_first_ms)} it "
            f"was {show_ms(own.slowest_own_ms)}, {100 * own.slowest_share:.1f} %"
        )
    lag = report.times["lag"].p99
    if lag is not None and lag > LATE_MS:
        found.append(
            f"the load itself was late: calls were sent up to {show_ms(lag)} (p99) after they were meant to start; "
            "the times above count that, so give the load a faster machine before you blame the gateway"
        )
    if report.stopped:
        found.append("stopped before its end: the figures are of what was made until then")
    return found


def plain(report: Report) -> dict[str, Any]:
    """Returns the report for programs."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def show_ms(value: float | None) -> str:
    """Returns milliseconds for people: ``0.4 ms``, ``212 ms``, ``3.61 s``; ``-`` for None."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.2f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _spread(one: Histogram) -> Spread:
    mean = one.total_us / one.count / 1000 if one.count else None
    longest = one.most_us / 1000 if one.count else None
    return Spread(one.count, _round(mean), _ms(one, 0.5), _ms(one, 0.95), _ms(one, 0.99), _round(longest))


def _ms(one: Histogram, part: float) -> float | None:
    found = one.quantile(part)
    return None if found is None else _round(found / 1000)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _stretches(tally: Tally) -> list[Stretch]:
    return [
        Stretch(round(place * tally.width, 1), one.calls, one.errors, _ms(one.first, 0.5), _ms(one.first, 0.99))
        for place, one in sorted(tally.slices.items())
    ]


def _curve(one: Histogram, most: int = 120) -> list[tuple[float, float]]:
    points = [(round(us / 1000, 3), round(part, 5)) for us, part in one.steps()]
    return points[:: max(1, len(points) // most)] + points[-1:] if points else []
