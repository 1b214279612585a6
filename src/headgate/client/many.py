"""Many requests through one gateway: so many at once, and one result for each, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from headgate.client.answer import Answer
from headgate.core.errors import BadRequest, HeadgateError

Complete = Callable[..., Awaitable[Answer]]


async def complete_all(
    complete: Complete,
    requests: Iterable[Mapping[str, Any]],
    concurrency: int,
    on_done: Callable[[int, Answer | HeadgateError], None] | None,
) -> list[Answer | HeadgateError]:
    """Completes requests, taken one by one as room becomes free; arguments and result as of ``Gateway.map``."""
    results: dict[int, Answer | HeadgateError] = {}
    waiting = enumerate(requests)

    async def work() -> None:
        for index, request in waiting:
            result = results[index] = await _complete(complete, request)
            if on_done is not None:
                on_done(index, result)

    workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in sorted(results)]


async def _complete(complete: Complete, request: Mapping[str, Any]) -> Answer | HeadgateError:
    try:
        work = complete(**{"priority": "batch", **request})
    except TypeError as error:  # raised by the binding of arguments alone: nothing has run yet
        return BadRequest(f"These are no arguments of complete(): {error}.")
    try:
        return await work
    except HeadgateError as error:
        return error
