"""One suite for whoever keeps the windows of limits: one worker's memory, SQLite, Postgres."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import select
from tests.conftest import Outage
from tests.schema import lay_schema

from headgate.core.clock import SystemClock
from headgate.core.errors import LimitExceeded, Unavailable
from headgate.core.rule import LimitRule
from headgate.pipeline.lease_meter import LeaseMeter
from headgate.pipeline.local_meter import LocalMeter
from headgate.stores.data import DataDir
from headgate.stores.leases.closing import close_dead
from headgate.stores.leases.desk import LeaseDesk
from headgate.stores.leases.sql import SqlLeases
from headgate.stores.schema import lease_grants, lease_holders, lease_windows

CALL: Any = None
"""Who reserves is of no account here."""


def dollars(amount: int, per: str = "month") -> LimitRule:
    return LimitRule("everything", "", "dollars", per, amount)


def all_of(amount: int) -> tuple[int, int, int, int]:
    return amount, amount, amount, amount


@pytest.fixture
async def worker(data: DataDir) -> AsyncIterator[Callable[..., LeaseMeter]]:
    """Makes workers that share the store."""
    meters: list[LeaseMeter] = []

    def make(**options: Any) -> LeaseMeter:
        holder = secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        desk = LeaseDesk(SqlLeases(data.url, holder, data.owner), loop, data.path, holder)
        meters.append(LeaseMeter(desk, SystemClock(), loop, **options))
        return meters[-1]

    yield make
    for meter in meters:
        meter.close()


def windows(data: DataDir) -> list[Any]:
    engine = data.open_engine()
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(lease_windows)).all())
    finally:
        engine.dispose()


@pytest.fixture(params=["local", "sqlite", "postgres"])
async def meter(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Any]:
    """Every meter there is."""
    if request.param == "local":
        yield LocalMeter(SystemClock())
        return
    url = request.getfixturevalue("migrated_url") if request.param == "postgres" else None
    data = DataDir(lay_schema(tmp_path / "data"), url=url)
    loop = asyncio.get_running_loop()
    made = LeaseMeter(LeaseDesk(SqlLeases(data.url, "h", data.owner), loop, data.path, "h"), SystemClock(), loop)
    yield made
    made.close()


async def test_reserving_and_settling(meter: Any) -> None:
    """What does not fit is refused, what is settled below its reservation or released is there again."""
    window = meter.open(dollars(100), "")
    first = await meter.reserve([window], all_of(60), CALL)
    with pytest.raises(LimitExceeded, match="room for this call"):
        await meter.reserve([window], all_of(101), CALL)
    first.settle(all_of(10))
    second = await meter.reserve([window], all_of(90), CALL)
    second.release()
    third = await meter.reserve([window], all_of(90), CALL)
    third.settle(all_of(90))
    with pytest.raises(LimitExceeded):
        await meter.reserve([window], all_of(1), CALL)


async def test_an_end_counts_once(meter: Any) -> None:
    """What comes after a reservation's first end does nothing."""
    window = meter.open(dollars(100), "")
    hold = await meter.reserve([window], all_of(100), CALL)
    hold.settle(all_of(40))
    hold.release()
    hold.settle(all_of(1))
    rest = await meter.reserve([window], all_of(60), CALL)
    rest.settle(all_of(60))
    with pytest.raises(LimitExceeded):
        await meter.reserve([window], all_of(1), CALL)


async def test_all_or_nothing(meter: Any) -> None:
    """What does not fit in one window takes nothing from another."""
    wide, narrow = meter.open(dollars(100), ""), meter.open(LimitRule("key", "", "dollars", "month", 10), "k")
    with pytest.raises(LimitExceeded, match="every key"):
        await meter.reserve([wide, narrow], all_of(50), CALL)
    (await meter.reserve([wide], all_of(100), CALL)).release()


async def test_members_count_apart(meter: Any) -> None:
    """Each member of a scope has a window of its own, whatever its name."""
    rule = LimitRule("user", "", "requests", "month", 2)
    for name in ("alice", "bob", "zoë \U0001f600", "a'; DROP TABLE lease_windows; --"):
        window = meter.open(rule, name)
        for _ in range(2):
            (await meter.reserve([window], all_of(1), CALL)).settle(all_of(1))
        with pytest.raises(LimitExceeded):
            await meter.reserve([window], all_of(1), CALL)


async def test_places_come_back(meter: Any) -> None:
    """Concurrent calls take a place and give it back."""
    window = meter.open(LimitRule("everything", "", "concurrency", "", 2), "")
    one = await meter.reserve([window], all_of(1), CALL)
    two = await meter.reserve([window], all_of(1), CALL)
    with pytest.raises(LimitExceeded):
        await meter.reserve([window], all_of(1), CALL)
    one.release()
    three = await meter.reserve([window], all_of(1), CALL)
    two.release()
    three.release()


async def test_a_settlement_above_its_reservation_is_told_as_it_is(meter: Any) -> None:
    """The window counts what was used, even beyond the limit; nobody gets anything then."""
    window = meter.open(dollars(100), "")
    (await meter.reserve([window], all_of(100), CALL)).settle(all_of(130))
    assert window.left == 0
    with pytest.raises(LimitExceeded):
        await meter.reserve([window], all_of(1), CALL)


