"""Records as bytes: the usual fast way, and a slow one for the Record that no encoder takes as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.record import Record

_LARGEST = (1 << 63) - 1


def new_encoder() -> msgspec.msgpack.Encoder:
    """Returns an encoder that writes what it does not know as text."""
    return msgspec.msgpack.Encoder(enc_hook=str)


def encode_plain(record: Record) -> bytes:
    """Returns the Record's bytes with what msgpack can not hold (lone surrogates, huge integers) made to fit."""
    return msgspec.msgpack.encode(_fit(msgspec.to_builtins(record, enc_hook=str)))


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_LARGEST, min(value, _LARGEST))
    if isinstance(value, dict):
        return {_fit(key): _fit(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fit(item) for item in value]
    return value
