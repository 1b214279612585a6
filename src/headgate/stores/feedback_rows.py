"""Feedback as rows of the table ``feedback`` and back. Importing this loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, or_

from headgate.core.feedback import Feedback
from headgate.stores.schema import feedback

FEEDBACK_COLUMNS = ("id", "call_id", "time_ns", "key_id", "source", "trusted", "score", "label", "comment")


def feedback_row(given: Feedback) -> tuple[Any, ...]:
    """Returns the feedback as values of ``FEEDBACK_COLUMNS``."""
    return (
        given.id,
        given.call_id,
        given.time_ns,
        given.key_id,
        given.source,
        given.trusted,
        given.score,
        given.label or None,
        given.comment or None,
    )


def judges(call_id: str, key_id: str) -> ColumnElement[bool]:
    """Returns what holds of feedback that counts for this call: its own key's, or trusted."""
    return (feedback.c.call_id == call_id) & or_(feedback.c.trusted, feedback.c.key_id == key_id)


def plain_feedback(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row as plain values that JSON can hold."""
    return {
        "id": row["id"],
        "call_id": row["call_id"],
        "time": datetime.fromtimestamp(row["time_ns"] / 1e9, UTC).isoformat(timespec="milliseconds"),
        "time_ns": row["time_ns"],
        "key_id": row["key_id"],
        "source": row["source"],
        "score": row["score"],
        "label": row["label"],
        "comment": row["comment"],
    }
