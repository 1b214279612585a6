"""The layer ``quota``: requests and concurrent calls, taken once per call; says on success what is left (DESIGN §2).

It also looks up which limits hold for the call at all, for ``charge`` further in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from headgate.core.call import Call, Handler
from headgate.core.record import dispatched
from headgate.core.reply import Ending, Reply
from headgate.pipeline.meter import Amounts, Hold, Meter, Window
from headgate.pipeline.rulebook import NOTHING, Applied, Rulebook

ONE: Amounts = (1, 1, 1, 1)
_OURS = (b"x-ratelimit-",)


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
        if not applied.requests and not applied.places:
            reply = await next(call)
        else:
            reply = await _counted(call, applied)
        if applied.shown:
            reply.headers = _with_headers(reply.headers, applied)
        return reply

    async def _counted(call: Call, applied: Applied) -> Reply:
        request = place = None
        try:
            if applied.requests:
                request = meter.try_reserve(applied.requests, ONE, call) or await meter.reserve(
                    applied.requests, ONE, call
                )
            if applied.places:
                place = meter.try_reserve(applied.places, ONE, call) or await meter.reserve(applied.places, ONE, call)
            reply = await next(call)
        except BaseException:
            if place is not None:
                place.release()
            if request is not None:
                if dispatched(call.record):
                    request.settle(ONE)
                else:
                    request.release()
            raise
        if request is not None:
            request.settle(ONE)
        if place is not None:
            reply.on_end(_Leave(place))
        return reply

    return handler


class _Leave:
    """Gives a call's place back at its end."""

    __slots__ = ("_place",)

    def __init__(self, place: Hold) -> None:
        self._place = place

    def __call__(self, ending: Ending) -> None:
        self._place.release()


def _with_headers(headers: Sequence[tuple[bytes, bytes]], applied: Applied) -> list[tuple[bytes, bytes]]:
    """The headers of a reply, and of each kind of limit the one of which least is left."""
    kept = [header for header in headers if not header[0].startswith(_OURS)]
    for kind, windows in ((b"requests", applied.requests), (b"tokens", applied.token_windows)):
        if windows:
            kept += _lines(kind, windows[0] if len(windows) == 1 else min(windows, key=_left))
    return kept


def _left(window: Window) -> int:
    return window.left


def _lines(kind: bytes, window: Window) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit-" + kind, b"%d" % window.rule.amount),
        (b"x-ratelimit-remaining-" + kind, b"%d" % max(0, window.left)),
        (b"x-ratelimit-reset-" + kind, show_duration(window.reset)),
    ]


def show_duration(seconds: float) -> bytes:
    """Returns a time as OpenAI's headers have it, in whole seconds, rounded up.

    Example:
        >>> show_duration(0.2), show_duration(75), show_duration(86400)
        (b'1s', b'1m15s', b'24h0m0s')
    """
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
