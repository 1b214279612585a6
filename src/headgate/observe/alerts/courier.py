"""Couriers: deliver what the outbox holds, one thread per receiver that something is due for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from headgate.core.alert import AlertPlan, Receiver
from headgate.stores.outbox import Delivery, Outbox

_log = logging.getLogger("headgate.alerts")


def deliver(
    outbox: Outbox, receiver: Receiver, delivery: Delivery, time_ns: Callable[[], int], *, once: bool = False
) -> str:
    """Delivers one message and notes how that went. Returns "", or why it was not taken.

    ``once``: somebody waits for the result and is told it, so that it is neither logged nor tried again.
    """
    from headgate.observe.alerts.receivers.send import DeliveryError, send

    try:
        send(receiver, delivery.message, time_ns() // 1_000_000_000)
    except DeliveryError as error:
        again = outbox.failed(delivery, str(error), time_ns(), once=once)
        # Said at the first try and the last one: in between the outbox tells.
        if not once and (delivery.attempts == 1 or not again):
            what = "will be tried again" if again else "is given up after a day"
            _log.error("alert %s for %s %s: %s", delivery.event_id, receiver.name, what, error)
        return str(error)
    outbox.delivered(delivery, time_ns())
    return ""


class Couriers:
    """The threads; a receiver that is slow holds nobody else up."""

    def __init__(self, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._time_ns = time_ns
        self._threads: dict[str, threading.Thread] = {}
        self._stopping = threading.Event()

    def dispatch(self, outbox: Outbox, plan: AlertPlan) -> None:
        """Starts a courier for each receiver of the plan that something is due for; costs one query where nothing is.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        due = outbox.due(self._time_ns())
        for receiver in plan.receivers:
            running = self._threads.get(receiver.name)
            if receiver.name in due and (running is None or not running.is_alive()):
                thread = threading.Thread(
                    target=self._carry, args=(outbox, receiver), name=f"headgate-alerts-{receiver.name}", daemon=True
                )
                self._threads[receiver.name] = thread
                thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Lets what is under way end; what does not in time is delivered by a later recorder, with the same id."""
        self._stopping.set()
        until = time.monotonic() + timeout
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))

    def wait(self, timeout: float) -> None:
        """Waits until all couriers have nothing left to deliver."""
        until = time.monotonic() + timeout
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _carry(self, outbox: Outbox, receiver: Receiver) -> None:
        try:
            while not self._stopping.is_set():
                delivery = outbox.claim([receiver.name], self._time_ns())
                if delivery is None:
                    return
                deliver(outbox, receiver, delivery, self._time_ns)
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            _log.error("alerts for %s wait, the database does not answer: %s", receiver.name, type(cause).__name__)
