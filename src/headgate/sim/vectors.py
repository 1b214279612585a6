"""Deterministic embeddings: unit vectors made from a hash of the text."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array


def make_vector(text: str | bytes, dimensions: int) -> array[float]:
    """Returns a unit vector of ``dimensions`` float32s for ``text``; the same text always gives the same one.

    A shorter vector is the longer one's beginning, scaled to length one, as with OpenAI's ``dimensions``.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    raw = array("h", hashlib.shake_128(data).digest(2 * dimensions))
    if sys.byteorder == "big":
        raw.byteswap()
    length = math.sqrt(sum(value * value for value in raw)) or 1.0
    return array("f", [value / length for value in raw])


def as_base64(vector: array[float]) -> str:
    """Returns the vector as base64 of little-endian float32s."""
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode("ascii")
