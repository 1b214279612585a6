"""The OpenAI chat wire as typed structs: only the fields that somebody here reads, decoded in one pass.

Every field may be missing or null: providers that call themselves compatible leave out what they like.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.event import FinishReason
from headgate.core.usage import Usage, priced_tier

NAME = "openai_chat"


class PromptDetails(msgspec.Struct, gc=False):
    """What the prompt's tokens were."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """What the generated tokens were."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    image_tokens: int | None = None


class WireUsage(msgspec.Struct, gc=False):
    """Token counts. ``prompt_cache_hit_tokens`` is DeepSeek's, the top-level ``cached_tokens`` Moonshot's word."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None

    def neutral(self, tier: object = None) -> Usage:
        """Returns the counts in the neutral convention; ``tier`` is the answer's ``service_tier``."""
        given, made = self.prompt_tokens or 0, self.completion_tokens or 0
        cached = written = audio_in = image_in = reasoning = audio_out = image_out = accepted = rejected = 0
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        if prompt is not None:
            cached = prompt.cached_tokens or 0
            written = prompt.cache_write_tokens or 0
            audio_in = prompt.audio_tokens or 0
            image_in = prompt.image_tokens or 0
        if completion is not None:
            reasoning = completion.reasoning_tokens or 0
            audio_out = completion.audio_tokens or 0
            accepted = completion.accepted_prediction_tokens or 0
            rejected = completion.rejected_prediction_tokens or 0
            image_out = completion.image_tokens or 0
            # xAI counts reasoning beside completion_tokens, OpenAI inside; the total tells which.
            if reasoning and self.total_tokens == given + made + reasoning:
                made += reasoning
        if not cached:
            cached = self.prompt_cache_hit_tokens or self.cached_tokens or 0
        usage = Usage(given, made, cached, written, 0, reasoning, audio_in, audio_out, accepted, rejected)
        if image_in or image_out:
            usage.image_input, usage.image_output = image_in, image_out
        if tier is not None:
            usage.tier = priced_tier(tier)
        return usage


class Function(msgspec.Struct, gc=False):
    """A called function. Some servers send arguments as an object instead of JSON text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CustomCall(msgspec.Struct, gc=False):
    """A call of a custom tool, whose input is free text."""

    name: str | None = None
    input: str | None = None


class WireToolCall(msgspec.Struct, gc=False):
    """A tool call, or a piece of one. ``extra_content`` carries Gemini's thought signature."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: CustomCall | None = None
    extra_content: dict[str, Any] | None = None


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds to a choice, or a whole message. Content is a list where Mistral thinks."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None
    function_call: Function | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None


class Choice(msgspec.Struct, gc=False):
    """One of ``n`` answers in a chunk. ``stop_reason`` is vLLM's: the stop string that matched.

    ``usage`` in a choice is Moonshot's place for it.
    """

    index: int | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    stop_reason: str | int | None = None
    usage: WireUsage | None = None


class GroqExtra(msgspec.Struct, gc=False):
    """Groq's side channel, where its usage once stood alone."""

    usage: WireUsage | None = None


class Chunk(msgspec.Struct, gc=False):
    """One ``chat.completion.chunk``, as far as it says something that the first chunk had not said."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: Any = None
    x_groq: GroqExtra | None = None
    id: str | None = None
    service_tier: str | None = None


class FirstChunk(Chunk, gc=False):
    """A chunk with what every chunk repeats."""

    model: str | None = None
    created: int | float | None = None
    system_fingerprint: str | None = None


class FinishDetails(msgspec.Struct, gc=False):
    """How gpt-4-vision-preview said why it ended."""

    type: str | None = None


class Skipped(msgspec.Struct, gc=False):
    """An object that is checked to be one and not looked into."""


class ScannedChoice(msgspec.Struct, gc=False):
    """A choice of a unary answer, its message not looked into."""

    finish_reason: str | None = None
    message: Skipped | None = None
    finish_details: FinishDetails | None = None
    stop_reason: str | int | None = None


class ScannedAnswer(msgspec.Struct, gc=False):
    """A ``chat.completion``, as far as policy needs it."""

    choices: list[ScannedChoice] | None = None
    usage: WireUsage | None = None
    error: Any = None
    id: str | None = None
    model: str | None = None
    object: str | None = None
    message: Any = None
    service_tier: Any = None


class AnswerChoice(msgspec.Struct, gc=False):
    """A choice of a unary answer, whole."""

    index: int | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    finish_details: FinishDetails | None = None
    stop_reason: str | int | None = None


class Answer(msgspec.Struct, gc=False):
    """A ``chat.completion``, whole."""

    choices: list[AnswerChoice] | None = None
    usage: WireUsage | None = None
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "complete": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.CONTEXT_LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.REFUSAL,
    "malformed_function_call": FinishReason.MALFORMED_CALL,
    "MALFORMED_FUNCTION_CALL": FinishReason.MALFORMED_CALL,
}

_OTHER = FinishReason.OTHER

_WORDS = {
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT_LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "content_filter",
}


def finish_reason(word: str, stop: str | int | None = None) -> FinishReason:
    """Returns the neutral reason for a wire's word; ``stop`` is vLLM's ``stop_reason``."""
    if stop is not None and isinstance(stop, str) and word == "stop":
        return FinishReason.STOP_SEQUENCE
    return _REASONS.get(word, _OTHER)


def finish_word(reason: FinishReason, legacy: bool = False) -> str:
    """Returns OpenAI's word for a neutral reason; ``legacy`` for answers with a ``function_call``."""
    word = _WORDS.get(reason, "stop")
    return "function_call" if legacy and word == "tool_calls" else word


def text_of(content: str | list[Any] | None) -> tuple[str, str]:
    """Returns a message's text and its reasoning, from Mistral's list of parts too."""
    if not isinstance(content, list):
        return content or "", ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            continue
        thinking = part.get("thinking")
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(thinking, str):
            thoughts.append(thinking)
        elif isinstance(thinking, list):
            thoughts += [piece["text"] for piece in thinking if isinstance(piece, dict) and "text" in piece]
    return "".join(texts), "".join(thoughts)


def arguments_of(function: Function) -> str:
    """Returns a call's arguments as JSON text."""
    arguments = function.arguments
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments or ""
