"""The payload store: what calls asked and were answered, compressed, and the words in it for a search.

A payload's ``body`` is zlib over msgpack ``[request, response, text]``; ``text`` is what both say, redacted, and what
the search index was made of: SQLite's FTS5 keeps no copy, and has to be told it again when a row is deleted.
Importing this loads SQLAlchemy.
"""

from __future__ import annotations

import logging
import time
import unicodedata
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, bindparam, delete, select

from headgate.guards.redactor import Redactor
from headgate.stores.database import chunks, insert_new
from headgate.stores.journal.framing import PayloadEntry
from headgate.stores.schema import payloads

TEXT_LIMIT = 64 * 1024
"""Characters of a call that are searched; the rest of a longer one is kept, and not found."""

_LEVEL = 3
_BATCH = 500
_LONGEST_WORD = 128
_log = logging.getLogger("headgate.recorder")


class Body(msgspec.Struct, array_like=True):
    """What a row's ``body`` holds. New fields go at the end with a default."""

    request: bytes
    response: bytes
    text: str = ""


class Payload(msgspec.Struct, frozen=True):
    """A call's payloads as they are to be stored. ``policy`` is ``"full"`` or ``"redacted"``, ``size`` in bytes."""

    call_id: str
    policy: str
    body: bytes
    size: int
    text: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Body).decode


def pack(call_id: str, policy: str, request: bytes, response: bytes, text: str) -> Payload:
    """Returns a payload ready to be stored. ``text`` must be redacted."""
    words = searchable(text)
    body = zlib.compress(_encode(Body(request, response, words)), _LEVEL)
    return Payload(call_id, policy, body, len(request) + len(response), words)


def unpack(body: bytes) -> Body:
    """Returns what a row's ``body`` holds."""
    return _decode(zlib.decompress(body))


def searchable(text: str) -> str:
    """Returns a text as it is searched: words of letters and digits in lower case, one space between two."""
    text = text[:TEXT_LIMIT]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    lower = text.lower().replace("\x00", " ").replace("_", " ")
    signs = {ord(sign): " " for sign in set(lower) if not (sign.isalnum() or unicodedata.category(sign)[0] == "M")}
    return " ".join([word[:_LONGEST_WORD] for word in lower.translate(signs).split()])


def clean_payload(redactor: Redactor, entry: PayloadEntry) -> Payload | None:
    """Returns a call's payloads as its policy lets them be stored; None where they can not be redacted."""
    try:
        request = redactor.body(entry.request)
        response = redactor.body(entry.response)
    except Exception as error:  # nothing of it may be kept, and the journal must go on
        _log.error("the payloads of %s can not be redacted and are dropped (%s)", entry.call_id, type(error).__name__)
        return None
    text = f"{request.text}\n{response.text}"
    if entry.policy == "full":
        return pack(entry.call_id, "full", entry.request, entry.response, text)
    return pack(entry.call_id, "redacted", request.data, response.data, text)


class PayloadWriter:
    """Writes payloads and their words, inside whatever transaction it is given."""

    def __init__(self, engine: Engine) -> None:
        self._postgres = engine.dialect.name == "postgresql"
        names = ("n", "call_id", "stored_ns", "policy", "size", "stored", "body")
        new = insert_new(engine, payloads).values({name: bindparam(name) for name in names})
        self._insert = new.on_conflict_do_nothing()
        there = f"WHERE EXISTS (SELECT 1 FROM payloads WHERE n = {'%(n)s' if self._postgres else ':n'}"
        there += f" AND call_id = {'%(call_id)s' if self._postgres else ':call_id'})"
        if self._postgres:
            self._words = (
                "INSERT INTO payload_words (n, words)"
                f" SELECT %(n)s, to_tsvector('simple', %(text)s::text) {there} ON CONFLICT DO NOTHING"
            )
        else:
            self._words = f"INSERT INTO payload_words (rowid, words) SELECT :n, :text {there}"

    def run(self, connection: Connection, items: Sequence[Payload], now_ns: int | None = None) -> int:
        """Writes payloads; those of a call that has some already stay as they are.

        Args:
            connection: in a transaction.
            items: what to write.
            now_ns: the time of storing, in ns since 1970; None for now.

        Returns:
            How many there were.
        """
        if not items:
            return 0
        now_ns = time.time_ns() if now_ns is None else now_ns
        rows = [
            {
                "n": n,
                "call_id": item.call_id,
                "stored_ns": now_ns,
                "policy": item.policy,
                "size": item.size,
                "stored": len(item.body),
                "body": item.body,
                "text": item.text,
            }
            for n, item in zip(self._numbers(connection, len(items)), items, strict=True)
        ]
        connection.execute(self._insert, [{k: v for k, v in row.items() if k != "text"} for row in rows])
        words: Any = [{"n": row["n"], "call_id": row["call_id"], "text": row["text"]} for row in rows]
        connection.exec_driver_sql(self._words, words)
        return len(items)

    def _numbers(self, connection: Connection, count: int) -> list[int]:
        """Numbers that nobody else has: on SQLite there is one writer at a time."""
        if self._postgres:
            sql = f"SELECT nextval('payloads_n_seq') FROM generate_series(1, {count})"
            return [int(row[0]) for row in connection.exec_driver_sql(sql)]
        last = int(connection.exec_driver_sql("SELECT coalesce(max(n), 0) FROM payloads").scalar_one())
        return list(range(last + 1, last + 1 + count))


def delete_payloads(connection: Connection, numbers: Sequence[int]) -> None:
    """Deletes payloads by their numbers, and what a search would find of them."""
    c = payloads.c
    for some in chunks(numbers, _BATCH):
        if connection.dialect.name == "postgresql":
            sql = "DELETE FROM payload_words WHERE n = ANY(%(numbers)s)"
            connection.exec_driver_sql(sql, {"numbers": list(some)})
        else:
            rows: Any = [(row.n, unpack(row.body).text) for row in connection.execute(_with_bodies(some))]
            if rows:
                forget = "INSERT INTO payload_words (payload_words, rowid, words) VALUES ('delete', ?, ?)"
                connection.exec_driver_sql(forget, rows)
        connection.execute(delete(payloads).where(c.n.in_(some)))


def _with_bodies(numbers: Sequence[int]) -> Any:
    return select(payloads.c.n, payloads.c.body).where(payloads.c.n.in_(numbers))
