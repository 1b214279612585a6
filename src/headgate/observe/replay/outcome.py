"""An Outcome: what came of a call, recorded or just made, in the few figures and words that replays compare."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from headgate.core.choices import Choice, Choices
from headgate.core.errors import HeadgateError
from headgate.core.record import Record
from headgate.dialects.base import Dialect

_JOINED = 72
"""Columns at which a line of text is broken for a diff: a model's answer is often one long line."""

_WORDS = 3000
"""Words of an answer that its similarity is taken of: the time for it grows with their square."""


class Outcome(msgspec.Struct):
    """What came of one call.

    Attributes:
        id: the call's.
        model, deployment: what was asked for, and who answered (None: nobody).
        outcome, error, error_message, finish: as in its Record; "" for none.
        text: what a person would read: visible text, refusals, tool calls; None where the answer is not kept.
        input_tokens, output_tokens, cost: None where unknown; cost in nano-dollars.
        first_content_us, duration_us: -1 for never.
        attempts: one line each: deployment, outcome, error, status.
    """

    id: str
    model: str
    deployment: str | None
    outcome: str
    error: str = ""
    error_message: str = ""
    finish: str = ""
    text: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: int | None = None
    first_content_us: int = -1
    duration_us: int = -1
    attempts: list[tuple[str, str, str, int]] = []


class Comparison(msgspec.Struct):
    """Two outcomes side by side. ``same_answer`` is None where a text is not known; ``similarity`` is from 0 to 1."""

    before: Outcome
    after: Outcome
    same_answer: bool | None
    similarity: float | None
    cost_change: int | None
    latency_change_us: int | None
    redacted: bool = False


def recorded_outcome(story: Mapping[str, Any], response: bytes | None, dialects: Mapping[str, Dialect]) -> Outcome:
    """Returns the outcome that a story tells; ``response`` is the answer as it is kept, None where it is not."""
    return Outcome(
        story["id"],
        story["model"],
        story["deployment"] if story["winner"] >= 0 else None,
        story["outcome"],
        story["error"] or "",
        story["error_message"] or "",
        story["finish"] or "",
        read_text(response, dialects) if response or (response is not None and story["winner"] >= 0) else None,
        story["input_tokens"],
        story["output_tokens"],
        story["cost"],
        story["first_content_us"],
        story["duration_us"],
        [(one["deployment"], one["outcome"], one["error"], one["status"]) for one in story["attempts"]],
    )


def made_outcome(record: Record, choices: Choices) -> Outcome:
    """Returns the outcome of a call that has just ended."""
    usage = record.usage
    answered = 0 <= record.winner < len(record.attempts)
    return Outcome(
        record.id,
        record.model,
        record.attempts[record.winner].deployment if answered else None,
        record.outcome,
        record.error,
        record.error_message,
        record.finish,
        show_choices(choices) if choices.all or choices.vectors or record.outcome == "completed" else None,
        None if usage is None else usage.input,
        None if usage is None else usage.output,
        record.cost,
        record.first_content_us,
        record.duration_us,
        [(one.deployment, one.outcome, one.error, one.status) for one in record.attempts],
    )


def compare(before: Outcome, after: Outcome, *, redacted: bool = False) -> Comparison:
    """Puts two outcomes side by side."""
    known = before.text is not None and after.text is not None
    one, other = before.text or "", after.text or ""
    words = (one.split()[:_WORDS], other.split()[:_WORDS])
    ratio = difflib.SequenceMatcher(None, *words, autojunk=False).ratio() if known else None
    return Comparison(
        before,
        after,
        one == other if known else None,
        None if ratio is None else round(ratio, 4),
        None if before.cost is None or after.cost is None else after.cost - before.cost,
        None if min(before.duration_us, after.duration_us) < 0 else after.duration_us - before.duration_us,
        redacted,
    )


def diff_text(before: str, after: str) -> Iterator[str]:
    """Yields the lines of a unified diff of two answers; nothing where they are the same."""
    lines = (_lines(before), _lines(after))
    yield from difflib.unified_diff(*lines, "recorded", "replayed", lineterm="", n=2)


def read_text(response: bytes, dialects: Mapping[str, Dialect]) -> str:
    """Returns what a person would read of an answer as it is kept; as far as it can be read, of one that was cut."""
    choices = Choices()
    if response:
        try:
            _feed(choices, response, dialects[wire_of(response)])
        except HeadgateError:
            return show_choices(choices)
    return show_choices(choices)


def wire_of(response: bytes) -> str:
    """Returns the dialect that an answer's bytes are in, by what is in them."""
    if not response.lstrip().startswith(b"{"):
        return "anthropic" if b"message_start" in response[:4096] else "openai_chat"
    try:
        fields = msgspec.json.decode(response, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return "openai_chat"
    if "choices" in fields:
        return "openai_chat"
    if "content" in fields:
        return "anthropic"
    return "count_tokens" if "input_tokens" in fields else "embeddings"


def show_choices(choices: Choices) -> str:
    """Returns all choices as one text."""
    shown = [_show(choice) for choice in choices.all]
    vectors = choices.vectors
    if vectors:
        shown.append(f"{len(vectors)} vectors of {len(vectors[0])}: {msgspec.json.encode(vectors).decode()}")
    return "\n\n".join(shown)


def _show(choice: Choice) -> str:
    parts = [choice.text, choice.refusal and f"[refused] {choice.refusal}"]
    parts += [f"[calls] {tool.name}({_compact(tool.arguments)})" for tool in choice.tool_calls]
    return "\n".join(part for part in parts if part)


def _compact(arguments: str) -> str:
    """Arguments as JSON with sorted keys: what only looks different is the same."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments or "{}"), order="sorted").decode()
    except msgspec.DecodeError:
        return arguments


def _feed(choices: Choices, response: bytes, dialect: Dialect) -> None:
    if response.lstrip().startswith(b"{"):
        choices.feed(dialect.read_answer(response)[0].events)
        return
    decoder = dialect.stream_decoder()
    for frame in decoder.feed(response):
        choices.feed(frame.events)


def _lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines():
        words, current = line.split(" "), ""
        for word in words:
            if current and len(current) + len(word) >= _JOINED:
                lines.append(current)
                current = word
            else:
                current = f"{current} {word}" if current else word
        lines.append(current)
    return lines
