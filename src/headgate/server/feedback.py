"""``POST /v1/feedback``: what a caller thought of an answer, kept beside the call's Record."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import msgspec

from headgate.core.errors import BadRequest
from headgate.observe.feedback import Feedbacks, read_feedback
from headgate.pipeline.auth import admit
from headgate.server.caller import Caller
from headgate.server.guard import Limits
from headgate.server.intake import check_content
from headgate.server.respond import send_json

if TYPE_CHECKING:
    from headgate.compose import Core

PATH = "/v1/feedback"
BODY_LIMIT = 64 * 1024
_ONCE = re.compile(rb"[!-~]{1,255}")


class FeedbackSurface:
    """The surface, and what looks up calls for it, made when first needed."""

    def __init__(self, keyless: bool) -> None:
        self._keyless = keyless
        self._feedbacks: Feedbacks | None = None

    def of(self, core: Core) -> Feedbacks:
        """Returns the way in for feedback of this process. Journal and data outlive every core that follows."""
        if self._feedbacks is None:
            self._feedbacks = Feedbacks(core.data, core.journal)
        return self._feedbacks

    async def serve(self, caller: Caller, core: Core, limits: Limits) -> None:
        """Answers one request: 200, or 202 while the call's Record is on its way to the store.

        Raises:
            HeadgateError: as ``Feedbacks.give``; no key, a malformed request.
        """
        principal = admit(caller.headers, caller.peer, core.keys, self._keyless, core.proxies)
        check_content(caller.headers)
        once = caller.headers.get(b"idempotency-key", b"")
        if once and not _ONCE.fullmatch(once):
            raise BadRequest(
                "The header Idempotency-Key must be 1 to 255 visible ASCII characters.",
                code="invalid_header",
                param="Idempotency-Key",
            )
        try:
            async with asyncio.timeout(limits.body):
                raw = await caller.body(min(BODY_LIMIT, limits.body_bytes))
        except TimeoutError:
            raise BadRequest("The request body did not arrive in time.", code="slow_body") from None
        given = read_feedback(raw)
        taken = await self.of(core).give(
            principal, given.id, score=given.score, label=given.label, comment=given.comment, once=once.decode()
        )
        await send_json(caller, 202 if taken.pending else 200, msgspec.json.encode(taken))

    def close(self) -> None:
        """Ends its thread."""
        if self._feedbacks is not None:
            self._feedbacks.close()
