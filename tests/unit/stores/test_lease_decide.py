"""How big a slice a lease gets, and what a dead one counts for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.leases import Ask, WindowKey
from headgate.stores.leases.decide import Lease, Standing, end_of_dead, renew, slice_of

KEY = WindowKey("everything", "", "dollars", "day", "", 0, 86_400 * 10**9)


def ask(
    settled: int = 0, reserved: int = 0, keep: int = 0, want: int = 0, least: int = 0, *, close: bool = False
) -> Ask:
    return Ask(KEY, "w", 0, 1000, settled, reserved, keep, want, least, close)


def test_slices_shrink_to_one_calls_worst_case_as_the_limit_nears() -> None:
    """Far from the limit a quarter of what is free, near it just what one call needs, then nothing."""
    free, slices = 1000, []
    while True:
        got = slice_of(free, 500, 30)
        if not got:
            break
        slices.append(got)
        free -= got
    assert slices[0] == 250
    assert slices == sorted(slices, reverse=True)
    assert slices[-1] == 30
    assert free < 30


def test_what_is_reported_twice_counts_once() -> None:
    """Reports are totals: a repeated one, or one that comes late, changes nothing."""
    standing, lease, given = renew(Standing(), None, ask(want=100, least=10), 5)
    assert (given, standing.held) == (100, 100)
    for _ in range(3):
        standing, lease, _ = renew(standing, lease, ask(settled=40, reserved=10, keep=100), 5)
        assert (standing.settled, standing.held) == (40, 60)
    standing, lease, _ = renew(standing, lease, ask(settled=40, reserved=10, keep=50), 5)
    assert (standing.settled, standing.held) == (40, 10)
    standing, lease, _ = renew(standing, lease, ask(settled=45, close=True), 5)
    assert (standing.settled, standing.held, lease) == (45, 0, None)
    again = renew(standing, lease, ask(settled=45, close=True), 5)
    assert again == (standing, None, 0)


def test_a_lease_never_grows_by_what_its_holder_says() -> None:
    """``keep`` above what was granted gives nothing; only used amounts above the lease do, for they are facts."""
    standing, lease, _ = renew(Standing(), None, ask(want=100, least=10), 5)
    standing, lease, _ = renew(standing, lease, ask(keep=10**9), 5)
    assert lease == Lease(100, 0, 0)
    standing, lease, _ = renew(standing, lease, ask(settled=130, keep=100), 5)
    assert (standing.settled, standing.held, lease) == (130, 0, Lease(130, 130, 0))


def test_who_lacks_is_noted() -> None:
    """Where the least does not fit, the window says since when; others then give back what they hold idle."""
    full = Standing(settled=995, held=0)
    standing, _, given = renew(full, None, ask(want=50, least=10), 77)
    assert (given, standing.short_ns) == (0, 77)


@pytest.mark.parametrize(
    ("lease", "left", "counts"),
    [
        (Lease(100, 40, 10), (60, 30), (90, 30)),  # killed after its last report
        (Lease(100, 40, 10), (40, 60), (100, 60)),
        (Lease(100, 40, 10), (60, 90), (100, 40)),  # never above what was granted
        (
            Lease(100, 40, 10),
            (0, 0),
            (40, 40),
        ),  # a file that lost its last pages to a power cut: Records may be lost, too
        (Lease(100, 40, 10), (120, 0), (120, 0)),  # settled above its reservation: a fact
    ],
)
def test_a_dead_worker_counts_for_what_it_left(lease: Lease, left: tuple[int, int], counts: tuple[int, int]) -> None:
    """What was settled counts, what was reserved is presumed used, within what had been granted."""
    assert end_of_dead(lease, *left) == counts


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=60))
def test_workers_together_never_hold_more_than_the_limit(steps: list[tuple[int, int, int, bool]]) -> None:
    """Whoever asks, reports, gives back and ends in whatever order: used and held stay within the limit."""
    standing = Standing()
    leases: dict[int, Lease | None] = {0: None, 1: None, 2: None}
    used = {0: 0, 1: 0, 2: 0}
    for who, want, use, close in steps:
        lease = leases[who]
        mine = 0 if lease is None else lease.granted
        before = 0 if lease is None else used[who]
        used[who] = min(mine, before + use)
        report = ask(used[who], 0, mine if not close else used[who], 0 if close else want, want // 2, close=close)
        standing, leases[who], _ = renew(standing, lease, report, 1)
        if leases[who] is None:
            used[who] = 0
        open_now = sum(one.granted - one.settled for one in leases.values() if one is not None)
        assert standing.held == open_now
        assert standing.settled + standing.held <= 1000
