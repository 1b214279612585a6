"""Records as rows of ``calls`` and back: columns for what is filtered or counted, one blob for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from headgate.core.price import Rates
from headgate.core.record import LOAD_TAG, RECORD_VERSION, AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.stores.detail import encode_detail, has_note, read_detail

COLUMNS = (
    "id",
    "time_ns",
    "key_id",
    "user_id",
    "team",
    "feature",
    "trace",
    "session",
    "tags",
    "dialect",
    "model",
    "deployment",
    "tried",
    "stream",
    "outcome",
    "status",
    "error",
    "finish",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "first_content_us",
    "duration_us",
    "detail",
    "cost",
    "lost_cost",
    "unpriced",
    "prompt",
)

ERASED = "erased"
"""The note of a call whose person was erased."""

STRIPPED = ("user_id", "trace", "session", "tags", "detail")
"""The columns that ``strip`` changes."""

_COUNTED_NOTES = ("cache", "degraded", "degraded_for")
_INT32 = (1 << 31) - 1
_WIDE = frozenset({"time_ns", "first_content_us", "duration_us", "cost", "lost_cost"})
_SMALL = frozenset({"status", "unpriced"})


_encode_tags = msgspec.json.Encoder(order="sorted").encode


def deployment_of(record: Record) -> str | None:
    """Returns the deployment that answered, else the last one tried, None if there was none."""
    if not record.attempts:
        return None
    return record.attempts[record.winner if record.winner < len(record.attempts) else -1].deployment


def to_row(record: Record) -> tuple[Any, ...]:
    """Returns the Record as values of ``COLUMNS``."""
    usage = record.usage
    attempts = record.attempts
    deployment = deployment_of(record)
    tried = _others(attempts, deployment) if len(attempts) > 1 else None
    lost_cost = sum([one.cost or 0 for n, one in enumerate(attempts) if n != record.winner]) or None
    return (
        record.id,
        record.time_ns,
        record.key_id,
        record.user or None,
        record.team or None,
        record.feature or None,
        record.trace or None,
        record.session or None,
        _encode_tags(record.tags).decode() if record.tags else None,
        record.dialect,
        record.model,
        deployment,
        tried,
        record.stream,
        record.outcome,
        record.status,
        record.error or None,
        record.finish or None,
        None if usage is None else usage.input,
        None if usage is None else usage.output,
        None if usage is None else usage.cached,
        record.first_content_us,
        record.duration_us,
        encode_detail(record),
        record.cost,
        lost_cost,
        sum([attempt.unpriced for attempt in attempts]) or None,
        record.prompt or None,
    )


def _others(attempts: list[AttemptRecord], deployment: str | None) -> str | None:
    """The other deployments that were tried, between bars, for a LIKE."""
    others = {attempt.deployment for attempt in attempts if attempt.deployment != deployment}
    return f"|{'|'.join(sorted(others))}|" if others else None


def to_record(row: Mapping[str, Any]) -> Record:
    """Returns a row of ``calls`` as the Record that it was made of; what a cut was lost in the row stays lost."""
    detail = read_detail(row)
    return Record(
        row["id"],
        row["time_ns"],
        RECORD_VERSION,
        row["key_id"],
        detail.key_name,
        row["user_id"] or "",
        row["team"] or "",
        row["feature"] or "",
        msgspec.json.decode(row["tags"], type=dict[str, str]) if row["tags"] else {},
        row["trace"] or "",
        row["session"] or "",
        detail.priority,
        row["dialect"],
        row["model"],
        bool(row["stream"]),
        row["outcome"],
        row["status"],
        row["error"] or "",
        detail.error_message,
        detail.fault,
        row["finish"] or "",
        detail.wire_finish,
        detail.usage,
        detail.attempts,
        detail.winner,
        row["first_content_us"],
        row["duration_us"],
        detail.request_bytes,
        detail.response_bytes,
        detail.max_tokens,
        detail.lost,
        detail.payloads,
        detail.notes,
        row["cost"],
        row["prompt"] or "",
        detail.parent,
    )


def is_erased(detail: bytes) -> bool:
    """Whether a row's ``detail`` is that of a call that was stripped of its person (see ``strip``)."""
    return has_note(detail, ERASED)


def strip(record: Record) -> None:
    """Takes a call's person out of its Record: who it was for, and whatever came from there or from the model.

    What is counted stays: key, team, feature, prompt, model, attempts, usage, cost, times, status, error codes.
    """
    record.user = record.trace = record.parent = record.session = record.error_message = ""
    record.tags = {name: value for name, value in record.tags.items() if name == LOAD_TAG}
    record.lost, record.payloads = [], "none"
    notes = record.notes.items()
    kept = {name: value for name, value in notes if name in _COUNTED_NOTES and isinstance(value, str)}
    record.notes = {**kept, ERASED: True}
    for attempt in record.attempts:
        attempt.error_message = attempt.upstream_id = ""
        attempt.lost = []


def fit_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns a row that a strict database refused, its integers and words cut to what every column can hold."""
    return tuple(_fit(name, value) for name, value in zip(COLUMNS, row, strict=True))


def _fit(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, int) and not isinstance(value, bool):
        largest = (1 << 63) - 1 if name in _WIDE else (1 << 15) - 1 if name in _SMALL else _INT32
        return max(-1, min(value, largest))
    return value


def to_story(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row of ``calls`` as the whole story of its call, in plain values that JSON can hold."""
    detail = read_detail(row)
    attempts = [msgspec.structs.asdict(attempt) for attempt in detail.attempts]
    for attempt in attempts:
        attempt["usage"] = _plain(attempt["usage"])
        attempt["rates"] = _plain(attempt["rates"])
    return {
        "id": row["id"],
        "time": datetime.fromtimestamp(row["time_ns"] / 1e9, UTC).isoformat(timespec="milliseconds"),
        "time_ns": row["time_ns"],
        "outcome": row["outcome"],
        "status": row["status"],
        "model": row["model"],
        "deployment": row["deployment"],
        "dialect": row["dialect"],
        "stream": bool(row["stream"]),
        "finish": row["finish"],
        "wire_finish": detail.wire_finish,
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cached_tokens": row["cached_tokens"],
        "usage": _plain(detail.usage),
        "cost": row["cost"],
        "lost_cost": row["lost_cost"] or 0,
        "unpriced": row["unpriced"] or 0,
        "error": row["error"],
        "error_message": detail.error_message or None,
        "fault": detail.fault or None,
        "first_content_us": row["first_content_us"],
        "duration_us": row["duration_us"],
        "key_id": row["key_id"],
        "key_name": detail.key_name,
        "user": row["user_id"],
        "team": row["team"],
        "feature": row["feature"],
        "prompt": row["prompt"],
        "tags": msgspec.json.decode(row["tags"], type=dict[str, str]) if row["tags"] else {},
        "trace": row["trace"],
        "parent": detail.parent or None,
        "session": row["session"],
        "priority": detail.priority,
        "request_bytes": detail.request_bytes,
        "response_bytes": detail.response_bytes,
        "max_tokens": detail.max_tokens,
        "lost": detail.lost,
        "payloads": detail.payloads,
        "notes": detail.notes,
        "winner": detail.winner,
        "attempts": attempts,
    }


def _plain(struct: Usage | Rates | None) -> dict[str, Any] | None:
    return None if struct is None else msgspec.structs.asdict(struct)
