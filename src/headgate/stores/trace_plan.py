"""The trace plan of a data directory: what is exported, and where to; see ``plan_file``."""

from __future__ import annotations

from headgate.core.trace import TracePlan
from headgate.stores.plan_file import PlanFile

TRACES = PlanFile("traces.json", TracePlan)
