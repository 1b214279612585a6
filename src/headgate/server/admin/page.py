"""A page's cursor as a word that callers hand back: where the last item stood in the order."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from headgate.core.errors import BadRequest

_Stored = Annotated[int, Meta(ge=-(2**62), le=2**62)]
"""A number that a database can be asked for."""


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sort key of the last item shown: a time in ns, and what tells items of the same time apart."""

    first: _Stored
    second: _Stored | str


def show_cursor(cursor: Cursor) -> str:
    """Returns the word."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def read_cursor(word: str) -> Cursor:
    """Returns what a word stands for.

    Raises:
        BadRequest: it is none that we gave out.
    """
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)), type=Cursor)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("`after` must be the `next` of a page before", code="invalid_value", param="after") from error
