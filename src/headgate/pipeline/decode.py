"""The layer ``decode``: reads the top level of the request, once it is known who asks."""

from __future__ import annotations

from headgate.core.call import Call, Handler
from headgate.core.reply import Reply


def decode(next: Handler) -> Handler:
    """Builds the layer. It sets ``call.view`` and the Record's model, stream and asserted user.

    Sits inside ``auth``, so that an unknown caller costs no parsing and a known one's bad request is recorded.

    Raises (from the handler):
        BadRequest: as ``Dialect.view``.
    """

    async def handler(call: Call) -> Reply:
        record = call.record
        record.request_bytes = len(call.raw)
        view = call.view = call.dialect.view(call.raw)
        record.model = view.model
        record.stream = view.stream
        record.max_tokens = view.max_tokens or 0
        if view.user and not record.user:
            record.user = view.user
        return await next(call)

    return handler
