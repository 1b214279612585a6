"""LeaseWindow and its Lease: one limit's window as this worker sees it, and its part of it."""

from __future__ import annotations

from collections.abc import Callable

from headgate.core.leases import Ask, Cells, Told, WindowKey
from headgate.core.rule import LimitRule
from headgate.pipeline.local_meter import PLACES, window_end, window_start
from headgate.pipeline.meter import Amounts

AHEAD_S = 1.5
"""For so many seconds' use, at the present rate, a worker holds what it has not used yet, near the end of a limit."""
PLENTY_S = 240.0
"""The same where there is plenty: half of it is at hand, and a store that is away for a minute goes unnoticed."""
PLENTY_PART = 8
"""But no more than this part of what is free."""
SPARE = 4
"""So many of the largest calls lately a worker holds at hand, where there is plenty, for as long as somebody calls."""
WARM_S = 300.0
"""For so long after the last call somebody is expected to call again: they are not asked for anew each time."""
COLD_S = 10.0
"""After so long without a call a lease is over in which nothing is held."""
GENEROUS = 16
"""So many calls' needs a worker asks for at once, when one has to wait; what stays idle goes back within seconds."""
FOREVER = 1 << 62
Began = Callable[["LeaseWindow", "Lease"], None]


class Lease:
    """One worker's part of one window, from its first call in it to the last report.

    Amounts are in the unit's whole numbers, totals since the lease began.

    Attributes:
        window: the window's key, and ``id`` its id.
        granted: how much of the limit is this worker's.
        settled, reserved: used for good, and reserved by calls under way.
        noted, held: the same as in the meter file, where a reservation stays until its call's Record is on disk: what
            no ledger may ever hear of is presumed used.
        idle: the rest: what calls can have without asking.
        needs: what waiting calls lack; ``denied``: whether the store had not even the least of that when last asked.
        most: the largest that a call lacked; ``quiet``: for how many seconds nobody has used it.
        short: whether somebody lacks what is idle here.
        free: what nobody had leased as of the last answer; ``known`` what all had used for good.
        slot: its number in the meter file, -1 before its first question.
    """

    __slots__ = (
        "_last_sum",
        "_reported",
        "at",
        "cells",
        "closing",
        "denied",
        "free",
        "granted",
        "held",
        "id",
        "idle",
        "known",
        "most",
        "needs",
        "noted",
        "quiet",
        "rate",
        "refused_need",
        "refused_until",
        "reserved",
        "settled",
        "short",
        "slot",
        "window",
    )

    cells: Cells

    def __init__(self, window: WindowKey, limit: int) -> None:
        self.window = window
        self.id = window.id
        self.granted = self.settled = self.reserved = self.idle = 0
        self.noted = self.held = 0
        self.free = limit
        self.known = 0
        self.slot = -1
        self.at = 0
        self.rate = 0.0
        self.needs: list[int] = []
        self.short = self.denied = False
        self.closing = False
        self.quiet = 0.0
        self.most = 0
        self.refused_until = 0.0
        self.refused_need = 0
        self._last_sum = 0
        self._reported = (0, 0, 0)

    def place(self, slot: int, cells: Cells, at: int) -> None:
        """Gets its place in the meter file."""
        self.slot, self.cells, self.at = slot, cells, at

    def reserve(self, amount: int) -> None:
        """Takes from what is idle. Comes before anything is sent: a kill from here on leaves it behind."""
        self.idle -= amount
        self.reserved += amount
        self.held += amount
        self.cells[self.at + 1] = self.held

    def settle(self, reserved: int, used: int) -> None:
        """Ends a reservation, for decisions; ``note`` has to follow."""
        self.settled += used
        self.reserved -= reserved
        self.idle += reserved - used

    def note(self, reserved: int, used: int) -> None:
        """Ends a reservation in the meter file: first what was used; killed in between, it counts rather too much."""
        if self.closing:
            return  # the store knows all that was settled, and the place may be another's
        if used:
            self.noted += used
            self.cells[self.at] = self.noted
        self.held -= reserved
        self.cells[self.at + 1] = self.held

    def report(self, limit: int, seconds: float, *, over: bool) -> Ask | None:
        """Returns what there is to say and to ask; None where that is nothing.

        Args:
            limit: of all workers together.
            seconds: how long ago the last report was.
            over: whether the window is over: no call will begin in it.
        """
        if self.closing:
            return self._ask(limit, close=True)
        total = self.settled + self.reserved
        used, self._last_sum = max(0, total - self._last_sum), total
        self.rate = max(used / max(seconds, 1.0), self.rate * 0.5)
        if self.rate < 0.01:
            self.rate = 0.0
        if self.idle < 0:  # settled above its reservation: the store hears of it, and the lease is that much larger
            self.granted -= self.idle
            self.idle = 0
        busy = used or self.needs or self.reserved
        self.quiet = 0.0 if busy else self.quiet + seconds
        if self.needs:
            self.most = max(self.most, *self.needs)
        needs, want, least = sum(self.needs), 0, 0
        ahead = 0 if over or self.short else self.ahead
        if over or not (ahead or needs):
            self.give_back(self.idle)
        elif needs:
            want = (needs if self.short else needs * GENEROUS) - self.idle + ahead
            least = max(1, min(self.needs) - self.idle)
        elif self.idle < ahead // 2:
            want, least = ahead - self.idle, 1
        elif self.idle > 2 * ahead:
            self.give_back(self.idle - ahead)
        said = (self.settled, self.reserved, self.granted)
        done = not self.held and not want and (over or self.quiet >= COLD_S) and self.idle <= 0
        if said == self._reported and not want and not done:
            return None
        self._reported = said
        self.closing = done
        return self._ask(limit, want, least, close=done)

    def hear(self, told: Told) -> None:
        """Takes the answer to a report."""
        self.denied = bool(self.needs) and not told.given
        self.granted += told.given
        self.idle += told.given
        self.free, self.known = told.free, told.settled
        if told.given:
            self._reported = (-1, -1, -1)

    def _ask(self, limit: int, want: int = 0, least: int = 0, *, close: bool = False) -> Ask:
        return Ask(
            self.window, self.id, self.slot, limit, self.settled, self.reserved, self.granted, want, least, close
        )

    @property
    def ahead(self) -> int:
        """How much to hold for calls to come; 0 where none is expected."""
        # Places of concurrent calls are not kept idle: who lacks one waits for less than a renewal takes.
        spare = self.most * SPARE if self.quiet < WARM_S and self.window.per else 0
        return int(max(self.rate * AHEAD_S, min(max(self.rate * PLENTY_S, spare), self.free // PLENTY_PART)))

    def follow(self, before: Lease) -> None:
        """Expects what the lease of the calendar's window before this one expected."""
        self.rate, self.most, self.quiet = before.rate, before.most, before.quiet

    def give_back(self, amount: int) -> None:
        """Before the store hears of it: what is given back can not be used meanwhile, whatever comes of the report."""
        if amount > 0:
            self.idle -= amount
            self.granted -= amount


class LeaseWindow:
    """A ``meter.Window`` over a lease; another one begins with each calendar window.

    Attributes:
        rule: the limit.
        member: whose it is.
        place: which of the amounts it counts.
        lease: the current lease.
        end: when its window ends, in ns since 1970 by the store's clock.
    """

    __slots__ = ("_began", "_now", "end", "lease", "member", "place", "rule")

    def __init__(
        self, rule: LimitRule, member: str, now: Callable[[], int], began: Callable[[LeaseWindow, Lease], None]
    ) -> None:
        """Args:
        rule, member: what it is of.
        now: the store's clock, in ns since 1970.
        began: is told of each new lease of it.
        """
        self.rule = rule
        self.member = member
        self.place = PLACES[rule.unit]
        self._now = now
        self._began = began
        self.lease = self._begin(now())

    @property
    def left(self) -> int:
        """See ``meter.Window``."""
        lease = self.lease
        return (lease.free if lease.free > 0 else 0) + (lease.idle if lease.idle > 0 else 0)

    @property
    def reset(self) -> float:
        """See ``meter.Window``."""
        return max(0.0, (self.end - self._now()) / 1e9) if self.rule.per else 0.0

    def roll(self, now: int, before: Lease | None = None) -> None:
        """Begins a lease in the window of this moment; after ``before``, which was in the same one."""
        last = self.lease
        self.lease = lease = self._begin(now)
        if before is not None:
            lease.free, lease.known = before.free, before.known
        else:
            lease.follow(last)

    def _begin(self, now: int) -> Lease:
        rule = self.rule
        end = window_end(rule.per, now) if rule.per else 0
        start = window_start(rule.per, now) if rule.per else 0
        key = WindowKey(rule.scope, self.member, rule.unit, rule.per, rule.priority, start, end)
        self.end = end or FOREVER
        lease = Lease(key, rule.amount)
        self._began(self, lease)
        return lease

    def covers(self, now: int) -> bool:
        """Whether the moment lies in its window."""
        return self.lease.window.start_ns <= now < self.end

    def lacks(self, amounts: Amounts) -> int:
        """Returns how much of what is asked its lease can not give now."""
        return max(0, amounts[self.place] - max(0, self.lease.idle))
