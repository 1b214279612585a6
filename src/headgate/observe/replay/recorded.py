"""A Recorded call: its story, what was asked and answered, and what its failed attempts heard. Loads SQLAlchemy."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from headgate.core.errors import BadRequest
from headgate.core.tape import Tape, decode_tapes
from headgate.stores.query import CallStore
from headgate.stores.schema import tapes

_BASE64 = "base64:"


class Recorded(msgspec.Struct):
    """One call as it is kept.

    Attributes:
        story: as ``stores.rows.to_story`` gives it.
        request: the body as it came.
        response: the answer's bytes, in the wire of the deployment that answered; b"" where there was none.
        redacted: whether both have pseudonyms in the place of what was private.
        tapes: what failed attempts heard, where it was kept.
    """

    story: dict[str, Any]
    request: bytes
    response: bytes
    redacted: bool
    tapes: Sequence[Tape] = ()

    @property
    def id(self) -> str:
        """The call's id."""
        return str(self.story["id"])


def load_recorded(engine: Engine, id: str) -> Recorded:
    """Returns a call that can be sent again.

    Raises:
        BadRequest: unknown (``record_not_found``), or what was asked is not kept (``payloads_not_kept``).
    """
    story = CallStore(engine).find(id)
    if story is None:
        raise BadRequest(f"no call has the id {id[:40]!a}; see: headgate records", code="record_not_found", param="id")
    if "request_body" not in story:
        raise BadRequest(
            f"what the call {id} asked is not kept, so it can not be sent again; for calls to come, keep payloads by "
            "`data.payloads: full`, or by `headgate keys create --payloads full` for one key",
            code="payloads_not_kept",
            param="id",
        )
    with engine.connect() as connection:
        kept = connection.execute(select(tapes.c.tapes).where(tapes.c.call_id == id)).scalar_one_or_none()
    return Recorded(
        story,
        _as_bytes(story["request_body"]),
        _as_bytes(story.get("response_body") or ""),
        story["payloads"] == "redacted",
        () if kept is None else decode_tapes(bytes(kept)),
    )


def _as_bytes(text: str) -> bytes:
    return base64.b64decode(text[len(_BASE64) :]) if text.startswith(_BASE64) else text.encode()
