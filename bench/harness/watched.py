"""Runs a verb of ``headgate`` and tells about the process's insides when asked: ``watched.py FILE VERB ARGUMENTS…``.

SIGUSR1 writes a JSON object to FILE: asyncio tasks by coroutine, objects by type (of this project's own), objects that
only the cycle collector could free since the last time, and what every deployment of the running core says about its
breaker and limiter. Nothing of the project is changed, but that its cores are remembered (weakly) as they are made.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import pathlib
import signal
import sys
import weakref
from collections import Counter
from types import FrameType
from typing import Any

CORES: list[weakref.ref[Any]] = []


def look() -> dict[str, Any]:
    """Returns what there is in this process now; called on the event loop's own thread."""
    unreachable = gc.collect()
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    objects: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        if (kind.__module__ or "").startswith("headgate."):
            objects[f"{kind.__module__.removeprefix('headgate.')}.{kind.__qualname__}"] += 1
    cores = [core for known in CORES if (core := known()) is not None]
    return {
        "tasks": sum(tasks.values()),
        "tasks_by_coroutine": dict(tasks),
        "unreachable": unreachable,
        "objects": dict(objects.most_common(40)),
        "cores": len(cores),
        "deployments": {name: state(one) for core in cores for name, one in core.deployments.items()},
    }


def state(deployment: Any) -> dict[str, Any]:
    """Returns what a deployment says about its breaker and limiter."""
    limiter = deployment.limiter
    return {
        "breaker": deployment.breaker.state,
        "in_flight": limiter.in_flight,
        "waiting": limiter.waiting,
        "allowed": str(limiter.allowed),
    }


def remember_cores() -> None:
    """From now on every core is in ``CORES``. (What start-up made is out of the collector's sight.)"""
    from headgate.compose import Core

    make = Core.__init__

    @functools.wraps(make)
    def made(self: Core, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        CORES.append(weakref.ref(self))

    Core.__init__ = made  # type: ignore[method-assign]


def main() -> int:
    """Installs the handler and runs the verb."""
    file = pathlib.Path(sys.argv[1])

    def tell(number: int, frame: FrameType | None) -> None:
        try:
            text = json.dumps(look(), default=str)
        except Exception as error:
            text = json.dumps({"failed": repr(error)})
        part = file.with_suffix(".part")
        part.write_text(text)
        os.replace(part, file)

    signal.signal(signal.SIGUSR1, tell)
    remember_cores()
    from headgate.cli.main import main as headgate

    return headgate(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
