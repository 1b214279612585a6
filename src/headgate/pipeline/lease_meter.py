"""LeaseMeter: limits that many workers share, decided here from what is leased to this one (DESIGN §6)."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Sequence

from headgate.core.call import Call
from headgate.core.clock import Clock
from headgate.core.errors import HeadgateError, Unavailable
from headgate.core.leases import Ask, Desk, Renewal, forked_away
from headgate.core.rule import ATTEMPT_UNITS, LimitRule
from headgate.pipeline.lease import Lease, LeaseWindow
from headgate.pipeline.local_meter import refusal
from headgate.pipeline.meter import Amounts

_log = logging.getLogger("headgate.limits")
EVERY_S = 1.0
"""How often leases are renewed, all in one."""
SPACING_S = 0.35
"""Between questions that can not wait for the next round; none for the first of a window, and near a limit."""
SPACED = 10.0
"""So many of such questions at once; after that half a one each second, that a worker's questions stay few."""
AGAIN_S = 0.1
"""Between questions near a limit."""
PATIENCE_S = 1.5
"""For so long a call waits for what others hold and may give back, before it is refused."""
LONGEST_S = 5.0
"""For so long at most, whatever the store says."""
EXPIRES_S = 10.0
"""After so long without an answer a lease is no longer sure to be ours."""
NEAR = 20
"""Less than this part of a limit is its end."""
NOTE_S = 0.05
"""How often settlements are noted whose Records are on disk by now."""
_MANY = 50_000


class LeaseHold:
    """A ``meter.Hold`` over leases."""

    __slots__ = ("_call", "_leases", "_meter")

    def __init__(self, meter: LeaseMeter, leases: Sequence[tuple[Lease, int, int]], call: Call | None) -> None:
        self._meter = meter
        self._leases = leases
        self._call = call

    def settle(self, amounts: Amounts) -> None:
        """See ``meter.Hold``."""
        leases, self._leases = self._leases, ()
        for lease, place, reserved in leases:
            lease.settle(reserved, amounts[place])
        if leases:
            self._meter.note(leases, amounts, self._call)
        if self._meter.waiting:
            self._meter.wake()

    def release(self) -> None:
        """See ``meter.Hold``."""
        self.settle((0, 0, 0, 0))


