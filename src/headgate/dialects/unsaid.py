"""The refusal of a user's message of which nothing can be said on the provider's wire."""

from __future__ import annotations

from collections.abc import Iterable

from headgate.core.errors import BadRequest
from headgate.core.message import AnyPart, Audio, Document, Image, Other, Text

_WORDS: tuple[tuple[type, str], ...] = ((Audio, "audio"), (Image, "an image"), (Document, "a file"))


def refuse_unsaid(parts: Iterable[tuple[AnyPart, str]], wire: str) -> None:
    """Refuses a user's message that lost all that it said, if it said anything.

    Args:
        parts: the message's, each with the place where it stands in the caller's request.
        wire: the provider's dialect, as people call it.

    Raises:
        BadRequest: it did.
    """
    for part, path in parts:
        error = _unsaid(part, path, wire)
        if error is not None:
            raise error


def _unsaid(part: AnyPart, path: str, wire: str) -> BadRequest | None:
    """Returns the error for a message that has nothing but this and its like; None where that said nothing anyway.

    Without it the model would answer what the user did not ask. Its code lets the next deployment be tried.
    """
    if isinstance(part, Text):
        return None
    word = next((word for kind, word in _WORDS if isinstance(part, kind)), "this part")
    if isinstance(part, Other) and isinstance(kind := part.data.get("type"), str):
        word = f"a part of type {kind[:60]!r}"
    return BadRequest(
        f"{path} is {word} in a form that has no counterpart in {wire}, and its message says nothing else; "
        "send text with it, or use a model whose provider takes it.",
        code="unsupported",
        param=path,
    )
