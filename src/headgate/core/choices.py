"""Choices: neutral events folded into what a person would call the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from headgate.core.event import (
    Embedding,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)


class ToolUse(msgspec.Struct):
    """A tool call: ``arguments`` is the JSON text as generated; ``parsed()`` decodes it."""

    id: str
    name: str
    arguments: str = ""

    def parsed(self) -> Any:
        """Returns the decoded arguments.

        Raises:
            msgspec.DecodeError: the model wrote malformed JSON.
        """
        return msgspec.json.decode(self.arguments or "{}")


class Choice(msgspec.Struct):
    """One of the answers of ``n`` > 1."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[ToolUse] = []
    finish: FinishReason | None = None


class Choices:
    """What has been folded so far."""

    __slots__ = ("_calls", "_choices", "_vectors")

    def __init__(self) -> None:
        self._choices: dict[int, Choice] = {}
        self._calls: dict[tuple[int, int], ToolUse] = {}
        self._vectors: dict[int, list[float] | str] = {}

    @property
    def all(self) -> list[Choice]:
        """Every choice, in order."""
        return [self._choices[index] for index in sorted(self._choices)]

    @property
    def vectors(self) -> list[list[float] | str]:
        """The vectors of an embeddings answer, in order of the input."""
        return [self._vectors[index] for index in sorted(self._vectors)]

    def feed(self, events: Iterable[Event]) -> None:
        """Takes the next events."""
        for event in events:
            if isinstance(event, TextDelta):
                self._choice(event.choice).text += event.text
            elif isinstance(event, ReasoningDelta):
                self._choice(event.choice).reasoning += event.text
            elif isinstance(event, RefusalDelta):
                self._choice(event.choice).refusal += event.text
            elif isinstance(event, ToolCallStart):
                call = self._calls[event.choice, event.index] = ToolUse(event.id, event.name)
                self._choice(event.choice).tool_calls.append(call)
            elif isinstance(event, ToolCallDelta):
                if (event.choice, event.index) in self._calls:
                    self._calls[event.choice, event.index].arguments += event.arguments
            elif isinstance(event, Finish):
                self._choice(event.choice).finish = event.reason
            elif isinstance(event, Embedding):
                self._vectors[event.index] = event.vector

    def _choice(self, index: int) -> Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = Choice()
        return choice
