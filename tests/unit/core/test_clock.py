"""Ids and clocks."""

from __future__ import annotations

from headgate.core.clock import FixedClock, Ids


def test_ids_are_unique_and_sort_by_time() -> None:
    """Ten thousand ids differ; a later millisecond sorts after an earlier one; two processes never meet."""
    clock = FixedClock()
    ids, other = Ids(clock), Ids(clock)
    made = [ids.new() for _ in range(5000)] + [other.new() for _ in range(5000)]
    assert len(set(made)) == 10_000
    clock.advance(0.001)
    assert ids.new() > max(made)
    assert all(len(one) == 30 and one.startswith("hg_") for one in made)
