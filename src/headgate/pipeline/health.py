"""Health: what is known at run time of one deployment in this worker: breaker, limiter, latency, retry budget."""

from __future__ import annotations

from collections.abc import Mapping

from headgate.dialects.allowance import read_allowance
from headgate.pipeline.breaker import Breaker
from headgate.pipeline.latency import Latency
from headgate.pipeline.limit import Limiter
from headgate.pipeline.retry import Budget


class Health:
    """The state that a deployment's layers share with the routes that choose among deployments."""

    __slots__ = ("adaptive", "breaker", "budget", "latency", "limiter")

    def __init__(self, breaker: Breaker, limiter: Limiter, budget: Budget, *, adaptive: bool) -> None:
        self.breaker = breaker
        self.limiter = limiter
        self.budget = budget
        self.latency = Latency()
        self.adaptive = adaptive

    def is_blocked(self, now: float) -> bool:
        """See ``core.call.Health``."""
        if self.breaker.guarded and self.breaker.refusal(now) is not None:
            return True
        return self.limiter.bounded and self.limiter.full

    def heed(self, headers: Mapping[bytes, bytes]) -> None:
        """See ``core.call.Health``."""
        if self.adaptive:
            allowance = read_allowance(headers)
            if allowance is not None:
                self.limiter.left(*allowance)

    def load(self) -> float:
        """Seconds that one more call would have to expect: the latency's mean for each call under way."""
        return self.latency.mean * (self.limiter.in_flight + 1)
