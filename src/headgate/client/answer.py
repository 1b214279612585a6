"""Answer: a whole answer as the library gives it, folded from neutral events."""

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
from headgate.core.record import Record
from headgate.core.usage import Usage


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


class Answer(msgspec.Struct):
    """A whole answer.

    ``text``, ``reasoning``, ``tool_calls`` and ``finish`` are the first choice's; all are in ``choices``.

    Attributes:
        id: the call's id; ``headgate record ID`` tells its whole story.
        model: the model that answered, in its provider's words.
        deployment: ``provider/model`` that answered.
        attempts: tries that it took, over all deployments.
        usage: tokens, or None where neither reported nor estimated.
        choices: every choice, in order.
        vectors: of an embeddings answer, in order of the input.
        latency: seconds from the request to the whole answer.
        lost: fields of the request that the deployment's dialect could not carry.
    """

    id: str
    model: str = ""
    deployment: str = ""
    attempts: int = 0
    usage: Usage | None = None
    choices: list[Choice] = []
    vectors: list[list[float] | str] = []
    latency: float = 0.0
    lost: list[str] = []

    @property
    def text(self) -> str:
        """Visible text of the first choice."""
        return self.choices[0].text if self.choices else ""

    @property
    def reasoning(self) -> str:
        """Reasoning that the provider showed, of the first choice."""
        return self.choices[0].reasoning if self.choices else ""

    @property
    def tool_calls(self) -> list[ToolUse]:
        """Tool calls of the first choice."""
        return self.choices[0].tool_calls if self.choices else []

    @property
    def finish(self) -> FinishReason | None:
        """Why the first choice ended."""
        return self.choices[0].finish if self.choices else None


class Folder:
    """Folds the events of one answer into choices as they pass."""

    def __init__(self) -> None:
        self._choices: dict[int, Choice] = {}
        self._calls: dict[tuple[int, int], ToolUse] = {}
        self._vectors: dict[int, list[float] | str] = {}

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

    def answer(self, record: Record) -> Answer:
        """Returns what has been folded so far, with what the Record knows."""
        answer = Answer(
            record.id,
            usage=record.usage,
            attempts=len(record.attempts),
            choices=[self._choices[index] for index in sorted(self._choices)],
            vectors=[self._vectors[index] for index in sorted(self._vectors)],
            latency=record.duration_us / 1e6,
        )
        if record.winner >= 0:
            winner = record.attempts[record.winner]
            answer.model = winner.upstream_model or winner.model
            answer.deployment = winner.deployment
            answer.lost = list(winner.lost)
        return answer

    def _choice(self, index: int) -> Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = Choice()
        return choice
