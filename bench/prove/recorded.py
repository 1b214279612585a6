#!/usr/bin/env python3
"""Proof: every recorded exchange with a provider comes through a running gateway as it was, in both dialects.

Same dialect: bytes and events equal, whatever the chunking. Across dialects: text, tool calls, finish reason and usage
equal; the official SDKs' types and OpenAI's OpenAPI file take every chunk. Saves ``bench/results/recorded.json``.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.scenarios import recorded

if __name__ == "__main__":
    arguments = sys.argv[1:] or ["--seeds", "5"]
    sys.exit(recorded.main([*arguments, "--json", str(recorded.ROOT / "bench" / "results" / "recorded.json")]))
