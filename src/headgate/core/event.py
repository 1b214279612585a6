"""Neutral events, the frames that carry them, and the summary that a decoder keeps while they pass."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headgate.core.usage import Usage


class Kind(enum.Enum):
    """What a frame is to a layer that does not decode it. Compare with ``is``."""

    PREAMBLE = "preamble"  # role frames, pings, message_start: nothing that a person would see
    CONTENT = "content"  # text, reasoning, a tool call's part, audio, a refusal: this commits
    USAGE = "usage"  # token counts and nothing else
    FINISH = "finish"  # why it ended
    MARKER = "marker"  # the dialect's closing marker: [DONE], message_stop
    ERROR = "error"  # an error event inside a 200


class FinishReason(enum.StrEnum):
    """Why an answer ended, neutrally. The wire's own word is kept beside it where it says more."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    MALFORMED_CALL = "malformed_call"
    CONTEXT_LENGTH = "context_length"
    OTHER = "other"


class Event(msgspec.Struct, tag=True, omit_defaults=True):
    """One neutral thing that happened in an answer. ``choice`` counts the answers of ``n`` > 1."""


class Start(Event):
    """The answer has begun. ``created`` in seconds since 1970, 0 where the wire has none."""

    id: str = ""
    model: str = ""
    created: int = 0
    extra: dict[str, Any] = {}


class TextDelta(Event):
    """More visible text. ``block`` numbers the content blocks of a choice where the wire does (else 0)."""

    text: str
    choice: int = 0
    block: int = 0
    extra: dict[str, Any] = {}


class ReasoningDelta(Event):
    """More reasoning shown by the provider (thinking, reasoning_content)."""

    text: str
    choice: int = 0
    block: int = 0


class ReasoningSignature(Event):
    """Proof that must travel back with the reasoning in a later turn; ``block`` says which block's."""

    signature: str
    choice: int = 0
    block: int = 0


class RedactedReasoning(Event):
    """Reasoning that only the provider can read; must travel back as it is."""

    data: str
    choice: int = 0
    block: int = 0


class RefusalDelta(Event):
    """More of a refusal that the wire keeps apart from text."""

    text: str
    choice: int = 0


class ToolCallStart(Event):
    """A tool call opens. ``index`` counts a choice's tool calls from 0; deltas refer to it."""

    index: int
    id: str
    name: str
    choice: int = 0
    block: int = 0
    extra: dict[str, Any] = {}


class ToolCallDelta(Event):
    """A piece of a tool call's arguments: JSON text that is whole only when all pieces are joined."""

    index: int
    arguments: str
    choice: int = 0


class Citation(Event):
    """A citation for the text of ``block``, as the wire gave it."""

    data: dict[str, Any]
    choice: int = 0
    block: int = 0


class Logprobs(Event):
    """Token log-probabilities, in OpenAI's shape (``{"content": [...], "refusal": [...]}``)."""

    data: dict[str, Any]
    choice: int = 0


class OtherBlock(Event):
    """A whole content block with no neutral form (server tool use and its results, audio…).

    ``origin`` names the dialect whose wire shape ``data`` has; other dialects report it as lost.
    """

    data: dict[str, Any]
    origin: str
    choice: int = 0
    block: int = 0


class BlockEnd(Event):
    """The content block ``block`` is complete (dialects that mark it)."""

    choice: int = 0
    block: int = 0


class Finish(Event):
    """Why a choice ended. ``wire`` is the provider's own word; ``stop`` the stop sequence that matched."""

    reason: FinishReason
    choice: int = 0
    wire: str = ""
    stop: str | None = None
    extra: dict[str, Any] = {}


class UsageReport(Event):
    """Token counts so far; a later report replaces an earlier one."""

    usage: Usage


class ErrorEvent(Event):
    """An error inside an answer that had begun. ``code`` as in ``UpstreamError.code``."""

    message: str
    code: str = "server_error"
    kind: str = ""


class Embedding(Event):
    """One vector of an embeddings answer: a list of floats, or base64 text of float32s as asked for."""

    index: int
    vector: list[float] | str


class End(Event):
    """The dialect's closing marker came: the answer is whole."""


class Frame:
    """One whole event of a dialect's wire (or a whole unary body), with its bytes as they came.

    ``events`` is decoded only when somebody asks. A layer that transforms an answer calls
    ``replaced`` for a new frame, which has no bytes: the server renders it through an encoder.

    Attributes:
        kind: what it is, for layers that do not decode.
        data: the exact bytes, framing included; None once replaced.
    """

    __slots__ = ("_decode", "_events", "_wire", "data", "kind")

    def __init__(
        self,
        kind: Kind,
        data: bytes | None,
        wire: Any = None,
        decode: Callable[[Any], Sequence[Event]] | None = None,
        events: Sequence[Event] | None = None,
    ) -> None:
        self.kind = kind
        self.data = data
        self._wire = wire
        self._decode = decode
        self._events = events

    @property
    def events(self) -> Sequence[Event]:
        """The neutral events in this frame, in order; usually one, none for a ping."""
        if self._events is None:
            self._events = self._decode(self._wire) if self._decode is not None else ()
        return self._events

    def replaced(self, events: Sequence[Event]) -> Frame:
        """Returns a frame of the same kind that says ``events`` instead, its bytes dropped."""
        return Frame(self.kind, None, events=events)


class Summary(msgspec.Struct):
    """What is known of an answer while and after its frames pass; a decoder fills it in.

    Attributes:
        id: the provider's id for the answer.
        model: the model that the provider says answered.
        finish: why the first choice ended, or None so far.
        wire_finish: the same in the provider's own word.
        usage: the last usage reported, or None.
        content_chars: visible and reasoning characters and tool arguments so far, for estimates.
        complete: True once the dialect's termination contract is met (finish and marker seen).
        received: bytes of the answer's body that came, decoded.
    """

    id: str = ""
    model: str = ""
    finish: FinishReason | None = None
    wire_finish: str = ""
    usage: Usage | None = None
    content_chars: int = 0
    complete: bool = False
    received: int = 0
