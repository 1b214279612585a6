"""What the recorder's process does beside recording (``python -m headgate.stores.recorder --duties``)."""

from __future__ import annotations

from typing import Any

from headgate.observe.alerts.duty import AlertDuty
from headgate.observe.metrics.duty import MetricsDuty
from headgate.stores.data import DataDir


def duties(data: DataDir) -> list[Any]:
    """Returns the duties: each has ``start`` and ``close``; one with ``stored`` is told of every stored batch."""
    return [AlertDuty(data), MetricsDuty(data)]
