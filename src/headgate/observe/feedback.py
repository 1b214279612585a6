"""Takes feedback: finds the call that it is about, says whose it is, and has the journal keep it.

A call may be so new that the store does not know it: its Record is in the journal, of another machine perhaps. Feedback
on it is kept as ``pending`` and counts from when the Record is there, if the key that gave it may judge that call.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from headgate.core.call import Principal
from headgate.core.clock import made_ms
from headgate.core.errors import BadRequest, ConfigError, Forbidden, Unavailable
from headgate.core.feedback import Feedback, make_feedback
from headgate.core.ports import Journal
from headgate.core.terms import has_role
from headgate.dialects.fields import read_fields
from headgate.stores.data import DataDir
from headgate.stores.database import Reader, open_reader

_FRESH_MS = 3_600_000
"""How old a call may be that the store does not know yet, before it is called unknown."""
_AHEAD_MS = 300_000
_LOOKS = (0.1, 0.2, 0.4)
"""Waits (s) for a Record that is on its way."""
_REMEMBERED = 10_000


class FeedbackGiven(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What ``POST /v1/feedback`` takes: the call's ``id`` (its ``x-headgate-id``), and what is thought of it."""

    id: str
    score: float | None = None
    label: str = ""
    comment: str = ""


class FeedbackTaken(msgspec.Struct):
    """What became of it.

    Attributes:
        id: the feedback's own id.
        call_id: of the call.
        pending: the call's Record is not in the store yet; the feedback counts once it is.
        replayed: the same feedback had been given before, and is kept once.
    """

    id: str
    call_id: str
    score: float | None
    label: str
    comment: str
    pending: bool = False
    replayed: bool = False


def read_feedback(raw: bytes) -> FeedbackGiven:
    """Returns a request's body.

    Raises:
        BadRequest: no JSON object, a field twice, unknown or missing, or of the wrong type.
    """
    read_fields(raw)
    try:
        return msgspec.json.decode(raw, type=FeedbackGiven)
    except msgspec.ValidationError as error:
        known = ", ".join(FeedbackGiven.__struct_fields__)
        message = f"This is no feedback: {str(error)[:300]}. Its fields are {known}."
        raise BadRequest(message, code="invalid_feedback") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None


class Feedbacks:
    """The one way in for feedback of server and library."""

    def __init__(self, data: DataDir | None, journal: Journal) -> None:
        """Args:
        data: whose store knows the calls; None for a gateway without one, which takes none.
        journal: where feedback goes.
        """
        self._data = data
        self._journal = journal
        self._thread: ThreadPoolExecutor | None = None
        self._reader: Reader | None = None
        self._taken: OrderedDict[str, Feedback] = OrderedDict()

    async def give(
        self,
        principal: Principal,
        call_id: str,
        *,
        score: float | None = None,
        label: str = "",
        comment: str = "",
        once: str = "",
        review: bool = False,
    ) -> FeedbackTaken:
        """Takes one feedback; returns once it can no longer be lost.

        Args:
            principal: who gives it.
            call_id, score, label, comment, once: see ``core.feedback.make_feedback``.
            review: whether it comes from somebody who looks at calls (a developer, by the admin API), not from the
                one who made it.

        Raises:
            BadRequest: ``invalid_feedback``, ``record_not_found``, ``idempotency_conflict``.
            Forbidden: another key made the call (``not_your_call``).
            Unavailable: the journal does not take it.
        """
        if self._data is None:
            raise Unavailable("This gateway has no store, so it keeps no feedback.", code="store_unavailable")
        trusted = review or not principal.key_id or has_role(principal.role, "admin")
        feedback = make_feedback(
            call_id,
            time_ns=time.time_ns(),
            key_id=principal.key_id,
            score=score,
            label=label,
            comment=comment,
            source="review" if review else "caller",
            trusted=trusted,
            once=once,
        )
        made_ms = _made_at(call_id)
        key_id = await self._find_key(call_id, made_ms)
        if key_id is not None and not trusted and key_id != principal.key_id:
            raise Forbidden(
                f"The call {call_id} was made with another key; feedback comes from the call's own, or an admin's.",
                code="not_your_call",
            )
        before = self._taken.get(feedback.id) or await self._look(self._earlier, feedback.id)
        if before is not None and before.said != feedback.said:
            raise BadRequest(
                "This Idempotency-Key was sent before with other feedback; choose a new one.",
                code="idempotency_conflict",
                param="Idempotency-Key",
            )
        if before is None:
            settlement = self._journal.append_feedback(feedback)
            self._remember(feedback)
            if settlement is not None:
                await settlement
        said = (feedback.score, feedback.label, feedback.comment)
        return FeedbackTaken(feedback.id, call_id, *said, pending=key_id is None, replayed=before is not None)

    def close(self) -> None:
        """Ends its thread and lets go of the store. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()
        self._drop()

    async def _find_key(self, call_id: str, made_ms: int) -> str | None:
        """Returns the id of the key that made the call; None for one that the store does not know yet.

        Raises:
            BadRequest: it will never know it (``record_not_found``).
        """
        for wait in (*_LOOKS, 0.0):
            try:
                key_id: str | None = await self._look(self._key_of, call_id)
            except Unavailable:
                return None
            if key_id is not None:
                return key_id
            if not -_AHEAD_MS < time.time_ns() // 1_000_000 - made_ms < _FRESH_MS:
                break
            if wait:
                await asyncio.sleep(wait)
        else:
            return None
        raise _unknown(call_id)

    async def _look(self, look: Any, word: str) -> Any:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "headgate-feedback")
        return await asyncio.get_running_loop().run_in_executor(self._thread, look, word)

    def _key_of(self, call_id: str) -> str | None:
        # The id has been held against its pattern: there is nothing in it to quote.
        rows = self._query(f"SELECT key_id FROM calls WHERE id = '{call_id}'")
        return str(rows[0][0]) if rows else None

    def _earlier(self, id: str) -> Feedback | None:
        try:
            rows = self._query(f"SELECT call_id, key_id, score, label, comment FROM feedback WHERE id = '{id}'")
        except Unavailable:
            return None
        if not rows:
            return None
        call_id, key_id, score, label, comment = rows[0]
        return Feedback(id, call_id, 0, key_id, score=score, label=label or "", comment=comment or "")

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        assert self._data is not None
        try:
            if self._reader is None:
                self._reader = open_reader(self._data.url)
            return self._reader.query(sql)
        except (Unavailable, ConfigError) as error:
            self._drop()
            raise Unavailable(error.message, code="store_unavailable") from error

    def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _remember(self, feedback: Feedback) -> None:
        self._taken[feedback.id] = feedback
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)


def _made_at(call_id: str) -> int:
    """Returns when a call was made, in ms since 1970, as its id says. Raises BadRequest for what is no call's id."""
    made = made_ms(call_id)
    if made is None:
        raise _unknown(call_id)
    return made


def _unknown(call_id: str) -> BadRequest:
    shown = ascii(call_id[:40])
    return BadRequest(
        f"No call has the id {shown}; send the `x-headgate-id` of its answer.", code="record_not_found", param="id"
    )
