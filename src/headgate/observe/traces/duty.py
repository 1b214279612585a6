"""What the recorder's process does for traces, beside recording: a thread that sends what is stored to a collector."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headgate.observe.metrics.text import Page, counter, gauge
from headgate.observe.traces.pending import PendingCalls
from headgate.stores.data import DataDir
from headgate.stores.live_store import Complaints
from headgate.stores.trace_plan import TRACES

if TYPE_CHECKING:
    from headgate.core.record import Record
    from headgate.core.trace import TracePlan
    from headgate.observe.traces.exporter import Exporter
    from headgate.observe.traces.source import StoreSource
    from headgate.stores.recorder import Stored

FOLDER = "traces"
_TICK_S = 0.2
_LOOK_S = 0.5
_LAST_S = 5.0
_NOT_YET = (-1, -1)
_log = logging.getLogger("headgate.traces")


class TracesDuty:
    """Goes by the plan that the gateway left in the data directory; does nothing, and loads nothing, without one."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-traces", daemon=True)
        self._seen: tuple[int, int] | None = _NOT_YET
        self._plan: TracePlan | None = None
        self._pending: PendingCalls | None = None
        self._exporter: Exporter | None = None
        self._source: StoreSource | None = None
        self._lost = 0
        self._complaints = Complaints(_log)

    @property
    def plan(self) -> TracePlan | None:
        """What is exported now, None for nothing."""
        return self._plan

    @property
    def pending(self) -> int:
        """How many stored calls are not exported yet."""
        return self._pending.waiting if self._pending is not None else 0

    def start(self) -> None:
        """Reads the plan, so that nothing is stored without it being known, and begins."""
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Sends what it can in a few seconds, and ends; the rest waits for the next recorder. Idempotent."""
        if not self._stop.is_set():
            self._stop.set()
            if self._thread.is_alive():
                self._thread.join(3 * _LAST_S)

    def storing(self, records: list[Record]) -> None:
        """Notes calls that are about to be stored; called by the recorder's own thread."""
        if self._plan is None or self._pending is None:
            return
        try:
            self._pending.append([record.id for record in records])
        except OSError as error:
            self._lost += len(records)
            self._complaints.say(f"{len(records)} calls will have no traces", error)

    def stored(self, stored: Stored) -> None:
        """Lets go what is in the store now; called by the recorder's own thread."""
        if self._plan is None or self._pending is None or self._exporter is None:
            return
        if self._pending.commit():
            self._exporter.keep(stored.records)

    def write(self, page: Page) -> None:
        """Writes the families about traces; nothing where there is no plan."""
        exporter, pending = self._exporter, self._pending
        if exporter is None or pending is None or self._plan is None:
            return
        counts = exporter.counts
        gauge(page, "headgate_traces_pending_calls", "Stored calls that are not exported yet.", pending.waiting)
        counter(page, "headgate_traces_calls_total", "Calls whose spans a collector has taken.", counts.calls)
        counter(page, "headgate_traces_spans_total", "Spans that a collector has taken.", counts.spans)
        counter(page, "headgate_traces_unsampled_calls_total", "Calls of traces left out.", counts.sampled_out)
        counter(page, "headgate_traces_failures_total", "Requests that no collector took.", counts.failures)
        page.family("headgate_traces_dropped_total", "counter", "What is never exported, by reason.")
        for reason, count in counts.dropped.items():
            count += self._lost if reason == "disk" else 0
            page.sample("headgate_traces_dropped_total", count, {"reason": reason})

    def _run(self) -> None:
        looked = sent = time.monotonic()
        while not self._stop.wait(_TICK_S):
            now = time.monotonic()
            if now - looked >= _LOOK_S:
                looked = now
                self._look()
            if self._plan is not None and now - sent >= self._plan.every:
                sent = now
                self._send(self._stop.is_set)
        until = time.monotonic() + _LAST_S
        self._send(lambda: time.monotonic() >= until, _LAST_S)
        if self._source is not None:
            self._source.close()

    def _look(self) -> None:
        """Goes by another plan, once there is one."""
        try:
            now = TRACES.state(self._data.path)
            if now == self._seen:
                return
            self._seen = now
            plan = TRACES.load(self._data.path)
            if plan is not None:
                self._open()
            self._plan = plan
            if plan is None:
                self._forget()
        except Exception as error:  # an unreadable file, a library that is missing: no reason to stop recording
            self._complaints.say("traces wait", error)

    def _open(self) -> None:
        from headgate.observe.traces.exporter import Exporter
        from headgate.observe.traces.mapper import SERVICE_INSTANCE, SERVICE_VERSION
        from headgate.observe.traces.sender import post
        from headgate.observe.traces.source import StoreSource

        if self._exporter is not None:
            return
        version = importlib.metadata.version("headgate")
        self._pending = PendingCalls(self._data.path / FOLDER)
        self._source = StoreSource(self._data)
        fixed = {SERVICE_VERSION: version, SERVICE_INSTANCE: self._data.owner}
        send = functools.partial(post, version=version)
        self._exporter = Exporter(self._pending, self._source, send, fixed, version)

    def _forget(self) -> None:
        """Nobody wants traces any more: what waits would else go out whenever they are wanted again."""
        pending = self._pending or PendingCalls(self._data.path / FOLDER)
        if self._exporter is not None:
            self._exporter.forget()
        forgotten = pending.clear()
        if forgotten:
            _log.warning("traces are switched off: %d calls that waited are not exported", forgotten)

    def _send(self, halted: Callable[[], bool], timeout: float | None = None) -> None:
        plan, exporter = self._plan, self._exporter
        if plan is None or exporter is None:
            return
        try:
            exporter.run(plan, halted, timeout)
        except Exception as error:  # a database may fail in any way; the traces wait, and are tried again
            if self._source is not None:
                self._source.close()
            self._complaints.say("traces wait", error)
