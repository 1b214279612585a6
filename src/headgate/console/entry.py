"""Pages of coming and going: log out here or everywhere; and where a login may lead back to."""

from __future__ import annotations

import contextlib
import re
import time

from headgate.compose import Core
from headgate.console.page import Page, Redirect, Visit
from headgate.core.errors import BadRequest, Unavailable
from headgate.stores.sessions import close_session, close_sessions

_INSIDE = re.compile(r"/(?![/\\])[!-~]{0,500}")


def safe_return(to: str) -> str:
    """Returns a path below the console's root that a login may lead to: never another site."""
    return to if _INSIDE.fullmatch(to) and not to.startswith("/login") else "/"


def refresh(core: Core) -> None:
    """Makes a change hold in this worker at once; elsewhere it does at the next look, so too where this one fails."""
    with contextlib.suppress(Unavailable):
        core.keys.refresh()


def _leave(visit: Visit) -> Redirect:
    session = visit.visitor.session
    if session is not None:
        close = close_sessions if visit.form.get("everywhere") else close_session
        close(visit.desk.engine, session, time.time_ns())
    return Redirect("/login")


def _nowhere(visit: Visit) -> Redirect:
    raise BadRequest("There is no such page.", code="unknown_path")


PAGES = (
    Page(path="/logout", does=_leave, method="POST"),
    Page(path="/{rest:path}", does=_nowhere),  # the last of all
)
