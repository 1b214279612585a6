"""The alert plan of a data directory: rules and receivers, see ``plan_file``."""

from __future__ import annotations

from headgate.core.alert import AlertPlan
from headgate.stores.plan_file import PlanFile

ALERTS = PlanFile("alerts.json", AlertPlan)
