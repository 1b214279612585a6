"""How big a slice a lease gets: pure arithmetic over one window's numbers."""

from __future__ import annotations

import msgspec

from headgate.core.leases import Ask

SHARE = 4
"""A slice is at most this part of what is free: the nearer the limit, the smaller, down to one call's worst case."""
STALE_NS = 5 * 10**9
"""Nothing is given in a window that has been over for so long, or is to come: whose clock is that wrong asks again."""


class Standing(msgspec.Struct):
    """What the store has of one window.

    Attributes:
        settled: used for good, by all, as reported.
        held: leased and not reported as used, over all leases.
        short_ns: when somebody last lacked something here, in ns since 1970.
    """

    settled: int = 0
    held: int = 0
    short_ns: int = 0


class Lease(msgspec.Struct):
    """What the store has of one worker's lease in one window: how much it holds in all, and what it has reported."""

    granted: int = 0
    settled: int = 0
    reserved: int = 0


def renew(standing: Standing, lease: Lease | None, ask: Ask, now_ns: int) -> tuple[Standing, Lease | None, int]:
    """Applies one report and decides what it asks for.

    Invariant: ``settled + held`` grows only by what is free, or by what a worker has used above its lease (a settlement
    above its reservation), which is told as it is.

    Args:
        standing: the window.
        lease: the worker's, None where the store has none.
        ask: the report.
        now_ns: the store's clock.

    Returns:
        The window and the lease as they are now (None: over), and how much was given.
    """
    if lease is None:
        if ask.close:
            return standing, None, 0  # told twice
        lease = Lease()
    settled = standing.settled + max(0, ask.settled - lease.settled)
    reported = max(ask.settled, lease.settled)
    held = standing.held - (lease.granted - lease.settled)
    if ask.close:
        return Standing(settled, held, standing.short_ns), None, 0
    granted = max(min(lease.granted, ask.keep), reported + ask.reserved)
    held += granted - reported
    free = ask.limit - settled - held
    given, short = 0, standing.short_ns
    if ask.want:
        given = slice_of(free, ask.want, ask.least)
        if not given:
            short = now_ns
    after = Lease(granted + given, reported, ask.reserved)
    return Standing(settled, held + given, short), after, given


def is_stale(ask: Ask, now_ns: int) -> bool:
    """Whether a window is not that of this moment (``now_ns`` by the store's clock), nor about to be, nor just over."""
    key = ask.window
    return bool(key.end_ns) and not key.start_ns - STALE_NS <= now_ns <= key.end_ns + STALE_NS


def slice_of(free: int, want: int, least: int) -> int:
    """Returns how much of what is free goes to one who wants so much; 0 where the least does not fit.

    Example:
        >>> slice_of(1000, 500, 10), slice_of(100, 500, 10), slice_of(12, 500, 10), slice_of(9, 500, 10)
        (250, 25, 10, 0)
    """
    least = max(1, least)
    return 0 if free < least else max(least, min(want, free // SHARE))


def end_of_dead(lease: Lease, settled: int, reserved: int) -> tuple[int, int]:
    """Returns what a dead worker's lease counts for: settled in all, and what of it nobody knows to be so.

    Args:
        lease: as the store has it.
        settled, reserved: what the worker has left behind.

    Neither is ever above what the store had granted, or knows to be used. What the worker had reported, but not noted
    in its file, is presumed too: its Record may never have reached the disk.
    """
    known = max(lease.settled, settled)
    total = known + max(0, min(reserved, lease.granted - known))
    return total, max(0, total - settled)
