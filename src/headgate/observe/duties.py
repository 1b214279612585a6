"""What the recorder's process does beside recording (``python -m headgate.stores.recorder_process --duties``)."""

from __future__ import annotations

from typing import Any

from headgate.observe.alerts.duty import AlertDuty
from headgate.observe.metrics.duty import MetricsDuty
from headgate.observe.traces.duty import TracesDuty
from headgate.stores.data import DataDir


def duties(data: DataDir) -> list[Any]:
    """Returns the duties: each has ``start`` and ``close``; one with ``stored`` is told of every stored batch.

    One with ``storing`` is told of it before, too.
    """
    traces = TracesDuty(data)
    return [AlertDuty(data), MetricsDuty(data, traces.write), traces]
