"""The layer ``breaker``: keeps calls away from a deployment that is sick, or that asked for a pause (DESIGN §2).

Each worker has its own view of each deployment. Rate limits pause a deployment, they do not count as sickness;
attempts that were cancelled (a hedge that lost, a client that left) count for nothing.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from functools import partial
from typing import Literal

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.clock import Clock
from headgate.core.errors import ConnectFailed, HeadgateError, Timeout, Unavailable, UpstreamBroken, UpstreamError
from headgate.core.reply import Ending, Reply
from headgate.pipeline.latency import Latency

State = Literal["closed", "open", "half_open"]

_BUCKETS = 10
_SICK = frozenset({"server_error", "overloaded", "auth", "quota"})
"""An account that is refused, or out of money, is of no more use than a server that is down."""
_PAUSING = frozenset({"rate_limited", "overloaded", "server_error"})


def is_sickness(error: HeadgateError) -> bool:
    """Says whether an error speaks of a deployment that is of no use now, not of the request, of us, or of a rate."""
    if error.fault != "upstream":
        return False
    if isinstance(error, UpstreamError):
        return error.code in _SICK
    if isinstance(error, Timeout):
        return error.code != "deadline_exceeded"
    return isinstance(error, (ConnectFailed, UpstreamBroken))


class Breaker:
    """The decision: closed, open or half open, by failures and slow calls in a rolling window of ten parts.

    Attributes:
        state: ``"closed"``; ``"open"``: nothing passes; ``"half_open"``: a probe is under way.
        guarded: True while calls have to ask (not closed, or paused): one attribute to look at for everybody else.
        paused_until: until when the upstream asked to be left alone, on the monotonic clock; 0.0 for never.
        opened: how often it has opened.
    """

    __slots__ = (
        "_bucket_end",
        "_calls",
        "_failure_rate",
        "_failures",
        "_max_pause",
        "_min_calls",
        "_name",
        "_open",
        "_probe_at",
        "_random",
        "_row",
        "_slow",
        "_slow_rate",
        "_slows",
        "_width",
        "enabled",
        "guarded",
        "opened",
        "paused_until",
        "state",
    )

    def __init__(
        self,
        name: str,
        *,
        enabled: bool = True,
        window: float = 10.0,
        min_calls: int = 10,
        failure_rate: float = 0.5,
        slow_rate: float = 1.0,
        slow: float = 0.0,
        open: float = 1.0,
        max_pause: float = 300.0,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """Args:
        name: the deployment's, for messages.
        enabled: False never opens; pauses are respected still.
        window: length of the rolling window (s).
        min_calls: calls in the window below which nothing is concluded; so many failures in a row open it in any
            case, however many successes the window still holds.
        failure_rate, slow_rate: parts of the calls (0..1) from which on it opens.
        slow: seconds to the first content from which on a call is slow; 0.0 counts none.
        open: seconds before a probe; a fifth more or less, so that workers do not probe together.
        max_pause: longest pause (s) that an upstream can ask for.
        random: for that fifth.
        """
        self._name = name
        self.enabled = enabled
        self._width = window / _BUCKETS
        self._min_calls = min_calls
        self._failure_rate = failure_rate
        self._slow_rate = slow_rate
        self._slow = slow
        self._open = open
        self._max_pause = max_pause
        self._random = random
        self.state: State = "closed"
        self.guarded = False
        self.paused_until = 0.0
        self.opened = 0
        self._probe_at = 0.0
        self._bucket_end = 0.0
        self._row = 0
        self._clear()

    def refusal(self, now: float) -> Unavailable | None:
        """Returns why a call may not pass now, None where it may. Does not change anything."""
        if now < self.paused_until:
            return Unavailable(
                f"{self._name} asked to be left alone for {self.paused_until - now:.1f} s more.",
                code="deployment_paused",
                retry_after=self.paused_until - now,
            )
        if self.state != "closed" and now < self._probe_at:
            return Unavailable(
                f"{self._name} has been failing; it is tried again in {self._probe_at - now:.1f} s.",
                code="breaker_open",
                retry_after=self._probe_at - now,
            )
        return None

    def admit(self, now: float) -> Unavailable | None:
        """As ``refusal``, for a call that is about to pass: in a breaker that is not closed it becomes the probe."""
        refused = self.refusal(now)
        if refused is None:
            if self.state != "closed":
                # The next one may follow after as long a wait, should this one hang.
                self.state = "half_open"
                self._probe_at = now + self._wait()
            elif self.paused_until:
                self.paused_until = 0.0
                self.guarded = False
        return refused

    def succeeded(self, seconds: float, now: float) -> None:
        """An attempt has begun to answer, ``seconds`` after its start."""
        if self.state != "closed":
            self._close()
        if now >= self._bucket_end:
            self._roll(now)
        self._row = 0
        self._calls[-1] += 1
        if self._slow and seconds >= self._slow:
            self._slows[-1] += 1
            self._judge(now)

    def failed(self, error: HeadgateError, now: float, *, begun: bool = False) -> None:
        """An attempt has failed; ``begun`` where it had counted as a success before."""
        if error.retry_after is not None and error.code in _PAUSING and error.fault == "upstream":
            self.pause(error.retry_after, now)
        if not self.enabled or not is_sickness(error):
            self.forgotten(now)
            return
        if self.state != "closed":
            self._trip(now)
            return
        if now >= self._bucket_end:
            self._roll(now)
        if not begun:
            self._calls[-1] += 1
            self._row += 1
        self._failures[-1] += 1
        if self._row >= self._min_calls:
            self._trip(now)
        else:
            self._judge(now)

    def forgotten(self, now: float) -> None:
        """An attempt ended that says nothing of the deployment's health: if it was the probe, another may follow."""
        if self.state == "half_open":
            self._probe_at = now

    def pause(self, seconds: float, now: float) -> None:
        """The upstream asked to be left alone for so long."""
        if seconds <= 0:
            return
        self.paused_until = max(self.paused_until, now + min(seconds, self._max_pause))
        self.guarded = True

    def _judge(self, now: float) -> None:
        calls = sum(self._calls)
        if calls < self._min_calls or not self.enabled:
            return
        if sum(self._failures) >= self._failure_rate * calls or (
            self._slow and sum(self._slows) >= self._slow_rate * calls
        ):
            self._trip(now)

    def _trip(self, now: float) -> None:
        if self.state == "closed":
            self.opened += 1
        self._row = 0
        self.state = "open"
        self.guarded = True
        self._probe_at = now + self._wait()

    def _close(self) -> None:
        self.state = "closed"
        self.guarded = bool(self.paused_until)
        self._clear()

    def _wait(self) -> float:
        return self._open * (0.8 + 0.4 * self._random())

    def _clear(self) -> None:
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS
        self._slows = [0] * _BUCKETS

    def _roll(self, now: float) -> None:
        """Moves the window on to the part that ``now`` is in."""
        steps = int((now - self._bucket_end) / self._width) + 1
        self._bucket_end += steps * self._width
        if steps >= _BUCKETS:
            self._clear()
            return
        for counts in (self._calls, self._failures, self._slows):
            del counts[:steps]
            counts.extend([0] * steps)


