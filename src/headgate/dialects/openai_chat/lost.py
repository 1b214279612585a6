"""Where the parts of a neutral request stood in the caller's own request, to name what is lost."""

from __future__ import annotations

from typing import Any

from headgate.core.message import Conversation, Message
from headgate.dialects.openai_chat.wire import NAME


class Lost:
    """Paths of caller fields that could not be carried, each once, in order."""

    __slots__ = ("_paths", "origin")

    def __init__(self, origin: str) -> None:
        """Args:
        origin: the caller's dialect.
        """
        self.origin = origin
        self._paths: dict[str, None] = {}

    def add(self, path: str) -> None:
        """Names one field."""
        self._paths[path] = None

    def extra(self, prefix: str, extra: dict[str, Any]) -> dict[str, Any]:
        """Returns the extra keys that are of our own wire; names them all where they are of another."""
        if self.origin == NAME:
            return extra
        for key in extra:
            self.add(f"{prefix}.{key}" if prefix else key)
        return {}

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths."""
        return tuple(self._paths)


def locate(conversation: Conversation) -> list[tuple[str, int]]:
    """Returns for each neutral message the path of the list its parts stood in, and where in it they began.

    Anthropic keeps its first system text outside the messages, and tool results inside user turns.
    """
    messages = conversation.messages
    if conversation.origin == NAME:
        return _locate_own(messages)
    places: list[tuple[str, int]] = []
    index, offset = -1, 0
    previous: Message | None = None
    for position, message in enumerate(messages):
        if position == 0 and message.role == "system":
            places.append(("system", 0))
            continue
        same_turn = previous is not None and {previous.role, message.role} == {"user", "tool"}
        if same_turn and previous is not None:
            offset += len(previous.parts)
        else:
            index, offset = index + 1, 0
        places.append((f"messages[{index}].content", offset))
        previous = message
    return places


def _locate_own(messages: list[Message]) -> list[tuple[str, int]]:
    """On our own wire each tool result was a message of its own."""
    places: list[tuple[str, int]] = []
    index = 0
    for message in messages:
        places.append((f"messages[{index}].content", 0))
        index += max(1, len(message.parts)) if message.role == "tool" else 1
    return places
