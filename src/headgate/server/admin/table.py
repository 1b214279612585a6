"""The one table of the admin API's routes: it is served, documented and tested from here."""

from __future__ import annotations

from headgate.server.admin import (
    alerts,
    audit,
    budgets,
    erasures,
    feedback,
    keys,
    limits,
    models,
    openapi,
    people,
    records,
    replay,
    stats,
)
from headgate.server.admin.route import Ask, Route

ROUTES: tuple[Route, ...] = (
    *keys.ROUTES,
    *people.ROUTES,
    *limits.ROUTES,
    *budgets.ROUTES,
    *audit.ROUTES,
    *erasures.ROUTES,
    *alerts.ROUTES,
    *records.ROUTES,
    *stats.ROUTES,
    *feedback.ROUTES,
    *replay.ROUTES,
    *models.ROUTES,
    Route(
        method="GET",
        path="/openapi.json",
        name="get_openapi",
        about="Describes this API as an OpenAPI 3.1 document.",
        role="viewer",
        does=lambda ask: _document(ask),
        gives=dict,
    ),
)


def _document(_: Ask) -> dict[str, object]:
    return openapi.describe(ROUTES)
