"""What is remembered of load tests, in the data directory: the checklist compares them with what traffic there is."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

FOLDER = "load"
MOST = 50
"""So many are kept; the oldest go."""


class LoadMark(msgspec.Struct, frozen=True, kw_only=True):
    """One load test in a few figures. New fields get a default: older files must still be read.

    Attributes:
        time_ns: when it began, ns since 1970.
        target: the URL that was loaded.
        source: what the arrivals were taken from.
        speed: how many times faster than those they came.
        calls, errors: how many were made, and how many of them failed.
        seconds: from the first intended start to the last one.
        per_minute: calls that were meant to start in the busiest minute; of a shorter test, its rate.
        first_content_p99_ms, total_p99_ms: from the intended start; None where no call was answered.
        own_p99_ms: the gateway's own share of a call at p99, None where it could not be told.
    """

    time_ns: int
    target: str
    source: str
    speed: float
    calls: int
    errors: int
    seconds: float
    per_minute: float
    first_content_p99_ms: float | None = None
    total_p99_ms: float | None = None
    own_p99_ms: float | None = None


def keep_mark(data: Path, mark: LoadMark) -> Path:
    """Writes a mark into the data directory (0600) and returns its file; the oldest ones go."""
    folder = data / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{mark.time_ns:020d}.json"
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(mark), indent=1))
    for old in sorted(folder.glob("*.json"))[:-MOST]:
        old.unlink(missing_ok=True)
    return file


def read_marks(data: Path) -> list[LoadMark]:
    """Returns the marks in a data directory, the newest first; a file that is none is left out."""
    marks = []
    for file in sorted((data / FOLDER).glob("*.json"), reverse=True):
        try:
            marks.append(msgspec.json.decode(file.read_bytes(), type=LoadMark))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue  # not ours, or half written: it proves nothing
    return marks
