"""The layer ``quota``: requests and concurrent calls, taken once per call; says on success what is left (DESIGN §2).

It also looks up which limits hold for the call at all, for ``charge`` further in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from headgate.core.call import Call, Handler
from headgate.core.record import dispatched
from headgate.core.reply import Ending, Reply
from headgate.pipeline.meter import Amounts, Hold, Meter
from headgate.pipeline.rulebook import NOTHING, Rulebook
from headgate.pipeline.shown import Shown

ONE: Amounts = (1, 1, 1, 1)
_OURS = (b"x-ratelimit-",)
monotonic = time.monotonic


def quota(next: Handler, book: Rulebook, meter: Meter) -> Handler:
    """Builds the layer.

    Args:
        next: the layer inside.
        book: which limits hold for a call.
        meter: reserves and settles.

    A request counts once its first attempt was sent; a call that is refused, or for which nothing is left to try, does
    not. The reply gets OpenAI's ``x-ratelimit-*`` headers where requests or tokens are limited.

    Raises (from the handler):
        LimitExceeded: too many requests, or calls at once (``rate_limit_exceeded``).
        Unavailable: the store of the limits is away, and nothing may go on without it (``limits_unavailable``).
    """

    async def handler(call: Call) -> Reply:
        record = call.record
        applied = book.find((record.key_id, record.user, record.team, record.feature, call.view.model, record.priority))
        if applied is NOTHING:
            return await next(call)
        call.limits = applied
        request = place = None
        try:
            if applied.requests:
                request = meter.try_reserve(applied.requests, ONE, call)
                if request is None:
                    request = await meter.reserve(applied.requests, ONE, call)
            if applied.places:
                place = meter.try_reserve(applied.places, ONE, call)
                if place is None:
                    place = await meter.reserve(applied.places, ONE, call)
            reply = await next(call)
        except BaseException:
            _give_back(call, request, place)
            raise
        if request is not None:
            request.settle(ONE)
        if place is not None:
            reply.on_end(_Leave(place))
        if applied.shown:
            reply.headers = _with_headers(reply.headers, applied.shown, monotonic())
        return reply

    return handler


def _give_back(call: Call, request: Hold | None, place: Hold | None) -> None:
    """A call has failed: a request that was never sent does not count."""
    if place is not None:
        place.release()
    if request is not None:
        if dispatched(call.record):
            request.settle(ONE)
        else:
            request.release()


class _Leave:
    """Gives a call's place back at its end."""

    __slots__ = ("_place",)

    def __init__(self, place: Hold) -> None:
        self._place = place

    def __call__(self, ending: Ending) -> None:
        self._place.release()


def _with_headers(
    headers: Sequence[tuple[bytes, bytes]], shown: Sequence[Shown], now: float
) -> list[tuple[bytes, bytes]]:
    """The headers of a reply, and of each kind of limit the one of which least is left."""
    kept = [header for header in headers if not header[0].startswith(_OURS)] if headers else []
    for one in shown:
        kept += one.lines(now)
    return kept
