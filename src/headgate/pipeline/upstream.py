"""The layer ``upstream``: the innermost; it brings an attempt to its commit point and closes its record."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.clock import Clock
from headgate.core.errors import HeadgateError
from headgate.core.event import Frame, Kind
from headgate.core.ports import Pending, Upstream, UpstreamAnswer
from headgate.core.reply import Ending, Reply
from headgate.core.usage import Usage
from headgate.dialects.counting import input_bound

_LONG = 4096
"""Tokens above which an estimate looks closer at the request."""


def upstream(driver: Upstream, clock: Clock) -> AttemptHandler:
    """Builds the layer for one deployment.

    Args:
        driver: sends the request and decodes what comes.
        clock: for times in the attempt's record.

    Raises (from the handler):
        HeadgateError: whatever happened before the first content frame.
    """
    monotonic = clock.monotonic

    async def handler(attempt: Attempt) -> Reply:
        record, call = attempt.record, attempt.call
        try:
            answer = await driver.open(attempt)
            ready = answer.ready if answer.source is None else await _commit(answer)
        except HeadgateError as error:
            _close(attempt, "failed", error, monotonic())
            raise
        except asyncio.CancelledError:
            record.sent = record.sent or _sent(attempt)
            if record.sent:
                # A hedge that lost is billed by the provider all the same.
                record.usage = _estimate(attempt, 0)
            _close(attempt, "cancelled", None, monotonic())
            raise
        attempt.content_at = now = monotonic()
        record.first_content_us = int((now - call.started) * 1e6)
        reply = Reply(ready, answer.source, answer.summary, answer.dialect, answer.headers, attempt.position)
        reply.on_end(partial(_end, attempt, monotonic))
        return reply

    return handler


def _sent(attempt: Attempt) -> bool:
    """Whether the whole request had gone out when the attempt was given up, answered or not: it may be billed then."""
    pending = getattr(attempt.abort, "__self__", None)
    return bool(getattr(pending, "sent", False))


async def _commit(answer: UpstreamAnswer) -> Sequence[Frame]:
    """Waits for the first content frame, or the finish of an answer without content."""
    source, ready = answer.source, list(answer.ready)
    assert source is not None
    try:
        while True:
            frames = await source.more()
            ready += frames
            for frame in frames:
                if frame.kind is Kind.CONTENT or frame.kind is Kind.FINISH:
                    return ready
            if not frames:
                answer.source = None
                return ready
    except asyncio.CancelledError:
        await source.aclose()
        raise


def _end(attempt: Attempt, monotonic: Callable[[], float], ending: Ending) -> None:
    summary, record = ending.summary, attempt.record
    if summary.usage is None:
        summary.usage = _estimate(attempt, summary.content_chars)
    record.usage = summary.usage
    record.upstream_model = summary.model
    record.upstream_id = record.upstream_id or summary.id
    if summary.finish is not None:
        record.finish = summary.finish.value
    _close(attempt, ending.outcome, ending.error, monotonic())


def _estimate(attempt: Attempt, characters: int) -> Usage:
    """Counts for an answer whose usage was not reported: four bytes or characters a token, marked as ours."""
    given = math.ceil(len(attempt.call.raw) / 4)
    if given > _LONG:
        # Most of it may be an image's bytes, which are no text.
        given = min(given, input_bound(attempt.call.view, attempt.deployment.encoding))
    return Usage(given, math.ceil(characters / 4), estimated=True)


def _close(attempt: Attempt, outcome: str, error: HeadgateError | None, now: float) -> None:
    record = attempt.record
    record.outcome = outcome
    record.ended_us = int((now - attempt.call.started) * 1e6)
    if error is not None:
        record.error = error.code
        record.error_message = error.message
        record.fault = error.fault
        record.sent = record.sent or error.sent
        record.status = record.status or getattr(error, "status", 0)
    _bill(attempt)


def _bill(attempt: Attempt) -> None:
    """Prices the attempt at this moment's rates. Without a price its cost stays unknown."""
    record = attempt.record
    usage = record.usage
    if usage is None:
        if not _may_be_billed(attempt):
            record.cost = 0
            return
        usage = record.usage = _estimate(attempt, 0)
    price = attempt.deployment.price
    if not attempt.call.dialect.billed:
        record.cost = 0
    elif price is not None:
        rates = record.rates = price.at(usage)
        record.cost = rates.cost(usage)


def _may_be_billed(attempt: Attempt) -> bool:
    """Whether an attempt without an answer went out whole and got no error status: providers bill such ones."""
    record = attempt.record
    if record.status and not 200 <= record.status < 300:
        return False
    pending: Pending | None = getattr(attempt.abort, "__self__", None)
    return record.sent or (pending is not None and pending.sent)
