"""``POST /v1/estimate``: what a request of any dialect would cost, said without making it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from headgate.core.errors import BadRequest, UnknownModel
from headgate.observe.counter import Counter
from headgate.observe.estimate import estimate_call, guess_dialect
from headgate.pipeline.auth import admit
from headgate.server.caller import Caller
from headgate.server.guard import Limits
from headgate.server.intake import check_content, check_names
from headgate.server.respond import send_json

if TYPE_CHECKING:
    from headgate.compose import Core

PATH = "/v1/estimate"


class Estimates:
    """The surface, and the process that counts for it."""

    def __init__(self, keyless: bool) -> None:
        self._keyless = keyless
        self._counter = Counter()

    async def serve(self, caller: Caller, core: Core, limits: Limits) -> None:
        """Answers one request by the core of the moment. Nothing of it is recorded.

        Raises:
            HeadgateError: no key, a malformed request, an unknown model.
        """
        principal = admit(caller.headers, caller.peer, core.keys, self._keyless, core.proxies)
        check_content(caller.headers)
        check_names(caller.headers)
        try:
            async with asyncio.timeout(limits.body):
                raw = await caller.body(limits.body_bytes)
        except TimeoutError:
            raise BadRequest("The request body did not arrive in time.", code="slow_body") from None
        name = guess_dialect(caller.headers, raw)
        dialect = core.dialects.get(name)
        if dialect is None:
            known = ", ".join(core.dialects)
            raise BadRequest(f"There is no dialect {name[:60]!r}; there is {known}.", param="x-headgate-dialect")
        view = dialect.view(raw)
        plan = core.plan_of(view.model, principal)
        if plan is None:
            raise UnknownModel(f"The model {view.model[:100]!r} does not exist here.", param="model")
        warn = core.estimate_settings
        found = await estimate_call(
            view,
            dialect,
            plan,
            count=self._counter.count,
            warn_tokens=warn.warn_tokens,
            warn_dollars=warn.warn_dollars,
        )
        await send_json(caller, 200, msgspec.json.encode(found.plain()))

    def close(self) -> None:
        """Ends the counting process."""
        self._counter.close()
