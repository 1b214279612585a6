"""The pages of keys: who has which, make, change, rotate, revoke."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from headgate.console.page import Page, Redirect, Result, View, Visit, Words
from headgate.core.errors import BadRequest
from headgate.core.terms import ROLES
from headgate.stores.change import Once
from headgate.stores.keys import KeyChange, KeyInfo, KeySpec
from headgate.stores.registry import NewKey, Registry
from headgate.stores.words import PAYLOAD_POLICIES

_ROWS = 100
_LISTS = ("models", "networks", "required_tags")
_TEXTS = ("name", "role", "user", "team", "feature", "payloads", "owner")


def _registry(visit: Visit, once: str = "") -> Registry:
    actor = visit.visitor.actor
    return Registry(visit.desk.engine, actor, once=Once(actor, f"console {once}", b"key") if once else None)


def _list(visit: Visit) -> View:
    return _listed(visit, {}, "")


def _listed(visit: Visit, given: dict[str, str], problem: str) -> View:
    after = visit.query.get("after").partition("-")
    cursor = (int(after[0]), after[2]) if after[0].isascii() and after[0].isdigit() and after[2] else None
    found = _registry(visit).list_keys(limit=_ROWS + 1, after=cursor)
    now = time.time_ns()
    data = {
        "keys": [(info, info.state(now)) for info in found[:_ROWS]],
        "next": f"{found[_ROWS - 1].created_ns}-{found[_ROWS - 1].id}" if len(found) > _ROWS else "",
        "given": given,
        "problem": problem,
        "once": secrets.token_hex(16),
        "choices": _choices(visit),
    }
    return View("keys.html", data, 400 if problem else 200)


def _choices(visit: Visit) -> dict[str, Any]:
    registry = _registry(visit)
    return {
        "roles": ROLES,
        "payloads": PAYLOAD_POLICIES,
        "models": list(visit.desk.core.settings.models),
        "teams": [team.name for team in registry.list_teams()],
        "owners": [user.name for user in registry.list_users()],
    }


def _fields(form: Words) -> dict[str, Any]:
    """Returns what a form says a key is to be."""
    fields: dict[str, Any] = {name: form.get(name) for name in _TEXTS}
    fields["expires"] = form.get("expires") or None
    fields["direct"] = bool(form.get("direct"))
    for name in _LISTS:
        words = [word for word in re.split(r"[\s,]+", form.get(name)) if word]
        fields[name] = words if words or name == "required_tags" else None
    return fields


def _create(visit: Visit) -> Result:
    form = visit.form
    try:
        made = _registry(visit, form.get("once")).create_key(KeySpec(**_fields(form)))
    except BadRequest as error:
        return _listed(visit, dict(form.pairs), error.message)
    return _told(made, "made")


def _told(made: NewKey, how: str) -> View:
    return View("key_made.html", {"key": made.info, "secret": made.secret, "how": how})


def _one(visit: Visit) -> View:
    return _shown(visit, _registry(visit).find_key(visit.path["id"]), "")


def _shown(visit: Visit, info: KeyInfo, problem: str) -> View:
    data = {
        "key": info,
        "state": info.state(time.time_ns()),
        "lists": {name: "\n".join(getattr(info, name) or ()) for name in _LISTS},
        "problem": problem,
        "limits": _registry(visit).list_limits(scope="key", value=info.id),
        "choices": _choices(visit),
    }
    return View("key.html", data, 400 if problem else 200)


def _with_key(change: Callable[[Visit, KeyInfo], Result]) -> Callable[[Visit], Result]:
    """Changes a key; a mistake is told on its page."""

    def does(visit: Visit) -> Result:
        info = _registry(visit).find_key(visit.path["id"])
        try:
            return change(visit, info)
        except BadRequest as error:
            return _shown(visit, info, error.message)

    return does


def _update(visit: Visit, info: KeyInfo) -> Result:
    fields = _fields(visit.form)
    if not visit.form.get("expires"):
        del fields["expires"]  # empty: it stays; "never" takes it away
    elif visit.form.get("expires") == "never":
        fields["expires"] = None
    given = {name: value for name, value in fields.items() if value != getattr(info, name, None)}
    _registry(visit).update_key(info.id, KeyChange(**given))
    return Redirect(f"/keys/{info.id}")


def _rotate(visit: Visit, info: KeyInfo) -> Result:
    return _told(_registry(visit).rotate_key(info.id, visit.form.get("overlap", "1h")), "rotated")


def _revoke(visit: Visit, info: KeyInfo) -> Result:
    _registry(visit).revoke_key(info.id)
    return Redirect(f"/keys/{info.id}")


PAGES = (
    Page(path="/keys", does=_list, role="admin", title="Keys", group="Manage"),
    Page(path="/keys", does=_create, role="admin", title="Keys", method="POST"),
    Page(path="/keys/{id}", does=_one, role="admin", title="Key"),
    Page(path="/keys/{id}/update", does=_with_key(_update), role="admin", title="Key", method="POST"),
    Page(path="/keys/{id}/rotate", does=_with_key(_rotate), role="admin", title="Key", method="POST"),
    Page(path="/keys/{id}/revoke", does=_with_key(_revoke), role="admin", title="Key", method="POST"),
)