class LeaseMeter:
    """A ``meter.Meter`` for one event loop.

    Args:
        desk: deals with the store.
        clock: for intervals, and for the time of day until the store has told its own.
        loop: the one that everything here belongs to.
        closed: refuse what is limited once the store has been away for ``EXPIRES_S``, instead of going on within what
            is leased.

    Attributes:
        windows: by limit and member.
        waiting: calls that wait for an answer.
        failing: what the store's last failure was; None while it answers.
    """

    def __init__(self, desk: Desk, clock: Clock, loop: asyncio.AbstractEventLoop, *, closed: bool = False) -> None:
        self.windows: dict[tuple[str, ...], LeaseWindow] = {}
        self.waiting: list[asyncio.Future[None]] = []
        self.failing: HeadgateError | None = None
        self.closed = closed
        self._desk = desk
        self._loop = loop
        self._monotonic = clock.monotonic
        self._base = clock.time_ns() - int(clock.monotonic() * 1e9)
        self._leases: dict[Lease, LeaseWindow] = {}
        self._asked: list[tuple[Lease, LeaseWindow, Ask]] = []
        self._busy = self._shut = self._ended = self._woken = False
        self._hurry = self._urgent = False
        self._spaced = SPACED
        self._sent_at = self._valid_at = clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._unnoted: list[tuple[Sequence[tuple[Lease, int, int]], Amounts, Call]] = []
        self._noting: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._forked = False
        _meters.add(self)

    def now_ns(self) -> int:
        """The store's clock, in ns since 1970: this machine's can be set, and may be wrong."""
        return self._base + int(self._monotonic() * 1e9)

    def open(self, rule: LimitRule, member: str) -> LeaseWindow:
        """See ``meter.Meter``."""
        key = (rule.scope, member, rule.unit, rule.per, rule.priority)
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = LeaseWindow(rule, member, self.now_ns, self._began)
        elif found.rule != rule:
            found.lease.free += rule.amount - found.rule.amount
            found.lease.refused_until = 0.0
            found.lease.give_back(found.lease.idle)
            found.rule = rule
        return found

    def try_reserve(
        self, windows: Sequence[LeaseWindow], amounts: Amounts, call: Call, position: int = -1
    ) -> LeaseHold | None:
        """See ``meter.Meter``."""
        if self._shut:
            return None
        now = self._base + int(self._monotonic() * 1e9)
        leases: list[tuple[Lease, int, int]] = []
        for window in windows:
            if now >= window.end:
                window.roll(now)
            place = window.place
            amount = amounts[place]
            lease = window.lease
            if lease.idle < amount:
                return None
            leases.append((lease, place, amount))
        for lease, _, amount in leases:
            if lease.slot < 0:
                lease.place(*self._desk.take())  # something that costs nothing
            lease.reserve(amount)
        return LeaseHold(self, leases, call if position >= 0 else None)

    async def reserve(
        self, windows: Sequence[LeaseWindow], amounts: Amounts, call: Call, position: int = -1
    ) -> LeaseHold:
        """See ``meter.Meter``."""
        began = self._monotonic()
        while True:
            hold = self.try_reserve(windows, amounts, call, position)
            if hold is not None:
                return hold
            waited = self._monotonic() - began
            if self._ended or self._shut or waited > (LONGEST_S if self.failing is None else EVERY_S):
                raise self._away()
            lacking = [(window, amounts[window.place]) for window in windows if window.lacks(amounts)]
            for window, amount in lacking:
                self._check_hope(window, amount, began)
            await self._wait(lacking)

    def wake(self) -> None:
        """Lets waiting calls try again, once in a tick."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._wake)

    def note(self, leases: Sequence[tuple[Lease, int, int]], amounts: Amounts, call: Call | None) -> None:
        """Brings the meter file up to date: at once, or for what ``call``'s Record tells once that is on disk."""
        if self._forked:
            return  # what it would write to is the parent's
        if call is None:
            for lease, place, reserved in leases:
                lease.note(reserved, amounts[place])
            return
        self._unnoted.append((leases, amounts, call))
        if self._noting is None:
            self._noting = self._loop.call_later(NOTE_S, self._note_written)

    def _note_written(self) -> None:
        self._noting = None
        waiting = []
        for item in self._unnoted:
            leases, amounts, call = item
            if self._ended or (call.record.outcome and (call.settle is None or call.settle.done)):
                self.note(leases, amounts, None)
            else:
                waiting.append(item)
        self._unnoted = waiting
        if waiting:
            self._noting = self._loop.call_later(NOTE_S, self._note_written)

    def close(self) -> None:
        """Gives everything back. What is still reserved then counts as used. Idempotent."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._noting is not None:
            self._noting.cancel()
        self._note_written()
        self._wake()
        asks = []
        for lease, window in self._leases.items():
            if lease.slot >= 0:
                used = lease.settled + lease.reserved
                asks.append(Ask(lease.window, lease.id, lease.slot, window.rule.amount, used, 0, used, close=True))
        self._desk.close(asks)

    def _check_hope(self, window: LeaseWindow, amount: int, began: float) -> None:
        """Raises LimitExceeded where waiting would not help, or has not."""
        lease, rule, now = window.lease, window.rule, self._monotonic()
        if amount > rule.amount - max(lease.known, lease.settled):
            raise refusal(rule, window.reset, amount)
        if now < lease.refused_until and amount >= lease.refused_need:
            raise refusal(rule, window.reset, amount)
        if not lease.denied:
            return
        # Calls under way may need less than they have reserved, and others may hold something idle.
        patience = PATIENCE_S
        if rule.unit not in ATTEMPT_UNITS:
            all_ours = lease.granted - lease.settled + lease.free >= rule.amount - lease.known
            patience = 0.0 if all_ours else PATIENCE_S if rule.per else PATIENCE_S / 4
        if now - began >= patience:
            lease.refused_until, lease.refused_need = now + EVERY_S / 2, amount
            raise refusal(rule, window.reset, amount)

    async def _wait(self, lacking: Sequence[tuple[LeaseWindow, int]]) -> None:
        """Asks for what lacks, and waits until something has changed."""
        future: asyncio.Future[None] = self._loop.create_future()
        needs = [(window.lease, amount) for window, amount in lacking]
        for lease, amount in needs:
            lease.needs.append(amount)
            self._urgent = (
                self._urgent or lease.slot < 0 or lease.denied or lease.free * NEAR < lease.known + lease.free
            )
        self.waiting.append(future)
        self._hurry = True
        self._plan()
        timer = self._loop.call_later(AGAIN_S * 2, _finish, future)
        try:
            await future
        finally:
            timer.cancel()
            if future in self.waiting:
                self.waiting.remove(future)
            for lease, amount in needs:
                lease.needs.remove(amount)

    def _wake(self) -> None:
        self._woken = False
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            _finish(future)

    def _began(self, window: LeaseWindow, lease: Lease) -> None:
        self._leases[lease] = window
        self._plan()

    def _plan(self) -> None:
        """Sees that the next round comes in time."""
        if self._busy or self._ended:
            return
        due = self._sent_at + EVERY_S
        if self._urgent:
            due = self._sent_at + AGAIN_S / 4
        elif self._hurry and self._spaced >= 1:
            due = self._sent_at + SPACING_S
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(0.0, due - self._monotonic()), self._round)

    def _round(self) -> None:
        """Reports and asks."""
        self._timer = None
        now = self._monotonic()
        seconds, self._sent_at = now - self._sent_at, now
        self._spaced = min(SPACED, self._spaced + seconds / 2)
        if self._hurry and not self._urgent:
            self._spaced = max(0.0, self._spaced - 1)
        self._hurry = self._urgent = False
        self._shut = self.closed and now - self._valid_at > EXPIRES_S
        self._busy = True  # nothing is planned meanwhile
        asked = self._collect(seconds)
        if not asked and not any(lease.slot >= 0 for lease in self._leases):
            self._busy = False
            self._forget()
            return  # nothing is leased: the next call begins anew
        self._asked = asked
        self._desk.renew([ask for _, _, ask in asked], self._answered)

    def _collect(self, seconds: float) -> list[tuple[Lease, LeaseWindow, Ask]]:
        """Returns what there is to report and to ask, of all windows: one round for all, however many they are."""
        stored = self.now_ns()
        for lease, window in list(self._leases.items()):
            if lease is window.lease and lease.slot >= 0 and window.end <= stored:
                window.roll(stored)  # whoever called lately is expected in the next one, too
        asked: list[tuple[Lease, LeaseWindow, Ask]] = []
        for lease, window in list(self._leases.items()):
            over = lease is not window.lease
            if lease.slot < 0:
                if over:
                    del self._leases[lease]
                if over or not (lease.needs or lease.ahead):
                    continue
                try:
                    lease.place(*self._desk.take())
                except HeadgateError as error:
                    self._failed(error)
                    break
            ask = lease.report(window.rule.amount, seconds, over=over)
            if ask is None:
                continue
            asked.append((lease, window, ask))
            if ask.close and lease is window.lease:
                window.roll(stored, lease if window.covers(stored) else None)
        return asked

    def _answered(self, answer: Renewal | HeadgateError) -> None:
        self._busy = False
        asked, self._asked = self._asked, []
        if self._ended:
            return
        if isinstance(answer, HeadgateError):
            self._failed(answer)
        else:
            self._heard(asked, answer)
        self._wake()
        self._plan()

    def _failed(self, error: HeadgateError) -> None:
        if self.failing is None:
            how = "what is limited will be refused" if self.closed else "calls go on within what is leased"
            _log.error("the store of the limits is away (%s); %s", error.message, how)
        self.failing = error

    def _heard(self, asked: Sequence[tuple[Lease, LeaseWindow, Ask]], renewal: Renewal) -> None:
        if self.failing is not None:
            _log.warning("the store of the limits answers again")
        self.failing, self._shut = None, False
        self._valid_at = self._sent_at
        if renewal.lost:
            self._start_over()
            return
        self._base = renewal.now_ns - int((self._sent_at + self._monotonic()) / 2 * 1e9)
        short = set(renewal.short)
        for (lease, window, ask), told in zip(asked, renewal.told, strict=True):
            if ask.close:
                self._leases.pop(lease, None)
                self._desk.give_back(lease.slot)
                continue
            lease.hear(told)
            if window.lease is lease and not window.covers(self.now_ns()):
                window.roll(self.now_ns())
        for lease in self._leases:
            lease.short = lease.id in short
            if lease.short and lease.idle > 0 and not lease.needs:
                self._hurry = self._urgent = True  # somebody waits for it

    def _start_over(self) -> None:
        """The store knows nothing of this worker's leases: none of them holds any more."""
        _log.error("this worker's leases were written off, or the database is another one: limits are asked for anew")
        stored = self.now_ns()
        for lease, window in list(self._leases.items()):
            if lease.slot < 0:
                continue
            # Its place in the meter file stays taken: calls under way still write to it.
            del self._leases[lease]
            lease.idle = -lease.granted
            if window.lease is lease:
                window.roll(stored)

    def _after_fork(self) -> None:
        """In a child: leases, and what is counted under them, are the parent's alone; nothing is reserved here."""
        self._forked = self._shut = self._ended = True

    def _away(self) -> Unavailable:
        if self._forked:
            return forked_away()
        return Unavailable(
            "The store of the limits does not answer, and what is leased does not cover this call.",
            code="limits_unavailable",
            retry_after=2.0,
        )

    def _forget(self) -> None:
        """Members are what callers assert: those that nobody uses are not kept for ever."""
        if len(self.windows) > _MANY:
            for key, window in list(self.windows.items()):
                if window.lease.slot < 0:
                    del self.windows[key]
                    self._leases.pop(window.lease, None)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_meters: weakref.WeakSet[LeaseMeter] = weakref.WeakSet()


def _forked() -> None:
    for meter in list(_meters):
        meter._after_fork()


os.register_at_fork(after_in_child=_forked)
