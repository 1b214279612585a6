"""What the layers ``quota`` and ``charge`` ask of whoever keeps the limits' windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from headgate.core.call import Call
from headgate.core.rule import LimitRule

Amounts = tuple[int, int, int, int]
"""Nano-dollars, tokens, input tokens, output tokens; of a window of requests or concurrent calls the first counts."""


class Window(Protocol):
    """One limit of one member of its scope, as this worker sees it.

    Attributes:
        rule: the limit.
    """

    rule: LimitRule

    @property
    def left(self) -> int:
        """How much of the limit is neither used nor reserved, as far as is known here."""

    @property
    def reset(self) -> float:
        """Seconds until the window ends; 0.0 for concurrent calls."""


class Hold(Protocol):
    """A reservation in some windows. Ends once: what comes after the first end does nothing."""

    def settle(self, amounts: Amounts) -> None:
        """So much was used; the rest is given back."""

    def release(self) -> None:
        """Nothing was used."""


class Meter(Protocol):
    """Keeps windows. All or nothing: what does not fit in one of the windows takes nothing from the others."""

    def open(self, rule: LimitRule, member: str) -> Window:
        """Returns the window of a limit for one member of its scope; the same one for the same, under its new limit."""

    def try_reserve(self, windows: Sequence[Any], amounts: Amounts, call: Call, position: int = -1) -> Hold | None:
        """Reserves what can be reserved at once; None where somebody has to be asked, or it does not fit.

        Args:
            windows: as ``open`` made them.
            amounts: how much of each unit.
            call: for whom.
            position: which of its attempts it is for: with the call's id, what finds the reservation's settlement in
                the Record. -1 for requests and concurrent calls, which need none.
        """

    async def reserve(self, windows: Sequence[Any], amounts: Amounts, call: Call, position: int = -1) -> Hold:
        """Reserves, asking whoever must be asked; arguments as ``try_reserve``.

        Raises:
            LimitExceeded: it does not fit.
            Unavailable: nobody answers (``limits_unavailable``).
        """