async def test_two_workers_share_one_limit_to_the_last(worker: Callable[..., LeaseMeter], data: DataDir) -> None:
    """However they take turns, both together use all of it and not one nano-dollar more."""
    used = 0

    async def spend(meter: LeaseMeter) -> None:
        nonlocal used
        window = meter.open(dollars(1000), "")
        while True:
            try:
                hold = await meter.reserve([window], all_of(7), CALL)
            except LimitExceeded:
                return
            await asyncio.sleep(0.001)
            hold.settle(all_of(5))
            used += 5

    one, two = worker(), worker()
    await asyncio.gather(*(spend(meter) for meter in (one, two) for _ in range(8)))
    assert 990 <= used <= 1000
    one.close()
    two.close()
    (row,) = windows(data)
    assert (row.settled, row.held, row.presumed) == (used, 0, 0)


async def test_what_is_idle_goes_to_whoever_lacks_it(worker: Callable[..., LeaseMeter]) -> None:
    """A worker that holds much and uses nothing gives it back, and no call is refused for it."""
    idle, busy = worker(), worker()
    hold = await idle.reserve([idle.open(dollars(100), "")], all_of(2), CALL)
    hold.settle(all_of(2))
    await busy.reserve([busy.open(dollars(100), "")], all_of(98), CALL)


def test_a_killed_worker_frees_nothing_that_it_may_have_used(data: DataDir) -> None:
    """What it settled counts, what it had reserved is presumed used, what was idle is free again."""
    script = f"""
        import asyncio, sys
        from pathlib import Path
        from headgate.core.clock import SystemClock
        from headgate.core.rule import LimitRule
        from headgate.pipeline.lease_meter import LeaseMeter
        from headgate.stores.leases.desk import LeaseDesk
        from headgate.stores.leases.sql import SqlLeases

        async def main():
            loop = asyncio.get_running_loop()
            leases = SqlLeases({data.url!r}, "victim", {data.owner!r})
            desk = LeaseDesk(leases, loop, Path({str(data.path)!r}), "victim")
            meter = LeaseMeter(desk, SystemClock(), loop)
            window = meter.open(LimitRule("everything", "", "dollars", "month", 1000), "")
            places = meter.open(LimitRule("everything", "", "concurrency", "", 5), "")
            (await meter.reserve([window], (30, 0, 0, 0), None)).settle((20, 0, 0, 0))
            hold = await meter.reserve([window], (50, 0, 0, 0), None)
            place = await meter.reserve([places], (1, 1, 1, 1), None)
            print("holding", flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "holding\n"
    engine = data.open_engine()
    try:
        assert close_dead(engine, data.path, data.owner) == 0, "it lives"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert close_dead(engine, data.path, data.owner) == 1
        assert close_dead(engine, data.path, data.owner) == 0
        with engine.connect() as connection:
            rows = {row.unit: row for row in connection.execute(select(lease_windows)).all()}
            assert connection.execute(select(lease_grants)).all() == []
            assert connection.execute(select(lease_holders)).all() == []
    finally:
        engine.dispose()
    assert (rows["dollars"].settled, rows["dollars"].held, rows["dollars"].presumed) == (70, 0, 50)
    assert (rows["concurrency"].settled, rows["concurrency"].held) == (0, 0)
    assert list((data.path / "leases").iterdir()) == []


async def test_a_store_that_is_away(worker: Callable[..., LeaseMeter], data: DataDir, outage: Outage) -> None:
    """Calls go on within what is leased, are refused beyond it, and go on once it is back; nothing counts twice."""
    meter = worker()
    window = meter.open(dollars(1000), "")
    (await meter.reserve([window], all_of(10), CALL)).settle(all_of(10))
    outage.begin()
    leased, code = 0, ""
    while not code:
        try:
            (await meter.reserve([window], all_of(10), CALL)).settle(all_of(10))
            leased += 1
        except Unavailable as error:
            code = error.code
    assert code == "limits_unavailable"
    assert 0 < leased <= 100
    outage.end()
    for _ in range(50):
        try:
            (await meter.reserve([window], all_of(10), CALL)).settle(all_of(10))
            break
        except Unavailable:
            await asyncio.sleep(0.1)
    meter.close()
    (row,) = windows(data)
    assert (row.settled, row.held) == (10 * (leased + 2), 0)


async def test_a_worker_that_was_written_off_begins_anew(worker: Callable[..., LeaseMeter], data: DataDir) -> None:
    """Its leases hold no more; what they counted for stays."""
    from headgate.stores.leases.closing import close_holder

    meter = worker()
    window = meter.open(dollars(1000), "")
    hold = await meter.reserve([window], all_of(10), CALL)
    engine = data.open_engine()
    with engine.begin() as connection:
        holder = connection.execute(select(lease_holders.c.id)).scalar_one()
        granted = connection.execute(select(lease_grants.c.granted)).scalar_one()
        assert close_holder(connection, holder, None) == granted
    engine.dispose()
    hold.settle(all_of(10))
    await asyncio.sleep(1.2)
    (await meter.reserve([window], all_of(1000 - granted), CALL)).settle(all_of(1))
    with pytest.raises(LimitExceeded):
        await meter.reserve([window], all_of(1000 - granted), CALL)
