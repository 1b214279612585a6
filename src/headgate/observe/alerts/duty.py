"""What the recorder's process does for alerts, beside recording: a thread that looks at the rules every few seconds."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from headgate.core.errors import HeadgateError
from headgate.stores.alert_plan import FILE, load_plan
from headgate.stores.data import DataDir
from headgate.stores.database import sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.core.alert import AlertPlan
    from headgate.observe.alerts.courier import Couriers
    from headgate.observe.alerts.watch import AlertWatch

_log = logging.getLogger("headgate.alerts")
_TICK_S = 0.5
_COMPLAIN_S = 60.0


class AlertDuty:
    """Goes by the plan that the gateway left in the data directory; does nothing, and loads nothing, without one."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-alerts", daemon=True)
        self._seen: tuple[int, int] | None = None
        self._plan: AlertPlan | None = None
        self._engine: Engine | None = None
        self._inode = 0
        self._watch: AlertWatch | None = None
        self._couriers: Couriers | None = None
        self._said = -_COMPLAIN_S

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Looks once more, delivers what it can in a few seconds, and ends. Idempotent."""
        if not self._stop.is_set():
            self._stop.set()
            if self._thread.is_alive():
                self._thread.join(15.0)

    def _run(self) -> None:
        due = 0.0
        while not self._stop.is_set():
            due = self._turn(due)
            self._stop.wait(_TICK_S)
        self._turn(0.0)
        if self._couriers is not None:
            self._couriers.close()
        self._let_go()

    def _turn(self, due: float) -> float:
        """Does what is to be done now. Returns when (monotonic) the rules are to be looked at next."""
        try:
            self._read_plan()
            if self._plan is None:
                return 0.0
            watch, couriers = self._open()
            if time.monotonic() >= due:
                due = time.monotonic() + self._plan.every
                watch.look(time.time_ns())
            couriers.dispatch(watch.store, self._plan)
        except Exception as error:  # a database may fail in any way; the alerts wait, and are tried again
            self._complain(error)
            self._let_go()
            return time.monotonic() + 1.0
        return due

    def _read_plan(self) -> None:
        try:
            state = (self._data.path / FILE).stat()
            now: tuple[int, int] | None = (state.st_mtime_ns, state.st_ino)
        except FileNotFoundError:
            now = None
        if now != self._seen:
            self._plan = load_plan(self._data.path) if now is not None else None
            self._seen = now
            self._watch = None

    def _open(self) -> tuple[AlertWatch, Couriers]:
        from headgate.observe.alerts.courier import Couriers
        from headgate.observe.alerts.watch import AlertWatch

        assert self._plan is not None
        if self._engine is not None and self._file_inode() != self._inode:
            self._let_go()  # the database was deleted or replaced
        if self._engine is None:
            self._engine = self._data.open_engine()
            self._inode = self._file_inode()
        if self._watch is None:
            self._watch = AlertWatch(self._engine, self._data.owner, self._plan)
        if self._couriers is None:
            self._couriers = Couriers()
        return self._watch, self._couriers

    def _let_go(self) -> None:
        self._watch = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _file_inode(self) -> int:
        path = sqlite_path(self._data.url)
        try:
            return path.stat().st_ino if path is not None else 0
        except FileNotFoundError:
            return -1

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._said < _COMPLAIN_S:
            return
        self._said = now
        if isinstance(error, HeadgateError):
            _log.error("alerts wait: %s", error.message)
        else:
            cause = getattr(error, "orig", None) or error
            _log.error("alerts wait: %s: %s", type(cause).__name__, cause)
