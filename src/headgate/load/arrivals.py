"""Arrivals: when calls come and how large they are, from a trace file or from recorded traffic; never held whole."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from headgate.core.errors import BadRequest

_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BACKWARDS_S = 60.0


class Arrival(NamedTuple):
    """One call to make: seconds since the first one, its tokens, whether it streams (None: as the run says)."""

    at: float
    input_tokens: int
    output_tokens: int
    stream: bool | None = None
    model: str = ""


class Arrivals(NamedTuple):
    """Where arrivals come from.

    Attributes:
        source: what they are, for people.
        calls: how many there are.
        seconds: from the first to the last one.
        read: reads them anew, in the order of their time.
    """

    source: str
    calls: int
    seconds: float
    read: Callable[[], Iterator[Arrival]]


def read_trace(path: Path) -> Arrivals:
    """Opens a trace in the form of ``AzureLLMInferenceTrace_code.csv``: TIMESTAMP, ContextTokens, GeneratedTokens.

    The file is read twice, a line at a time: to check it, and to play it.

    Raises:
        BadRequest: it can not be read, or a line of it is no arrival; the message names the line.
    """
    count, last = 0, 0.0
    for arrival in _trace(path):
        count, last = count + 1, max(last, arrival.at)
    if not count:
        raise BadRequest(f"{path}: the trace holds no arrival")
    return Arrivals(f"trace {path.name}", count, last, lambda: _trace(path))


def cut(
    arrivals: Arrivals, *, speed: float = 1.0, start: float = 0.0, seconds: float = 0.0, calls: int = 0
) -> Arrivals:
    """Returns a part of them, played faster.

    Args:
        arrivals: all of them.
        speed: so many times as fast; times of the result are divided by it.
        start: seconds of the original to leave out at its beginning.
        seconds: seconds of the result, 0 for all.
        calls: at most so many, 0 for all.

    Raises:
        BadRequest: nothing is left.
    """

    def read() -> Iterator[Arrival]:
        made = 0
        for one in arrivals.read():
            if one.at < start:
                continue
            at = (one.at - start) / speed
            if (seconds and at > seconds) or (calls and made >= calls):
                return
            made += 1
            yield one._replace(at=at)

    count, last = 0, 0.0
    for one in read():
        count, last = count + 1, one.at
    if not count:
        raise BadRequest(f"no arrival is left of {arrivals.source} in the part that was asked for")
    return Arrivals(arrivals.source, count, last, read)


def _trace(path: Path) -> Iterator[Arrival]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            head = next(rows, [])
            if tuple(head[:3]) != _COLUMNS:
                raise BadRequest(f"{path}:1: not a trace: its columns are to be {', '.join(_COLUMNS)}")
            first, latest = None, 0.0
            for row in rows:
                moment, given, made = _row(path, rows.line_num, row)
                first = moment if first is None else first
                if moment - first < latest - _BACKWARDS_S:
                    raise BadRequest(f"{path}:{rows.line_num}: the trace goes back in time; sort it by TIMESTAMP")
                latest = max(latest, moment - first)
                yield Arrival(latest, given, made)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadRequest(f"can not read the trace {path}: {getattr(error, 'strerror', None) or error}") from error


def _row(path: Path, line: int, row: list[str]) -> tuple[float, int, int]:
    try:
        # Seven decimals are more than Python reads.
        moment = datetime.datetime.fromisoformat(row[0][:26])
        given, made = int(row[1]), int(row[2])
        if given < 0 or made < 0:
            raise ValueError("tokens below 0")
    except (ValueError, IndexError) as error:
        raise BadRequest(f"{path}:{line}: not an arrival: {','.join(row)[:80]!r}") from error
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp(), given, made
