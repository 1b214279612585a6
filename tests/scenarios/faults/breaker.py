"""What breakers make of a fault, and how the matrix looks at one."""

from __future__ import annotations

from typing import Any, Literal

from .table import Fate

Verdict = Literal["counts", "pauses", "ignores"]

ONE_IS_ENOUGH: dict[str, Any] = {
    "retry": {"attempts": 0},
    "breaker": {"min_calls": 1, "failure_rate": 0.5, "open": "60s"},
}
"""``defaults`` under which one failure that counts opens a breaker, and nothing is tried twice."""

WITHOUT: dict[str, Any] = {"retry": {"attempts": 0}, "breaker": {"enabled": False}}
"""``defaults`` under which every call asks its first deployment, once."""

_NO_SICKNESS = frozenset({"rate_limited"})


def verdict(fate: Fate) -> Verdict:
    """Returns what the breaker of the failing deployment is to make of it."""
    if fate.code == "rate_limited" and fate.retry_after:
        return "pauses"
    return "counts" if fate.code and fate.fault == "upstream" and fate.code not in _NO_SICKNESS else "ignores"


def seen(core: Any, deployment: str) -> Verdict:
    """Returns what the breaker of a deployment has made of its one call."""
    breaker = core.deployments[deployment].breaker
    if breaker.state == "open":
        return "counts"
    assert breaker.state == "closed"
    return "pauses" if breaker.paused_until > core.clock.monotonic() else "ignores"
