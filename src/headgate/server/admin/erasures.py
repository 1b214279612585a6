"""The admin API's route that erases an end user."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headgate.server.admin.route import Ask, Route
from headgate.stores.erase.user import Erased, Kept, Traces, UserErasure, check_user

SECONDS = 20.0
"""How long one request goes on with calls; whoever has more is asked to send it again."""


class EraseUser(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to erase."""

    user: Annotated[str, Meta(description="The id that calls were made for, sign by sign.")]
    dry_run: Annotated[bool, Meta(description="Only tell what there is.")] = False


class Erasure(msgspec.Struct):
    """What there is of a user, or what was erased."""

    id: Annotated[str | None, Meta(description="What the audit log calls it; null for a dry run.")]
    dry_run: bool
    done: Annotated[bool, Meta(description="False where there is more: send the request again, to go on.")]
    found: Traces
    kept: Kept
    overwritten: Annotated[
        bool, Meta(description="False where SQLite's log was in use, and holds pages of before for a while.")
    ]


def _show(erased: Erased, *, dry_run: bool) -> Erasure:
    done, overwritten = erased.done and not dry_run, erased.overwritten and not dry_run
    return Erasure(erased.id or None, dry_run, done, erased.found, erased.kept, overwritten)


def _erase(ask: Ask) -> Erasure:
    user = check_user(ask.body.user)
    if ask.body.dry_run:
        look = UserErasure(ask.desk.engine, ask.desk.data, user, ask.principal.key_id).look()
        return _show(look, dry_run=True)
    return _show(ask.registry.erase_user(ask.desk.data, user, SECONDS), dry_run=False)


ROUTES = (
    Route(
        method="POST",
        path="/erasures",
        name="erase_user",
        about="Erases what the store holds of one end user; counts, times and money of their calls stay.",
        role="admin",
        does=_erase,
        gives=Erasure,
        takes=EraseUser,
    ),
)
