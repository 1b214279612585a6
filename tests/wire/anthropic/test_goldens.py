"""Golden files of the Anthropic wire: what an OpenAI client's words become, byte for byte.

``*.request.json`` is an OpenAI request, its golden the Anthropic body and what was lost; ``*.answer.json`` an OpenAI
answer, its goldens the Anthropic body and stream. ``HEADGATE_UPDATE_GOLDENS=1`` rewrites them; read the diff then.
"""

from __future__ import annotations

import os
import pathlib

import msgspec
import pytest

from headgate.dialects.anthropic import Anthropic
from headgate.dialects.openai_chat import OpenAIChat

FOLDER = pathlib.Path(__file__).parent
ANTHROPIC, OPENAI = Anthropic(), OpenAIChat()


def check(name: str, got: bytes) -> None:
    path = FOLDER / name
    if os.environ.get("HEADGATE_UPDATE_GOLDENS") == "1":
        path.write_bytes(got)
    assert got == path.read_bytes(), f"{name} changed"


def pretty(raw: bytes) -> bytes:
    return msgspec.json.format(raw, indent=2) + b"\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.request.json")), ids=lambda path: path.name)
def test_requests(path: pathlib.Path) -> None:
    """An OpenAI request becomes exactly this Anthropic request, with these losses."""
    conversation = OPENAI.read_request(OPENAI.view(path.read_bytes()))
    encoded = ANTHROPIC.write_request(conversation, max_tokens_field="max_tokens", stream_usage=True)
    name = path.name.removesuffix(".request.json")
    check(f"{name}.request.golden.json", pretty(encoded.body))
    check(f"{name}.request.lost.txt", "".join(f"{field}\n" for field in encoded.lost).encode())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.answer.json")), ids=lambda path: path.name)
def test_answers(path: pathlib.Path) -> None:
    """An OpenAI answer becomes exactly this Anthropic message, and this stream."""
    frame, _ = OPENAI.read_answer(path.read_bytes())
    name = path.name.removesuffix(".answer.json")
    for stream, ending in ((False, "body.golden.json"), (True, "stream.golden.sse")):
        encoder = ANTHROPIC.encoder(stream=stream, model="asked-for")
        body = encoder.feed(frame.events) + encoder.end()
        check(f"{name}.{ending}", body if stream else pretty(body))
