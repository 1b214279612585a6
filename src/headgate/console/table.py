"""The one table of the console's pages: it is served, shown as the menu and tested from here."""

from __future__ import annotations

from headgate.console import (
    alerts,
    audit,
    calls,
    entry,
    feedback,
    keys,
    limits,
    models,
    overview,
    playground,
    replay,
    settings,
    spend,
    story,
    traces,
)
from headgate.console.page import Page
from headgate.core.terms import has_role

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *calls.PAGES,
    *story.PAGES,
    *replay.PAGES,
    *feedback.PAGES,
    *traces.PAGES,
    *models.PAGES,
    *spend.PAGES,
    *alerts.PAGES,
    *playground.PAGES,
    *keys.PAGES,
    *limits.PAGES,
    *audit.PAGES,
    *settings.PAGES,
    *entry.PAGES,
)
_GROUPS = ("Watch", "Run", "Try", "Manage")


def menu(role: str) -> list[tuple[str, list[Page]]]:
    """Returns the groups of the menu, and the pages in each that this role may see."""
    shown = [page for page in PAGES if page.group and has_role(role, page.role)]
    groups = [(group, [page for page in shown if page.group == group]) for group in _GROUPS]
    return [(group, pages) for group, pages in groups if pages]
