"""The layer ``decode``: reads the top level of the request, once it is known who asks."""

from __future__ import annotations

import msgspec

from headgate.core.call import Call, Handler
from headgate.core.record import Record
from headgate.core.reply import Reply

_WORD_LIMIT = 256


class _Asserted(msgspec.Struct):
    """What ``metadata`` may say of who is behind a call, and for what."""

    user: str | None = None
    user_id: str | None = None
    feature: str | None = None


_asserted = msgspec.json.Decoder(_Asserted | None).decode


def decode(next: Handler) -> Handler:
    """Builds the layer. It sets ``call.view`` and the Record's model, stream, and asserted user and feature.

    A header is stronger than the body's ``user``, and that than ``metadata``; what a key is bound to beats them all.

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
        if "metadata" in view.fields and not (record.user and record.feature):
            _read_metadata(view.fields["metadata"], record)
        return await next(call)

    return handler


def _read_metadata(metadata: msgspec.Raw, record: Record) -> None:
    """Takes user and feature from there; what is no such word is the provider's to judge."""
    try:
        said = _asserted(metadata)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if said is None:
        return
    user, feature = said.user or said.user_id or "", said.feature or ""
    if not record.user and len(user) <= _WORD_LIMIT and user.isprintable():
        record.user = user
    if not record.feature and len(feature) <= _WORD_LIMIT and feature.isprintable():
        record.feature = feature
