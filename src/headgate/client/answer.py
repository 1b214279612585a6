"""Answer: a whole answer as the library gives it, folded from neutral events."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from headgate.core.call import Call
from headgate.core.choices import Choice, Choices, ToolUse
from headgate.core.event import Event, FinishReason, Frame, UsageReport
from headgate.core.record import dispatched
from headgate.core.usage import Usage


class Answer(msgspec.Struct):
    """A whole answer.

    ``text``, ``reasoning``, ``tool_calls`` and ``finish`` are the first choice's; all are in ``choices``.

    Attributes:
        id: the call's id; ``headgate record ID`` tells its whole story.
        model: the model that answered, in its provider's words.
        deployment: ``provider/model`` that answered.
        attempts: tries that it took, over all deployments; what was never sent does not count.
        usage: tokens, or None where neither reported nor estimated.
        choices: every choice, in order.
        vectors: of an embeddings answer, in order of the input.
        latency: seconds from the request to the whole answer.
        lost: fields of the request that the deployment's dialect could not carry.
        cost: dollars that it cost, attempts that failed too; None where nothing is known of the price, and while a
            stream is not at its end.
        raw: the whole answer as JSON in the dialect that was asked in; b"" while a stream is not at its end.

    Example:
        >>> answer = Answer("hg_1", choices=[Choice("Paris.", finish=FinishReason.STOP)])
        >>> answer.text, answer.finish, answer.tool_calls
        ('Paris.', <FinishReason.STOP: 'stop'>, [])
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
    raw: bytes = b""
    cost: Decimal | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The whole answer, decoded, in the dialect that was asked in; {} while a stream is not at its end."""
        decoded: dict[str, Any] = msgspec.json.decode(self.raw) if self.raw else {}
        return decoded

    @property
    def message(self) -> dict[str, Any]:
        """The first choice as a message to append to the conversation, in the dialect that was asked in.

        Tool calls and signatures of reasoning are in it, as the next turn needs them; {} where there is none.
        """
        body = self.body
        if choices := body.get("choices"):
            message: dict[str, Any] = choices[0]["message"]
            return message
        return {"role": "assistant", "content": body["content"]} if "content" in body else {}

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
    """Folds the frames of one call's answer into choices as they pass."""

    def __init__(self, call: Call, dialect: str = "") -> None:
        """Args:
        call: whose answer it is.
        dialect: of the frames' bytes; a unary answer in the caller's own is kept as it came.
        """
        self._call = call
        self._keep = dialect == call.dialect.name
        self._raw: bytes | None = None
        self._events: list[Event] = []
        self._choices = Choices()

    def feed(self, frames: Iterable[Frame]) -> None:
        """Takes the next frames."""
        for frame in frames:
            if self._keep and not self._events:
                self._raw = frame.data
            events = frame.events
            self._events += events
            self._choices.feed(events)

    def answer(self) -> Answer:
        """Returns what has been folded so far, with what the Record knows."""
        record = self._call.record
        answer = Answer(
            record.id,
            usage=record.usage,
            attempts=dispatched(record),
            choices=self._choices.all,
            vectors=self._choices.vectors,
            latency=max(0, record.duration_us) / 1e6,
            cost=None if record.cost is None else Decimal(record.cost).scaleb(-9),
        )
        if record.winner >= 0:
            winner = record.attempts[record.winner]
            answer.model = winner.upstream_model or winner.model
            answer.deployment = winner.deployment
            answer.lost = list(winner.lost)
        if record.outcome == "completed":
            answer.raw = self._raw if self._raw is not None else self._render()
        return answer

    def _render(self) -> bytes:
        call = self._call
        encoder = call.dialect.encoder(stream=False, model=call.view.model)
        encoder.feed(self._events)
        # A stream's usage shows only to those who ask for it; here it is always known.
        if call.record.usage is not None:
            encoder.feed([UsageReport(call.record.usage)])
        body: bytes = encoder.end()
        return body
