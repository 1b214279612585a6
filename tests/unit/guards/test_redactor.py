"""The redactor: the same value has the same pseudonym, in text, JSON and streams; and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.guards.redactor import Redactor

KEY = "sk-proj-A1b2C3d4E5f6G7h8I9j0K1l2"
SECRET = b"s" * 32


@pytest.fixture
def redactor() -> Redactor:
    """A redactor with a fixed secret."""
    return Redactor(SECRET)


def test_a_pseudonym_is_stable_and_keyed(redactor: Redactor) -> None:
    """One value, however it is written, has one pseudonym; under another secret another."""
    one, two = redactor.text("4111 1111 1111 1111"), redactor.text("4111111111111111")
    assert one == two == redactor.pseudonym("CARD", "4111111111111111")
    assert one.startswith("[CARD:")
    assert len(one) == len("[CARD:12345678]")
    assert Redactor(b"t" * 32).text("4111111111111111") != one
    assert redactor.text("a@b.de") != redactor.text("a@b.com")


def test_redacting_twice_changes_nothing(redactor: Redactor) -> None:
    """A pseudonym is not private itself, so that worker and recorder may both redact."""
    text = f"password: hunter2xyz, {KEY}, a@example.com, postgres://me:hunter2pw@db/x, Bearer abcDEF123456789012"
    once = redactor.text(text)
    assert KEY not in once
    assert "hunter2" not in once
    assert redactor.text(once) == once


def test_json_is_redacted_in_values_keys_and_numbers(redactor: Redactor) -> None:
    """Escapes hide nothing, in a string of JSON inside JSON neither; what is not private stays as it is."""
    arguments = json.dumps({"mail": "böb@example.org", "note": f"x\n{KEY}"})
    body = json.dumps({"a": f"line\n{KEY}", KEY: [4111111111111111, 1.5, None, True], "t": {"arguments": arguments}})
    new = redactor.body(body.replace("@", "\\u0040").encode())
    value = json.loads(new.data)
    name = redactor.pseudonym("OPENAI_KEY", KEY)
    assert value["a"] == f"line\n{name}"
    assert value[name] == [redactor.pseudonym("CARD", "4111111111111111"), 1.5, None, True]
    assert json.loads(value["t"]["arguments"]) == {
        "mail": redactor.pseudonym("EMAIL", "böb@example.org"),
        "note": f"x\n{name}",
    }
    assert new.found == 5


def test_bytes_without_anything_private_stay(redactor: Redactor) -> None:
    """Spaces, number forms, order, invalid JSON and what is no text at all come back byte for byte."""
    for body in (b'{ "a" : 1.0e2,\n"b":"\\u00e9" }', b"not json", b"\xff\x00\x01", b"", b'data: {"x" : 1}\n\n'):
        assert redactor.body(body).data == body


def test_what_is_no_json_is_redacted_as_text(redactor: Redactor) -> None:
    """Cut JSON, plain text, and text among bytes."""
    name = redactor.pseudonym("OPENAI_KEY", KEY).encode()
    for before, after in ((b'{"a": "', b""), (b"text ", b" text"), (b"\xff\xfe ", b" \x80")):
        assert redactor.body(before + KEY.encode() + after).data == before + name + after


def chat(piece: str) -> bytes:
    """An event of OpenAI's chat."""
    told = {"content": [{"token": piece, "bytes": list(piece.encode())}]}
    choice = {"index": 0, "delta": {"content": piece}, "logprobs": told}
    return b"data: " + json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode() + b"\n\n"


def anthropic(piece: str) -> bytes:
    """An event of Anthropic's messages."""
    event = {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": piece}}
    return b"event: content_block_delta\ndata: " + json.dumps(event).encode() + b"\n\n"


def texts(stream: bytes) -> str:
    """Returns the texts of a stream's deltas, joined."""
    said = ""
    for line in stream.split(b"\n"):
        if line.startswith(b"data: {"):
            event: Any = json.loads(line[6:])
            delta = event["choices"][0]["delta"] if "choices" in event else event["delta"]
            said += delta.get("content", delta.get("text"))
    return said


@pytest.mark.parametrize("event", [chat, anthropic])
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_secret_split_over_events_is_found(redactor: Redactor, event: Any, size: int) -> None:
    """However the upstream cut it; the events stay as many, and the text around it stays."""
    text = f"Write to alice@example.com with {KEY}; bye, alice@example.com."
    stream = b"".join(event(text[at : at + size]) for at in range(0, len(text), size)) + b"data: [DONE]\n\n"
    new = redactor.body(stream)
    assert texts(new.data) == redactor.text(text)
    assert new.text == redactor.text(text)
    assert new.data.count(b"\n\n") == stream.count(b"\n\n")
    assert new.data.endswith(b"data: [DONE]\n\n")
    assert b"token" not in new.data


def test_texts_of_two_channels_are_not_mixed(redactor: Redactor) -> None:
    """Two answers told in turns are two texts."""
    events = []
    for place in range(0, len(KEY), 4):
        for index, piece in enumerate((KEY[place : place + 4], "abcd")):
            delta = {"choices": [{"index": index, "delta": {"content": piece}}]}
            events.append(b"data: " + json.dumps(delta).encode() + b"\n\n")
    new = redactor.body(b"".join(events))
    assert redactor.pseudonym("OPENAI_KEY", KEY).encode() in new.data
    assert new.data.count(b'"abcd"') == len(KEY) // 4


def test_what_is_said_is_told_without_form(redactor: Redactor) -> None:
    """The words for a search are those of people and models, redacted; ids, roles and models' names are none."""
    body = {"id": "x1", "model": "gpt", "messages": [{"role": "user", "content": "Hello a@example.com"}]}
    assert redactor.body(json.dumps(body).encode()).text == f"Hello {redactor.pseudonym('EMAIL', 'a@example.com')}"


def test_a_name_loses_keys_only(redactor: Redactor) -> None:
    """An address is somebody's name if they say so; a token never is."""
    assert redactor.name("alice@example.com") == "alice@example.com"
    assert redactor.name(f"alice {KEY}") == f"alice {redactor.pseudonym('OPENAI_KEY', KEY)}"
