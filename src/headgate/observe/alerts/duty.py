"""What the recorder's process does for alerts, beside recording: a thread that looks at the rules every few seconds."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from headgate.stores.alert_plan import ALERTS
from headgate.stores.data import DataDir
from headgate.stores.live_store import Complaints, LiveStore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.core.alert import AlertPlan
    from headgate.observe.alerts.courier import Couriers
    from headgate.observe.alerts.watch import AlertWatch
    from headgate.stores.outbox import Outbox

_log = logging.getLogger("headgate.alerts")
_TICK_S = 0.5


class AlertDuty:
    """Goes by the plan that the gateway left in the data directory; does nothing, and loads nothing, without one."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-alerts", daemon=True)
        self._seen: tuple[int, int] | None = None
        self._plan: AlertPlan | None = None
        self._engine: Engine | None = None
        self._store = LiveStore(data)
        self._watch: AlertWatch | None = None
        self._couriers: Couriers | None = None
        self._complaints = Complaints(_log)

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
            watch, couriers, outbox = self._open()
            if time.monotonic() >= due:
                due = time.monotonic() + self._plan.every
                watch.look(time.time_ns())
            couriers.dispatch(outbox, self._plan)
        except Exception as error:  # a database may fail in any way; the alerts wait, and are tried again
            self._complaints.say("alerts wait", error)
            self._let_go()
            return time.monotonic() + 1.0
        return due

    def _read_plan(self) -> None:
        now = ALERTS.state(self._data.path)
        if now != self._seen:
            self._plan = ALERTS.load(self._data.path)
            self._seen = now
            self._watch = None

    def _open(self) -> tuple[AlertWatch, Couriers, Outbox]:
        from headgate.observe.alerts.courier import Couriers
        from headgate.observe.alerts.watch import AlertWatch
        from headgate.stores.outbox import Outbox

        assert self._plan is not None
        engine = self._store.open()
        if self._watch is None or engine is not self._engine:
            self._watch = AlertWatch(engine, self._data.owner, self._plan)
            self._engine = engine
        if self._couriers is None:
            self._couriers = Couriers()
        return self._watch, self._couriers, Outbox(engine)

    def _let_go(self) -> None:
        self._watch = self._engine = None
        self._store.close()
