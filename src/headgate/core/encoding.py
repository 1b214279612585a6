"""Encoding: how the input of a deployment's calls is counted before they are made."""

from __future__ import annotations

import msgspec


class Encoding(msgspec.Struct, frozen=True):
    """What is known of a model's tokenizer, and of what it makes of things that are not text.

    Attributes:
        name: the tokenizer (``o200k_base``, ``cl100k_base``), "" where it is not known.
        exact: whether bounds count with it, in the worker; else one token per byte.
        image: most input tokens of one image.
        page: most input tokens of one page of a file.
        tools: input tokens that the provider adds where tools are given, on the average.
    """

    name: str = ""
    exact: bool = False
    image: int = 16_384
    page: int = 5_000
    tools: int = 0


UNKNOWN_ENCODING = Encoding()
"""Of a model that nothing is known of: bytes are counted."""