def breaker(next: AttemptHandler, state: Breaker, clock: Clock, latency: Latency | None = None) -> AttemptHandler:
    """Builds the layer for one deployment.

    Args:
        next: the layer inside.
        state: the deployment's breaker.
        clock: for its window.
        latency: is told how soon answers begin; None where nobody asks.

    Raises (from the handler):
        Unavailable: ``breaker_open`` or ``deployment_paused``; nothing was sent.
    """
    monotonic = clock.monotonic

    async def handler(attempt: Attempt) -> Reply:
        started = monotonic()
        if state.guarded:
            refused = state.admit(started)
            if refused is not None:
                raise attempt.skip(refused)
        try:
            reply = await next(attempt)
        except HeadgateError as error:
            if attempt.rotated:
                # Another of the provider's keys is there: the trouble is the key's own.
                state.forgotten(monotonic())
            else:
                state.failed(error, monotonic())
            raise
        except BaseException:
            state.forgotten(monotonic())
            raise
        begun = attempt.content_at
        state.succeeded(begun - started, begun)
        stream = attempt.call.view.stream
        if latency is not None:
            latency.observe(begun - started, begun, stream=stream)
        if stream:
            reply.on_end(partial(_ended, state, monotonic))
        return reply

    return handler


def _ended(state: Breaker, monotonic: Callable[[], float], ending: Ending) -> None:
    if ending.error is not None:
        state.failed(ending.error, monotonic(), begun=True)
