"""Response headers: clean, and naming only what the specification names."""

from __future__ import annotations

import pytest

from headgate.dialects.anthropic import Anthropic
from headgate.dialects.openai_chat import OpenAIChat
from headgate.server.respond import _speakable, clean


@pytest.mark.parametrize(
    ("text", "header"),
    [("up/m-1", b"up/m-1"), ("up/a\r\nset-cookie: x", b"up/a??set-cookie: x"), ("Zoë\x00", b"Zo??"), ("", b"")],
)
def test_header_values_hold_no_line_ends(text: str, header: bytes) -> None:
    """Whatever a caller put into a model's name, it can not begin a header of its own."""
    assert clean(text) == header


def test_only_fields_of_the_specification_are_named() -> None:
    """A lost field that the caller made up is counted, not repeated."""
    known = OpenAIChat.field_names
    assert _speakable(["seed", "messages[12].content[0].detail"], known) == ["seed", "messages[12].content[0].detail"]
    assert _speakable(["seed", "my_secret_7", "messages[0].content[1].odd"], known) == ["seed", "2 unknown"]
    assert _speakable(["messages[2].content[0].cache_control", "top_k"], Anthropic.field_names) == [
        "messages[2].content[0].cache_control",
        "top_k",
    ]
