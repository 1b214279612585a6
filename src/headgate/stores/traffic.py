"""Recorded traffic as arrivals: when calls came and how large they were. Importing this loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Engine, and_, func, select

from headgate.core.record import LOAD_TAG
from headgate.stores.schema import calls

_ANSWERED = ("openai_chat", "anthropic")


def measure(engine: Engine, since_ns: int, until_ns: int) -> tuple[int, int, int]:
    """Returns how many conversations there were, and when the first and the last one came (ns; 0 where none did)."""
    count, first, last = func.count(), func.min(calls.c.time_ns), func.max(calls.c.time_ns)
    with engine.connect() as connection:
        row = connection.execute(select(count, first, last).where(_wanted(since_ns, until_ns))).one()
    return int(row[0]), int(row[1] or 0), int(row[2] or 0)


def read(engine: Engine, since_ns: int, until_ns: int) -> Iterator[tuple[int, int, int, bool, str]]:
    """Yields conversations in the order of their time: ns, input tokens, output tokens, streamed, model."""
    c = calls.c
    query = select(c.time_ns, c.input_tokens, c.output_tokens, c.stream, c.model).where(_wanted(since_ns, until_ns))
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=500).execute(query.order_by(c.time_ns, c.n))
        for row in rows:
            yield row.time_ns, row.input_tokens, row.output_tokens, bool(row.stream), row.model


def _wanted(since_ns: int, until_ns: int) -> ColumnElement[bool]:
    c = calls.c
    real = c.tags.is_(None) | c.tags.not_like(f'%"{LOAD_TAG}"%')
    sized = c.input_tokens.is_not(None) & c.output_tokens.is_not(None)
    return and_(c.time_ns >= since_ns, c.time_ns < until_ns, c.dialect.in_(_ANSWERED), sized, real)
