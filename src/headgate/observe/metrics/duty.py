"""What the recorder's process does for metrics: counts what is stored, and writes the page once a second."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.observe.metrics.counts import Counts
from headgate.observe.metrics.text import Page, counter, gauge
from headgate.observe.worker import WorkerReport, read_reports
from headgate.stores.data import DataDir
from headgate.stores.database import sqlite_path
from headgate.stores.journal.framing import PREFIX_SIZE
from headgate.stores.journal.segments import list_segments

if TYPE_CHECKING:
    from headgate.stores.recorder import Stored

FILE = "metrics.prom"
EVERY_S = 1.0
_BREAKER = {"closed": 0, "half_open": 1, "open": 2}
_log = logging.getLogger("headgate.metrics")


class MetricsDuty:
    """Writes ``metrics.prom`` in the data directory, for workers to serve. ``more`` write families of other duties."""

    def __init__(self, data: DataDir, *more: Callable[[Page], None]) -> None:
        self._data = data
        self._more = more
        self._counts = Counts()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-metrics", daemon=True)
        self._positions: dict[str, int] = {}
        self._batches = 0
        self._caught_up = time.time()
        self._began = time.time()

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Writes once more, and ends. Idempotent."""
        if not self._stop.is_set():
            self._stop.set()
            if self._thread.is_alive():
                self._thread.join(5.0)
            self._write()

    def stored(self, stored: Stored) -> None:
        """Counts a batch that is in the store now; called by the recorder's own thread."""
        self._counts.add(stored.tally.minutes if stored.tally is not None else {}, stored.records)
        self._positions.update(stored.positions)
        self._batches += 1

    def page(self) -> str:
        """Returns the page as it is now."""
        page = Page()
        self._counts.write(page)
        self._write_recorder(page)
        for write in self._more:
            write(page)
        write_workers(page, read_reports(self._data.path, time.time()))
        return page.text()

    def _run(self) -> None:
        while True:
            self._write()
            if self._stop.wait(EVERY_S):
                return

    def _write(self) -> None:
        try:
            write_file(self._data.path, self.page())
        except OSError as error:
            _log.debug("metrics can not be written: %s", error)  # a full disk; or the data directory is gone

    def _write_recorder(self, page: Page) -> None:
        segments = list_segments(self._data.journal_path)
        sizes = {name: max(0, size - PREFIX_SIZE) for name, size in segments}
        positions = dict(self._positions)
        for gone in positions.keys() - sizes.keys():
            self._positions.pop(gone, None)
        waiting = sum(max(0, size - max(0, positions.get(name, 0) - PREFIX_SIZE)) for name, size in sizes.items())
        now = time.time()
        if not waiting:
            self._caught_up = now
        counter(page, "headgate_records_stored_total", "Records that the recorder has stored.", self._counts.stored)
        counter(page, "headgate_recorder_batches_total", "Transactions of the recorder.", self._batches)
        gauge(page, "headgate_recorder_lag_seconds", "Since when the journal is not empty.", now - self._caught_up)
        gauge(page, "headgate_journal_waiting_bytes", "Bytes in the journal that are not stored yet.", waiting)
        gauge(page, "headgate_journal_segments", "Segments of the journal.", len(segments))
        cpu = round(time.process_time(), 2)
        counter(page, "headgate_recorder_cpu_seconds_total", "CPU time of the recorder.", cpu)
        gauge(page, "headgate_recorder_start_time_seconds", "When the recorder began to count.", self._began)
        gauge(page, "headgate_metrics_written_timestamp_seconds", "When this page was written.", now)
        path = sqlite_path(self._data.url)
        if path is not None and path.exists():
            gauge(page, "headgate_database_bytes", "Size of the SQLite file.", path.stat().st_size)
        page.family("headgate_build_info", "gauge", "The version that runs.")
        page.sample("headgate_build_info", 1, {"version": importlib.metadata.version("headgate")})


def write_workers(page: Page, reports: list[WorkerReport]) -> None:
    """Writes what worker processes say of themselves; of deployments, over all workers together."""
    gauge(page, "headgate_workers", "Processes that take calls.", len(reports))
    gauge(page, "headgate_calls_open", "Calls under way.", sum(one.open for one in reports))
    counter(
        page,
        "headgate_unauthenticated_total",
        "Calls refused for want of a valid key; they are not recorded.",
        sum(one.unauthenticated for one in reports),
    )
    page.family("headgate_worker_resident_bytes", "gauge", "Memory of each worker.")
    for number, one in enumerate(reports):
        page.sample("headgate_worker_resident_bytes", one.resident, {"worker": str(number)})
    page.family("headgate_worker_cpu_seconds_total", "counter", "CPU time of each worker.")
    for number, one in enumerate(reports):
        page.sample("headgate_worker_cpu_seconds_total", one.cpu, {"worker": str(number)})
    _write_deployments(page, reports)


def _write_deployments(page: Page, reports: list[WorkerReport]) -> None:
    names = sorted({name for one in reports for name in one.deployments})[:500]
    seen: Mapping[str, list[tuple[int, int, int, int, int]]] = {
        name: [
            (_BREAKER.get(there.state, 0), int(there.paused), there.opened, there.in_flight, there.waiting)
            for one in reports
            if (there := one.deployments.get(name)) is not None
        ]
        for name in names
    }
    for place, (name, about) in enumerate(
        (
            ("headgate_breaker_state", "Worst over workers: 0 closed, 1 half open, 2 open."),
            ("headgate_deployment_paused", "Workers that leave it alone because the provider asked for that."),
            ("headgate_breaker_opened_total", "How often breakers opened."),
            ("headgate_deployment_in_flight", "Calls under way."),
            ("headgate_deployment_waiting", "Calls that wait for a place."),
        )
    ):
        page.family(name, "counter" if name.endswith("_total") else "gauge", about)
        for deployment, values in seen.items():
            column = [value[place] for value in values]
            page.sample(name, max(column) if place == 0 else sum(column), {"deployment": deployment})


def write_file(directory: Path, text: str) -> None:
    """Puts the page where workers find it, whole or not at all."""
    new = directory / f"{FILE}.{secrets.token_hex(4)}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(directory / FILE)
    except OSError:
        new.unlink(missing_ok=True)
        raise
