"""How often a worker asks the store about limits: it must not grow with the number of keys and users that have some."""

from __future__ import annotations

import asyncio
import pathlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from tests.contract.by_hand import HandLoop, Mailbox, Store

from headgate.core.clock import FixedClock
from headgate.core.leases import Ask, WindowKey
from headgate.core.rule import LimitRule
from headgate.pipeline.lease_meter import LeaseMeter
from headgate.stores.data import DataDir
from headgate.stores.leases import sql
from headgate.stores.leases.sql import SqlLeases

STEP = 0.05
ANYBODY: Any = None
BUDGET = LimitRule("user", "", "dollars", "month", 10**10)
RATE = LimitRule("user", "", "requests", "minute", 60)


class Town:
    """One worker with many callers, who each call again after so many seconds; a store that answers within a step.

    Every call needs ``worst`` of its caller's budget, costs ``cost`` of it, and counts against their rate.
    """

    def __init__(self, folder: pathlib.Path, callers: int, every: float) -> None:
        self.clock = FixedClock()
        self.loop = HandLoop(self.clock)
        self.store = Store(self.clock)
        self.desk = Mailbox(folder, "town")
        self.meter = LeaseMeter(self.desk, self.clock, self.loop)  # type: ignore[arg-type]
        self.callers, self.every = callers, every
        self.budget, self.worst, self.cost = BUDGET, 10**7, 10**5
        self.waiting: list[tuple[Coroutine[Any, None, None], Any]] = []
        self.called = self.done = 0

    def live(self, seconds: float) -> int:
        """Returns how often the store was asked meanwhile."""
        rounds = 0
        for _ in range(round(seconds / STEP)):
            letters, self.desk.letters = self.desk.letters, []
            for asks, done in letters:
                rounds += 1
                done(self.store.renew("town", asks))
            self.clock.advance(STEP)
            self.loop.turn()
            for who in range(self.callers):
                if (self.clock.monotonic() / self.every + who / self.callers) % 1.0 < STEP / self.every:
                    self.called += 1
                    self.waiting.append((self._call(f"user {who}"), None))
            self._go_on()
        return rounds

    async def _call(self, who: str) -> None:
        place = await self.meter.reserve([self.meter.open(RATE, who)], (1, 1, 1, 1), ANYBODY)
        place.settle((1, 1, 1, 1))
        money = await self.meter.reserve([self.meter.open(self.budget, who)], (self.worst, 0, 0, 0), ANYBODY)
        money.settle((self.cost, 0, 0, 0))
        self.done += 1

    def _go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call, future in waiting:
            if future is not None and not future.done():
                self.waiting.append((call, future))
                continue
            try:
                self.waiting.append((call, call.send(None)))
            except StopIteration:
                continue

    def end(self) -> None:
        """Nobody calls any more."""
        for call, _ in self.waiting:
            call.close()
        self.desk.file.close(unlink=True)
        self.loop.close()


@pytest.fixture
def town(tmp_path: pathlib.Path) -> Iterator[Callable[[int, float], Town]]:
    """Makes towns."""
    made: list[Town] = []

    def make(callers: int, every: float) -> Town:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Town(folder, callers, every))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize("every", [2.0, 7.0, 25.0])
def test_questions_do_not_grow_with_callers(town: Callable[[int, float], Town], every: float) -> None:
    """Once everybody has called, one question a second serves them all, also where a minute's window ends."""
    asked = {}
    for callers in (5, 300):
        one = town(callers, every)
        one.live(every + 5)
        asked[callers] = one.live(75)
        assert one.called - one.done < callers / every * 0.5 + 1, "calls wait"
    assert asked[300] <= asked[5] + 4
    assert asked[300] <= 75 * 1.5


def test_callers_who_lack_something_share_few_questions(town: Callable[[int, float], Town]) -> None:
    """Where no slice covers a call, so that every call has to wait for one: three questions in two seconds at most."""
    crowd = town(100, 2.5)
    crowd.budget, crowd.worst, crowd.cost = LimitRule("user", "", "dollars", "month", 10**9), 2 * 10**8, 10
    crowd.live(20)
    assert crowd.live(60) <= 60 * 1.5 + 1
    assert crowd.called - crowd.done <= 100, "nobody waits for more than a second or two"


def test_what_is_kept_for_callers_goes_back(town: Callable[[int, float], Town]) -> None:
    """Of a budget something stays at hand for five minutes after a call, of places for concurrent calls nothing."""
    one = town(0, 1.0)
    places = LimitRule("user", "", "concurrency", "", 50)

    async def call() -> None:
        (await one.meter.reserve([one.meter.open(BUDGET, "ann")], (10**7, 0, 0, 0), ANYBODY)).settle((10, 0, 0, 0))
        (await one.meter.reserve([one.meter.open(places, "ann")], (1, 1, 1, 1), ANYBODY)).release()

    def held() -> dict[str, int]:
        return {window.rule.unit: one.store.standings[window.lease.id].held for window in one.meter.windows.values()}

    one.waiting.append((call(), None))
    one.live(5)
    assert held()["dollars"] >= 10**7
    one.live(25)
    assert held()["dollars"] >= 10**7
    assert held()["concurrency"] == 0
    one.live(300)
    assert held() == {"dollars": 0, "concurrency": 0}


def test_an_answer_is_waited_for_before_the_next_question(town: Callable[[int, float], Town]) -> None:
    """Answers belong to their questions, however late a store answers, whatever begins or ends meanwhile."""
    one = town(3, 1.0)
    one.live(10)
    for _ in range(25):
        for _ in range(round(2.5 / STEP)):
            one.clock.advance(STEP)
            one.loop.turn()
            assert len(one.desk.letters) <= 1
        one.live(STEP)
    one.live(5)
    assert one.done == one.called


async def test_however_many_windows_one_transaction_renews_them(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two round trips for one window and for a thousand."""
    trips: Counter[str] = Counter()
    opened = sql.open_session

    def counted(url: str) -> sql.Session:
        session = opened(url)
        for name in ("read", "write"):
            monkeypatch.setattr(session, name, _counted(getattr(session, name), name, trips))
        return session

    monkeypatch.setattr(sql, "open_session", counted)
    leases = SqlLeases(data.url, "worker", data.owner)
    found = []
    for many in (1, 1000):
        for used in (0, 1):
            trips.clear()
            renewal = await asyncio.to_thread(leases.renew, _asks(many, used))
            assert [told.given for told in renewal.told] == [10] * many
            assert [told.settled for told in renewal.told] == [used] * many
            found.append(dict(trips))
        leases.close(_asks(many, 1))
        leases = SqlLeases(data.url, f"worker {many}", data.owner)
    assert found == [{"read": 1, "write": 1}] * 4


def _counted(act: Callable[[Any], Any], name: str, trips: Counter[str]) -> Callable[[Any], Any]:
    def counting(what: Any) -> Any:
        trips[name] += 1
        return act(what)

    return counting


def _asks(many: int, used: int) -> Sequence[Ask]:
    keys = [WindowKey("user", f"{many} {n}", "requests", "month", "", 0, 0) for n in range(many)]
    return [Ask(key, key.id, slot, 1000, used, 0, 1000, want=10, least=1) for slot, key in enumerate(keys)]
