"""LocalMeter: the windows of one process, in its memory, lost with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from headgate.core.call import Call
from headgate.core.clock import Clock
from headgate.core.errors import LimitExceeded
from headgate.core.price import show_money
from headgate.core.rule import ATTEMPT_UNITS, LimitRule
from headgate.pipeline.meter import Amounts

PLACES = {"dollars": 0, "tokens": 1, "input_tokens": 2, "output_tokens": 3, "requests": 0, "concurrency": 0}
"""Which of the amounts a window of each unit counts."""
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
_NANO = 10**9


class LocalWindow:
    """See ``meter.Window``.

    Attributes:
        rule: the limit.
        amount: what this process may use of it.
        place: which of the amounts it counts.
        used: used and reserved since the window began.
        end: when it ends, in ns since 1970; 0 before its first use.
    """

    __slots__ = ("_time_ns", "amount", "end", "place", "rule", "used")

    def __init__(self, rule: LimitRule, amount: int, clock: Clock) -> None:
        self.rule = rule
        self.amount = amount
        self.place = PLACES[rule.unit]
        self.used = 0
        self.end = 0
        self._time_ns = clock.time_ns

    @property
    def left(self) -> int:
        """See ``meter.Window``."""
        self.roll()
        return max(0, self.amount - self.used)

    @property
    def reset(self) -> float:
        """See ``meter.Window``."""
        return max(0.0, (self.end - self._time_ns()) / _NANO) if self.rule.per else 0.0

    def roll(self) -> None:
        """Begins anew where the window is over."""
        if self.rule.per:
            now = self._time_ns()
            if now >= self.end:
                self.used = 0
                self.end = window_end(self.rule.per, now)


def window_end(per: str, now_ns: int) -> int:
    """Returns when the calendar's window around a moment ends, in ns since 1970.

    Example:
        >>> window_end("minute", 61 * 10**9) // 10**9, window_end("month", 0) // 86_400 // 10**9
        (120, 31)
    """
    seconds = _SECONDS.get(per)
    if seconds is not None:
        return (now_ns // _NANO // seconds + 1) * seconds * _NANO
    moment = datetime.fromtimestamp(now_ns // _NANO, UTC)
    following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp()) * _NANO


def window_start(per: str, now_ns: int) -> int:
    """Returns when the calendar's window around a moment began, in ns since 1970."""
    seconds = _SECONDS.get(per)
    if seconds is not None:
        return now_ns // _NANO // seconds * seconds * _NANO
    moment = datetime.fromtimestamp(now_ns // _NANO, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * _NANO


class LocalHold:
    """See ``meter.Hold``."""

    __slots__ = ("_amounts", "_ends", "_windows")

    def __init__(self, windows: Sequence[LocalWindow], amounts: Amounts) -> None:
        self._windows = windows
        self._amounts = amounts
        self._ends = [window.end for window in windows]

    def settle(self, amounts: Amounts) -> None:
        """See ``meter.Hold``. What was reserved in a window that is over is settled there, where nobody looks."""
        windows, self._windows = self._windows, ()
        for window, end in zip(windows, self._ends, strict=False):
            if window.end == end:
                window.used += amounts[window.place] - self._amounts[window.place]

    def release(self) -> None:
        """See ``meter.Hold``."""
        self.settle((0, 0, 0, 0))


class LocalMeter:
    """See ``meter.Meter``.

    Args:
        clock: what windows go by.
        among: processes that share each limit, of which this is one: each has its part, whatever the others use.
    """

    def __init__(self, clock: Clock, among: int = 1) -> None:
        self._clock = clock
        self._among = among
        self.windows: dict[tuple[str, ...], LocalWindow] = {}

    def open(self, rule: LimitRule, member: str) -> LocalWindow:
        """See ``meter.Meter``."""
        key = (rule.scope, member, rule.unit, rule.per, rule.priority)
        amount = rule.amount // self._among
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = LocalWindow(rule, amount, self._clock)
        found.rule, found.amount = rule, amount
        return found

    def try_reserve(
        self, windows: Sequence[LocalWindow], amounts: Amounts, call: Call, position: int = -1
    ) -> LocalHold | None:
        """See ``meter.Meter``."""
        for window in windows:
            window.roll()
            if window.used + amounts[window.place] > window.amount:
                return None
        for window in windows:
            window.used += amounts[window.place]
        return LocalHold(windows, amounts)

    async def reserve(
        self, windows: Sequence[LocalWindow], amounts: Amounts, call: Call, position: int = -1
    ) -> LocalHold:
        """See ``meter.Meter``: there is nobody to ask."""
        hold = self.try_reserve(windows, amounts, call)
        if hold is None:
            full = next(window for window in windows if window.used + amounts[window.place] > window.amount)
            raise refusal(full.rule, full.reset, amounts[full.place])
        return hold


def refusal(rule: LimitRule, reset: float, amount: int) -> LimitExceeded:
    """Returns the error for what does not fit into a limit.

    Args:
        rule: the limit.
        reset: in how many seconds its window ends.
        amount: what was to be reserved.
    """
    money = rule.unit == "dollars"
    what, hint = "is used up", None
    retry_after: float | None = max(1.0, reset) if rule.per else 1.0
    if rule.unit in ATTEMPT_UNITS:
        size = show_money(amount) if money else f"{amount:,} {rule.unit.replace('_', ' ')}"
        what = f"has no room for this call, which may take up to {size}"
        if amount > rule.amount:
            what, retry_after = f"never has room for this call, which may take up to {size}", None
            hint = "Ask for fewer `max_tokens`."
    return LimitExceeded(
        f"The {'budget' if money else 'limit'} {rule.title!r} ({rule.shown}) {what}.",
        limit=rule.title,
        code="budget_exceeded" if money else "rate_limit_exceeded",
        retry_after=retry_after,
        hint=hint,
    )
