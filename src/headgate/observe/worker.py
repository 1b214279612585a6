"""What a worker knows of itself at this moment, left in a file twice a second for whoever makes metrics of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from headgate.pipeline.account import Account
from headgate.pipeline.health import Health

FOLDER = "workers"
FRESH_S = 5.0
"""A report older than this is of a process that is gone, or stuck."""


class DeploymentReport(msgspec.Struct, array_like=True):
    """One deployment as a worker sees it: breaker, how often it opened, calls under way, waiting."""

    state: str
    paused: bool
    opened: int
    in_flight: int
    waiting: int


class WorkerReport(msgspec.Struct):
    """One process: calls under way, callers without a key, memory (bytes), CPU seconds, its deployments by name."""

    pid: int
    open: int
    unauthenticated: int
    resident: int
    cpu: float
    started: float
    deployments: dict[str, DeploymentReport]


class Observed(Protocol):
    """As much of a composed gateway as is reported."""

    @property
    def account(self) -> Account:
        """The outermost layer."""

    @property
    def deployments(self) -> Mapping[str, Health]:
        """What is known of each deployment."""


class Reporter:
    """Writes one process's report.

    Attributes:
        core: the gateway as it is now; another one after new settings.
    """

    def __init__(self, core: Observed, directory: Path) -> None:
        self.core = core
        self._file = directory / FOLDER / f"{os.getpid()}.json"
        self._started = time.time()
        self._pid = os.getpid()

    def report(self) -> None:
        """Writes the report, on any thread but the loop's. Never raises: it is not worth a call."""
        try:
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(self._look()))
            new.replace(self._file)
        except OSError:
            return

    def close(self) -> None:
        """Takes the report away. Idempotent."""
        self._file.unlink(missing_ok=True)

    def _look(self) -> WorkerReport:
        core, now = self.core, time.monotonic()
        return WorkerReport(
            self._pid,
            core.account.open,
            core.account.unauthenticated,
            _resident(),
            round(time.process_time(), 3),
            self._started,
            {
                name: DeploymentReport(
                    health.breaker.state,
                    health.breaker.paused_until > now,
                    health.breaker.opened,
                    health.limiter.in_flight,
                    health.limiter.waiting,
                )
                for name, health in list(core.deployments.items())
            },
        )


def read_reports(directory: Path, now: float) -> list[WorkerReport]:
    """Returns the fresh reports of a data directory, in order of process id; removes those that are long dead."""
    found = []
    for file in sorted((directory / FOLDER).glob("*.json")):
        try:
            age = now - file.stat().st_mtime
            if age > 12 * FRESH_S:
                file.unlink(missing_ok=True)
            elif age <= FRESH_S:
                found.append(msgspec.json.decode(file.read_bytes(), type=WorkerReport))
        except (OSError, msgspec.DecodeError):
            continue  # being written, or just gone
    return sorted(found, key=lambda report: report.pid)


def _resident() -> int:
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
