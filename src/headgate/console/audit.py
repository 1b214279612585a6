"""The page of the audit log: who changed what and when, and whether the log is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.console.look import moment
from headgate.console.page import Page, View, Visit
from headgate.stores import audit

_ROWS = 50


def _show(visit: Visit) -> View:
    query, engine = visit.query, visit.desk.engine
    before = query.number("before", 0, 1) if query.get("before") else None
    found = audit.list_entries(engine, _ROWS + 1, before)
    data = {
        "entries": [(entry, list(_differences(entry))) for entry in found[:_ROWS]],
        "next": found[_ROWS - 1].seq if len(found) > _ROWS else None,
        "paged": before is not None,
        "verdict": audit.verify(engine, "") if query.get("verify") else None,
    }
    return View("audit.html", data)


def _differences(entry: audit.Entry) -> Iterator[tuple[str, str | None, str | None]]:
    """Yields what an entry changed: the field, its value before and after, as JSON; None where there was none."""
    before, after = _read(entry.before), _read(entry.after)
    for name in dict.fromkeys([*before, *after]):
        if name.endswith("_ns") and entry.before is None:
            continue
        old, new = before.get(name), after.get(name)
        if old != new and (old or new or entry.before is not None):
            yield name.removesuffix("_ns"), _word(old, name), _word(new, name)


def _read(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"edited": text}  # verify tells; here it must still be possible to look


def _word(value: Any, name: str) -> str | None:
    if name.endswith("_ns") and isinstance(value, int):
        return f"{moment(value)} UTC"
    return None if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


PAGES = (Page(path="/audit", does=_show, role="admin", title="Audit", group="Manage"),)
