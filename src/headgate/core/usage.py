"""What an answer used, in one neutral shape whatever the provider's own way of counting."""

from __future__ import annotations

import msgspec

PRICED_TIERS = frozenset({"priority", "flex", "batch", "fast"})
"""The service tiers that may have a price of their own."""


def priced_tier(word: object) -> str:
    """Returns a wire's word for the service tier where that may have a price of its own, else ""."""
    return word if isinstance(word, str) and word in PRICED_TIERS else ""


class Usage(msgspec.Struct, array_like=True, omit_defaults=False):
    """Token counts of one answer.

    Neutral convention: ``input`` is the whole prompt, cached parts included; ``output`` is everything
    generated, reasoning included. (OpenAI counts so on its wire; Anthropic's ``input_tokens`` leaves
    cache reads and writes out, and its dialect adds them.)

    Attributes:
        input: prompt tokens, cache reads and writes included.
        output: generated tokens, reasoning included.
        cached: of ``input``, those read from the provider's prompt cache.
        cache_write: of ``input``, those written to it with the short (5 minute) lifetime.
        cache_write_1h: of ``input``, those written to it with the 1 hour lifetime.
        reasoning: of ``output``, hidden or shown reasoning tokens.
        audio_input: of ``input``, audio tokens.
        audio_output: of ``output``, audio tokens.
        accepted_prediction: of ``output``, predicted tokens that were taken.
        rejected_prediction: of ``output``, predicted tokens that were billed but not taken.
        searches: web searches made on the provider's side, billed per piece.
        estimated: True where the upstream reported nothing and these are ours.
        tier: the service tier that answered where it has a price of its own (``priority``, ``flex``, ``batch``,
            ``fast``), "" for the standard one.
        image_input: of ``input``, image tokens, where the provider counts them apart.
        image_output: of ``output``, image tokens.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    accepted_prediction: int = 0
    rejected_prediction: int = 0
    searches: int = 0
    estimated: bool = False
    tier: str = ""
    image_input: int = 0
    image_output: int = 0
