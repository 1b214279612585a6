"""The checklist's items about what the calls show: what is logged, what streams, what load it has been tried with."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime

from headgate.check.facts import Facts
from headgate.check.item import Item, Line, count, share

_GOOD_PARTS = 0.99
_LONG_US = 2_000_000
_UNSTREAMED_PARTS = 0.1
_AGE_DAYS = 90.0
_TIMES_PEAK = 2.0
_ERROR_PARTS = 0.01


def logged(facts: Facts) -> Item:
    """Each answer's latency, tokens and finish reason are on record."""
    line = Line("logged", "Latency, tokens and finish reason are logged")
    calls = facts.calls
    if not calls.answers:
        return line.unproven("no conversation was answered in this time", "make a call, and check again")
    parts = {"first content": calls.with_times, "tokens": calls.with_usage, "finish reason": calls.with_finish}
    evidence = ", ".join(f"{name} {share(number, calls.answers)}" for name, number in parts.items())
    evidence = f"of {count(calls.answers, 'answer')}: {evidence}"
    figures = {name.replace(" ", "_"): number for name, number in parts.items()}
    if min(parts.values()) < _GOOD_PARTS * calls.answers:
        return line.failed(
            evidence,
            "see which deployment leaves it out (headgate records --format jsonl); stream_usage: true there",
            **figures,
        )
    return line.passed(evidence, **figures)


def streaming(facts: Facts) -> Item:
    """Who waits for an answer sees it grow."""
    line = Line("streaming", "Answers that people wait for are streamed")
    waits = [
        story
        for story in facts.conversations()
        if story["priority"] == "interactive" and story["outcome"] == "completed" and story["duration_us"] > _LONG_US
    ]
    if not facts.conversations():
        return line.unproven("no conversation in this time")
    if not waits:
        return line.not_applicable(f"no interactive answer of the last {len(facts.sample):,} calls took more than 2 s")
    whole = [story for story in waits if not story["stream"]]
    evidence = (
        f"{share(len(waits) - len(whole), len(waits))} of {len(waits):,} interactive answers that took more than 2 s"
    )
    if len(whole) <= _UNSTREAMED_PARTS * len(waits):
        return line.passed(f"{evidence} were streamed", long=len(waits), unstreamed=len(whole))
    worst = statistics.mode(f"{story['feature'] or story['model']}" for story in whole)
    seconds = statistics.median(story["duration_us"] for story in whole) / 1e6
    return line.failed(
        f"only {evidence} were streamed; the others showed nothing for {seconds:.1f} s, most of them of {worst}",
        "stream: true in these calls, or the header x-headgate-class: batch where nobody waits",
        long=len(waits),
        unstreamed=len(whole),
    )


def load_tested(facts: Facts) -> Item:
    """It has borne two to three times the busiest minute."""
    line = Line("load-tested", "Load-tested at 2 to 3 times the peak")
    peak = facts.calls.peak
    wanted = f"headgate load --from-records --speed 3 --data {facts.settings.data.dir}"
    if not facts.loads:
        busiest = f"; the busiest minute had {count(peak, 'call')}" if peak else ""
        return line.failed(f"no load test is on record{busiest}", wanted, peak_per_minute=peak)
    mark = max(
        facts.loads, key=lambda one: (_bears(one.calls, one.errors), _is_recent(one.time_ns, facts), one.per_minute)
    )
    day = datetime.fromtimestamp(mark.time_ns / 1e9, UTC).date()
    evidence = f"on {day} it bore {mark.per_minute:,.0f} calls a minute, {share(mark.errors, mark.calls)} errors"
    if mark.own_p99_ms is not None:
        evidence += f", its own share {mark.own_p99_ms:.1f} ms at p99"
    figures = {"per_minute": mark.per_minute, "peak_per_minute": peak, "errors": mark.errors}
    if not _bears(mark.calls, mark.errors):
        return line.failed(
            f"{evidence}: more than {_ERROR_PARTS:.0%}", "find out why (its report says), and run it again", **figures
        )
    if not _is_recent(mark.time_ns, facts):
        return line.failed(f"{evidence}: more than {_AGE_DAYS:g} days ago", wanted, **figures)
    if not peak:
        return line.passed(f"{evidence}; there is no traffic yet to compare it with", **figures)
    times = mark.per_minute / peak
    evidence += f": {times:.1f} times the busiest minute ({count(peak, 'call')})"
    if times < _TIMES_PEAK:
        return line.failed(evidence, wanted, **figures)
    return line.passed(evidence, **figures)


def _bears(calls: int, errors: int) -> bool:
    return calls > 0 and errors <= _ERROR_PARTS * calls


def _is_recent(time_ns: int, facts: Facts) -> bool:
    return facts.now_ns - time_ns <= _AGE_DAYS * 86_400e9


ITEMS = (logged, streaming, load_tested)
