"""Sums from rollups: of any stretch and group, what adding up the calls themselves gives."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from headgate.stores import spending, stats, sums
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.query import Filters
from headgate.stores.rollups import DAY_NS, HOUR_NS, MINUTE_NS
from headgate.stores.spending import Spend, SpendStore
from headgate.stores.stats import StatsStore
from headgate.stores.view import GROUPS

from .conftest import MakeRecord
from .test_stats import BEGIN, END, store, traffic

ASKED = ("key=key_1", "user=ann", "team=red", "feature=chat", "prompt=greet@1", "model=fast", "outcome=failed")
BY = [*((name,) for name in spending.GROUPS), (), ("day", "user"), ("feature", "day"), ("model", "deployment")]


@pytest.fixture
def ingest(data: DataDir, make_record: MakeRecord) -> Iterator[Ingest]:
    """A store of calls whose first day is folded, with some that came late for it."""
    engine = data.open_engine()
    made = Ingest(engine, data.owner)
    records = traffic(make_record, 200)
    store(made, records[:150])
    assert made.fold()
    store(made, records[150:])
    yield made
    engine.dispose()


def drawn(draw: random.Random) -> Filters:
    """A stretch that begins and ends anywhere, or at whole minutes, hours, days; sometimes a filter."""
    ends = [draw.randrange(BEGIN - DAY_NS, END + DAY_NS) for _ in range(2)]
    first, last = sorted(one // unit * unit for one in ends for unit in [draw.choice((1, MINUTE_NS, HOUR_NS, DAY_NS))])
    asked = dict([draw.choice(ASKED).split("=")]) if draw.random() < 0.4 else {}
    since, until = draw.choice([(None, last), (first, None), (first, last), (first, last)])
    return Filters(since_ns=since, until_ns=until, **asked)  # type: ignore[arg-type]


def test_spend_from_rollups_is_spend_of_the_calls(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For random stretches, groups and filters, to the nano-dollar."""
    draw = random.Random(11)
    spends = SpendStore(ingest.engine)
    answered = 0
    for _ in range(60):
        filters, by = drawn(draw), draw.choice(BY)
        rolled = spends.by(by, filters), spends.unpriced(filters)
        with monkeypatch.context() as patch:
            patch.setattr(spending, "plan_of", lambda *_: None)
            counted = [row for row in spends.by(by, filters) if row != Spend(row.group)]
            unpriced = spends.unpriced(filters)
        assert [row for row in rolled[0] if row != Spend(row.group)] == counted, (by, filters)
        assert rolled[1] == unpriced, filters
        answered += len(counted)
    assert answered > 60


def test_what_comes_first_and_what_moved(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order, sums and sketches are those of the calls, whichever of them come first."""
    draw = random.Random(12)
    asked = StatsStore(ingest.engine)
    for _ in range(25):
        filters, group, order = drawn(draw), draw.choice(GROUPS), draw.choice(stats.ORDERS)
        if filters.since_ns is None:
            continue

        def answers(filters: Filters = filters, group: str = group, order: str = order) -> object:
            top = asked.top(group, filters, 2, order)
            movers = asked.movers(group, filters, 3, order)
            moved = asked.moved(group, filters, 3, order)
            leaders = asked.leaders(group, filters, 2, order)
            assert [(one.value, one.calls, one.cost) for one in leaders] == [
                (one.value, one.figures.calls, one.figures.cost) for one in top
            ]
            plain = asked.top(group, filters, 2, order, plain=True)
            assert [(one.value, one.figures.sums) for one in plain] == [(one.value, one.figures.sums) for one in top]
            assert asked.counts(filters).sums == asked.total(filters).sums
            assert [(one.value, one.now, one.before) for one in moved] == [
                (one.value, getattr(one.now, order), getattr(one.before, order)) for one in movers
            ]
            return (
                [(one.value, one.figures.sums, one.figures.named) for one in top],
                [(one.value, one.now.sums, one.before.sums) for one in movers],
            )

        rolled = answers()
        with monkeypatch.context() as patch:
            patch.setattr(stats, "plan_of", lambda *_: None)
            assert answers() == rolled, (group, order, filters)


def test_sums_know_what_figures_know() -> None:
    """Every sum that can be asked for is a column of the rollups."""
    from headgate.stores.figures import COUNTS

    assert set(sums.SUMMED) <= set(COUNTS)
    assert set(stats.ORDERS) <= set(sums.SUMMED)
