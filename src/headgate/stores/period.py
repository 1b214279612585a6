"""Reads a stretch of time as people ask for it: ``since`` and ``until``, within what a store can hold."""

from __future__ import annotations

from headgate.core.errors import BadRequest
from headgate.stores.query import LATEST_NS, read_moment


def read_period(
    since: str | None, until: str | None, now_ns: int, *, begin: int | None = None
) -> tuple[int | None, int | None]:
    """Returns ``since_ns`` and ``until_ns``; what lies before 1970 or after 2116 is brought in.

    Args:
        since, until: as ``parse_time`` reads them; None where nothing was said.
        now_ns: now.
        begin: what holds where ``since`` is None.

    Raises:
        BadRequest: one of them is no time, or ``until`` does not lie after ``since``.
    """
    since_ns = begin if since is None else _moment(since, now_ns)
    until_ns = None if until is None else _moment(until, now_ns)
    if since_ns is not None and until_ns is not None and until_ns <= since_ns:
        first = "since, which was left out," if since is None else f"since ({since[:40]!a})"
        raise BadRequest(
            f"{first} must lie before until ({str(until)[:40]!a}): nothing is between them",
            code="invalid_value",
            param="since",
        )
    return since_ns, until_ns


def _moment(text: str, now_ns: int) -> int:
    return min(max(read_moment(text, now_ns), 0), LATEST_NS)
