"""Many replays: so many at once, noted line by line, so that a run that was broken off goes on where it was."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headgate.core.errors import BadRequest, HeadgateError
from headgate.observe.replay.changes import Changes
from headgate.observe.replay.outcome import Comparison

FOLDER = "replays"


class Head(msgspec.Struct, tag="head"):
    """The first line of a run's file: what was asked for, and the calls that it stands for, fixed at its start."""

    where: str
    changes: Changes
    ids: list[str]


class Done(msgspec.Struct, tag="done", omit_defaults=True):
    """One line a replay: figures only, no words of anybody's.

    ``failed`` says why there was no replay at all. ``similarity`` as in ``Comparison``.
    """

    id: str
    replay: str = ""
    failed: str = ""
    before: str = ""
    after: str = ""
    error: str = ""
    finish_before: str = ""
    finish_after: str = ""
    same_answer: bool | None = None
    similarity: float | None = None
    cost_before: int | None = None
    cost_after: int | None = None
    latency_before_us: int = -1
    latency_after_us: int = -1
    output_before: int | None = None
    output_after: int | None = None


class Run:
    """One run's file in the data directory.

    Attributes:
        head: what it is about.
        done: what there is already, by the recorded call's id.
    """

    def __init__(self, path: Path, fd: int, head: Head, done: dict[str, Done]) -> None:
        self.path = path
        self.head = head
        self.done = done
        self._fd = fd
        if not os.fstat(fd).st_size:
            self._write(head)

    @property
    def left(self) -> list[str]:
        """The calls that have not been replayed yet, in order."""
        return [id for id in self.head.ids if id not in self.done]

    def note(self, done: Done) -> None:
        """Keeps one result."""
        self.done[done.id] = done
        self._write(done)

    def close(self) -> None:
        """Closes the file, and lets others open the run."""
        os.close(self._fd)

    def _write(self, line: Head | Done) -> None:
        os.write(self._fd, msgspec.json.encode(line) + b"\n")


def open_run(data: Path, where: str, changes: Changes, find: Callable[[], list[str]], *, fresh: bool = False) -> Run:
    """Opens the run of these filters and changes: the one that was broken off, else a new one.

    Args:
        data: the data directory.
        where: the filters, as given; they and the changes name the run.
        changes: what is asked differently.
        find: returns the calls' ids, for a new run.
        fresh: whether to begin anew though there is one.

    Raises:
        BadRequest: another process has this run open; or the run's file was damaged by somebody.
    """
    folder = data / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    named = msgspec.json.encode([where, msgspec.to_builtins(changes)], order="sorted")
    path = folder / f"{hashlib.sha256(named).hexdigest()[:16]}.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(fd, path)
        head, done = (None, {}) if fresh else _read(path)
        if head is None or len(done) >= len(head.ids):
            # What is finished is no run that was broken off: there may be other calls by now.
            head, done = Head(where, changes, find()), {}
            os.ftruncate(fd, 0)
        return Run(path, fd, head, done)
    except BaseException:
        os.close(fd)
        raise


def _lock(fd: int, path: Path) -> None:
    """Two processes that go on with one run would send each call twice, and pay for both."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadRequest(f"another process is at these replays ({path}); wait until it has ended") from None


def _read(path: Path) -> tuple[Head | None, dict[str, Done]]:
    """What a run's file says; no head where it is new."""
    lines = path.read_bytes().split(b"\n")
    # The last line may be torn: its process was killed. That call is replayed again.
    if lines[-1]:
        os.truncate(path, path.stat().st_size - len(lines[-1]))
    if not any(lines[:-1]):
        return None, {}
    decode = msgspec.json.Decoder(Head | Done).decode
    try:
        found = [decode(line) for line in lines[:-1]]
    except msgspec.DecodeError as error:
        raise BadRequest(f"{path} is no run of replays ({error}); begin anew with --fresh") from error
    if not isinstance(found[0], Head):
        raise BadRequest(f"{path} is no run of replays; begin anew with --fresh")
    return found[0], {one.id: one for one in found[1:] if isinstance(one, Done)}


async def replay_many(
    run: Run,
    send: Callable[[str], Awaitable[Comparison]],
    *,
    concurrency: int,
    on_done: Callable[[Done], Any] = lambda done: None,
) -> None:
    """Replays what is left of a run.

    Args:
        run: its file is written as each ends.
        send: replays the call with this id.
        concurrency: at once.
        on_done: called as each ends.
    """
    waiting = iter(run.left)

    async def work() -> None:
        for id in waiting:
            try:
                done = summarize(await send(id))
            except HeadgateError as error:
                done = Done(id, failed=f"{error.code}: {error.message}")
            run.note(done)
            on_done(done)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(run.left))):
            group.create_task(work())


def summarize(comparison: Comparison) -> Done:
    """Returns the figures of one replay."""
    before, after = comparison.before, comparison.after
    return Done(
        before.id,
        after.id,
        "",
        before.outcome,
        after.outcome,
        after.error,
        before.finish,
        after.finish,
        comparison.same_answer,
        comparison.similarity,
        before.cost,
        after.cost,
        before.duration_us,
        after.duration_us,
        before.output_tokens,
        after.output_tokens,
    )


class Totals(msgspec.Struct):
    """A run in a few figures: costs in nano-dollars, median times in µs, each of calls where both are known."""

    replays: int
    failed: int
    completed_before: int
    completed_after: int
    same_answers: int
    compared_answers: int
    similarity: float | None
    same_finish: int
    cost_before: int
    cost_after: int
    latency_before_us: int | None
    latency_after_us: int | None
    output_before: int
    output_after: int


def total(results: Sequence[Done]) -> Totals:
    """Adds a run up."""
    made = [one for one in results if not one.failed]
    known = [one for one in made if one.same_answer is not None]
    priced = [one for one in made if one.cost_before is not None and one.cost_after is not None]
    both = [one for one in made if one.before == one.after == "completed"]
    counted = [one for one in made if one.output_before is not None and one.output_after is not None]
    return Totals(
        len(made),
        len(results) - len(made),
        sum(one.before == "completed" for one in made),
        sum(one.after == "completed" for one in made),
        sum(bool(one.same_answer) for one in known),
        len(known),
        sum(one.similarity or 0.0 for one in known) / len(known) if known else None,
        sum(one.finish_before == one.finish_after for one in made),
        sum(one.cost_before or 0 for one in priced),
        sum(one.cost_after or 0 for one in priced),
        _median([one.latency_before_us for one in both]),
        _median([one.latency_after_us for one in both]),
        sum(one.output_before or 0 for one in counted),
        sum(one.output_after or 0 for one in counted),
    )


def _median(values: list[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None
