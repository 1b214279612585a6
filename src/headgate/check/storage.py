"""The checklist's items about what is kept: the recorder, old calls that go, room on the disk."""

from __future__ import annotations

from headgate.check.facts import Facts
from headgate.check.item import Item, Line, count

_DAY_NS = 86_400e9
_LEAST_FREE = 1 << 30


def recorder(facts: Facts) -> Item:
    """Every call reaches the store."""
    line = Line("recorder", "The recorder keeps up")
    place = facts.place
    if place is None:
        return line.unproven("no data directory yet")
    figures = {"waiting_bytes": place.waiting_bytes, "refused": place.refused}
    if place.refused:
        return line.failed(
            f"{count(place.refused, 'record')} could not be stored",
            f"look at {place.path}/journal/refused.corrupt",
            **figures,
        )
    if not place.caught_up:
        return line.failed(
            f"{_size(place.waiting_bytes)} of journal wait, and none came through within 3 s",
            "see whether the database answers, and what the gateway's log says of its recorder",
            **figures,
        )
    return line.passed(
        f"the journal is stored to its end; about {count(facts.calls.stored, 'call')} in the store", **figures
    )


def retention(facts: Facts) -> Item:
    """Old calls go when they should."""
    line = Line("retention", "Records are kept so long, and no longer")
    days = facts.settings.data.retention_days
    oldest = facts.calls.oldest_ns
    if oldest is None:
        return line.passed(f"{days:g} days; no call yet")
    age = (facts.now_ns - oldest) / _DAY_NS
    if age > days + 1:
        return line.failed(
            f"the oldest call is {age:.1f} days old, and {days:g} are allowed",
            "run the gateway on this data directory: its recorder removes what is old",
            oldest_days=age,
        )
    return line.passed(f"{days:g} days; the oldest call is {age:.1f} days old", oldest_days=age)


def disk(facts: Facts) -> Item:
    """There is room for all that will be kept."""
    line = Line("disk", "The disk holds what is to be kept")
    place, calls = facts.place, facts.calls
    if place is None:
        return line.unproven("no data directory yet")
    figures = {"free_bytes": place.free_bytes, "used_bytes": place.used_bytes}
    evidence = f"{_size(place.free_bytes)} free, {_size(place.used_bytes)} used"
    needed = _LEAST_FREE
    if calls.stored and calls.oldest_ns is not None and not facts.settings.database_url:
        seen = max(1.0, (facts.now_ns - calls.oldest_ns) / _DAY_NS)
        whole = place.used_bytes / seen * facts.settings.data.retention_days
        needed = max(needed, int(whole - place.used_bytes))
        evidence += f"; {facts.settings.data.retention_days:g} days of such traffic take {_size(int(whole))}"
    if place.free_bytes < needed:
        return line.failed(evidence, "a larger disk, a shorter data.retention_days, or a Postgres elsewhere", **figures)
    return line.passed(evidence, **figures)


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


ITEMS = (recorder, retention, disk)
