"""The admin API's routes for the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headgate.server.admin.route import MOST, PAGE, Ask, Route, moment
from headgate.stores import audit


class Entry(msgspec.Struct):
    """One change: who, when, what, before and after; and what seals it."""

    seq: int
    time: datetime
    time_ns: Annotated[str, Meta(description="The same time in ns since 1970, as the hash has it.")]
    actor: Annotated[str, Meta(description="A key's id, `cli:USER`, or `keyless`.")]
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    previous: str
    hash: str


class Entries(msgspec.Struct):
    """A page of the log, newest first."""

    data: list[Entry]
    next: Annotated[int | None, Meta(description="Give it as `before` for the next page; null at the end.")]


class EntriesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which entries."""

    limit: Annotated[int, Meta(ge=1, le=MOST)] = PAGE
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None


class Head(msgspec.Struct):
    """The newest entry's hash: note it elsewhere."""

    head: str


class ProofQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What to prove."""

    head: Annotated[str, Meta(description="A head noted earlier, which must be in the log.")] = ""


class Proof(msgspec.Struct):
    """Whether the log is whole; if not, where it breaks, if that can be said, and why."""

    whole: bool
    entries: int
    head: str
    broken_at: int | None
    reason: str


def _list(ask: Ask) -> Entries:
    limit = ask.query.limit
    found = audit.list_entries(ask.desk.engine, limit + 1, ask.query.before)
    return Entries([_show(entry) for entry in found[:limit]], found[limit - 1].seq if len(found) > limit else None)


def _show(entry: audit.Entry) -> Entry:
    return Entry(
        entry.seq,
        moment(entry.time_ns),
        str(entry.time_ns),
        entry.actor,
        entry.action,
        entry.target,
        _json(entry.before),
        _json(entry.after),
        entry.previous,
        entry.hash,
    )


def _json(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"edited": text}  # verify tells; here it must still be possible to look


def _verify(ask: Ask) -> Proof:
    verdict = audit.verify(ask.desk.engine, ask.query.head)
    return Proof(verdict.whole, verdict.entries, verdict.head, verdict.broken_at, verdict.reason)


ROUTES = (
    Route(
        method="GET",
        path="/audit",
        name="list_audit",
        about="Lists the changes of keys, people and teams, newest first.",
        role="admin",
        does=_list,
        gives=Entries,
        query=EntriesQuery,
    ),
    Route(
        method="GET",
        path="/audit/head",
        name="get_audit_head",
        about="Tells the hash of the newest entry.",
        role="admin",
        does=lambda ask: Head(audit.head_of(ask.desk.engine)),
        gives=Head,
    ),
    Route(
        method="GET",
        path="/audit/verify",
        name="verify_audit",
        about="Proves that no entry of the log was edited, removed or moved.",
        role="admin",
        does=_verify,
        gives=Proof,
        query=ProofQuery,
    ),
)
