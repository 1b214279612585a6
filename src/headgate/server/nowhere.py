"""What a request for a path that is not served is told: the path that was probably meant, or what there is."""

from __future__ import annotations

from collections.abc import Iterable

from headgate.core.errors import BadRequest

_BASE = "An OpenAI SDK's base_url ends in /v1, an Anthropic SDK's does not."
_SURFACES = ("/responses", "/completions", "/batches", "/files", "/images/", "/audio/", "/moderations", "/v1beta/")
"""Parts of provider paths that people ask for, and that no release serves yet."""


def nothing_at(path: str, served: Iterable[str]) -> BadRequest:
    """Returns the error for a path that is not served.

    Args:
        path: as it was asked for.
        served: the paths of model calls.
    """
    shown = path[:100]
    if path in ("/", "/v1", "/v1/"):
        hint = "The console is at /console; an SDK's base_url is this address, for OpenAI's with /v1 at its end."
    elif near := _meant(path, served):
        hint = f"Did you mean {near}? {_BASE}"
    elif any(part in path for part in _SURFACES):
        hint = f"This release does not serve it; model calls go to {', '.join(served)}."
    else:
        hint = f"Model calls go to {', '.join(served)}."
    return BadRequest(f"There is nothing at {shown}.", code="unknown_path", hint=hint)


def _meant(path: str, served: Iterable[str]) -> str:
    """The served path that this one ends with, where only a prefix or a last slash is wrong; "" where none is."""
    bare = path.rstrip("/")
    found = [known for known in served if bare.endswith((known, known.removeprefix("/v1")))]
    return max(found, key=len, default="")
