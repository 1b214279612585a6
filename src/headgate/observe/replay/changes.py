"""Changes: what a replay asks differently from the call that was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.core.errors import BadRequest
from headgate.dialects.base import Dialect

_OWN = {"model": "--model", "stream": "--stream or --no-stream"}


class Changes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``model`` is a configured model or ``provider/model``; ``stream`` is None where it stays as it was.

    ``set`` sets top-level fields of the request, in the recorded call's dialect, or removes them (None).
    """

    model: str | None = None
    stream: bool | None = None
    set: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return self.model is not None or self.stream is not None or bool(self.set)

    def apply(self, dialect: Dialect, request: bytes) -> bytes:
        """Returns the request with these changes, all else byte for byte.

        Raises:
            BadRequest: the request can not be read, or ``set`` names what has an option of its own.
        """
        for name, option in _OWN.items():
            if name in self.set:
                raise BadRequest(f"{name} is changed by {option}, not by --set", code="invalid_value", param="set")
        wanted: dict[str, Any] = dict(self.set)
        if self.model is not None:
            wanted["model"] = self.model
        view = dialect.view(request)
        if self.stream is not None and self.stream != view.stream:
            wanted["stream"] = True if self.stream else None
            if not self.stream and "stream_options" in view.fields:
                wanted["stream_options"] = None
        return dialect.patch(view, wanted) if wanted else request


def read_set(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Returns values as a command line gives them: JSON where it is some, else text; ``null`` removes a field."""
    found: dict[str, Any] = {}
    for name, text in pairs.items():
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[name] = text
    return found
