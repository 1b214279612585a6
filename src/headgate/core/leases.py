"""Leases: how a worker gets its part of a limit that many share; the port to whoever grants them (DESIGN §6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from headgate.core.errors import HeadgateError, Unavailable


def forked_away() -> Unavailable:
    """Returns the error of a child that would use its parent's leases, or the file that these are counted in."""
    return Unavailable(
        "Limits are counted by the process that this one was forked from; open a gateway in each process.",
        code="limits_unavailable",
    )


class WindowKey(msgspec.Struct, frozen=True):
    """One limit's window for one member of its scope: what all workers count together.

    Attributes:
        scope, member, unit, per, priority: as ``core.rule.LimitRule``; a member is named, "" for everything.
        start_ns, end_ns: the calendar's window in ns since 1970, by the store's clock; 0 and 0 for concurrent calls.
    """

    scope: str
    member: str
    unit: str
    per: str
    priority: str
    start_ns: int
    end_ns: int

    @property
    def id(self) -> str:
        """Its name in a store: 32 characters, the same on every machine."""
        words = (self.scope, self.unit, self.per, self.priority, str(self.start_ns), self.member)
        return hashlib.sha256("\x1f".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Ask(msgspec.Struct):
    """What a worker reports of its lease in one window, and asks for more of.

    Amounts are totals since the lease began, in the unit's whole numbers (nano-dollars for dollars): a report that
    arrives twice, or never, does no harm.

    Attributes:
        window, id: the window and its id.
        slot: the lease's number in the worker's meter file; a number is used again only once its lease is over.
        limit: how much all workers together may use.
        settled: used for good.
        reserved: reserved by calls under way.
        keep: how much of the lease the worker keeps at most, ``settled`` and ``reserved`` included; the rest is
            given back.
        want: how much more it would like; 0 for nothing.
        least: the least that is of use to it.
        close: the lease is over: ``settled`` is all that it ever used.
    """

    window: WindowKey
    id: str
    slot: int
    limit: int
    settled: int
    reserved: int
    keep: int
    want: int = 0
    least: int = 0
    close: bool = False


class Told(msgspec.Struct):
    """The answer to one ``Ask``.

    Attributes:
        given: how much more the lease holds now.
        settled: what all workers have used for good, as far as they have reported it.
        free: what is neither used nor leased to anybody.
    """

    given: int
    settled: int
    free: int


class Renewal(msgspec.Struct):
    """The answer to all asks of one round.

    Attributes:
        now_ns: the store's clock.
        told: one for each ask, in order.
        short: ids of windows of this worker in which somebody lacks what others may hold idle.
        lost: the store knows nothing of this worker any more (written off, or another database): every lease that it
            had is void, it is registered anew, and ``told`` is empty.
    """

    now_ns: int
    told: list[Told]
    short: list[str] = []
    lost: bool = False


class Leases(Protocol):
    """Grants leases to one worker. Blocks; for one thread."""

    def renew(self, asks: Sequence[Ask]) -> Renewal:
        """Takes reports and answers asks, in one transaction.

        Raises:
            Unavailable: the store does not answer; whether it took the asks is not known.
        """

    def close(self, asks: Sequence[Ask]) -> None:
        """Takes the last reports: all leases of this worker are over. Idempotent.

        Raises:
            Unavailable: see ``renew``; whoever looks after dead workers does the rest.
        """


class Cells(Protocol):
    """A lease's two numbers where a killed worker leaves them behind: what it has settled, and what is reserved."""

    def __setitem__(self, index: int, value: int) -> None: ...


class Desk(Protocol):
    """Deals with ``Leases`` for an event loop, which it never blocks."""

    def renew(self, asks: Sequence[Ask], done: Callable[[Renewal | HeadgateError], None]) -> None:
        """Has asks answered; ``done`` is called on the loop."""

    def take(self) -> tuple[int, Cells, int]:
        """Returns a free slot: its number, and the cells and the index in them of its first number.

        Raises:
            Unavailable: there is no room for one.
        """

    def give_back(self, slot: int) -> None:
        """A slot's lease is over, and the store knows."""

    def close(self, asks: Sequence[Ask]) -> None:
        """Reports for the last time, waits for that for some seconds, and lets go of everything."""
