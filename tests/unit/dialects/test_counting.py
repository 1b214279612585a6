"""Counting before the call: bounds that no request exceeds, estimates that are near."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.encoding import UNKNOWN_ENCODING, Encoding
from headgate.core.errors import BadRequest
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.base import Dialect, View
from headgate.dialects.counting import (
    PAGES_UNSEEN,
    PER_PROVIDER_TOOL,
    PER_REQUEST,
    PER_TOOLS,
    asked_tier,
    input_bound,
)
from headgate.dialects.embeddings import Embeddings
from headgate.dialects.estimating import estimate_input
from headgate.dialects.openai_chat import OpenAIChat
from headgate.dialects.tokens import counter, encoding_of

CHAT, MESSAGES = OpenAIChat(), Anthropic()
O200K = encoding_of("gpt-4o")
BIG = "A" * 400_000


def chat(content: Any, **fields: Any) -> View:
    return CHAT.view(json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields}).encode())


def messages(content: Any, **fields: Any) -> View:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}], **fields}
    return MESSAGES.view(json.dumps(body).encode())


@given(st.lists(st.text(max_size=300), min_size=1, max_size=6), st.booleans())
def test_no_text_has_more_tokens_than_the_bound(texts: list[str], escaped: bool) -> None:
    """Whatever the text and however it is escaped, its tokens, eight a message and 32 are within the bound."""
    body = {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}
    view = CHAT.view(json.dumps(body, ensure_ascii=escaped).encode("utf-8", "replace"))
    count = counter("o200k_base")
    assert count is not None
    tokens = sum(8 + count(text.encode("utf-8", "replace").decode()) for text in texts) + 32
    assert tokens <= input_bound(view)
    assert sum(len(text.encode("utf-8", "replace")) for text in texts) + 32 <= input_bound(view)


def test_an_image_is_counted_by_itself() -> None:
    """Its bytes are no text, and an address of a few bytes is a whole image; in a tool's result too."""
    data = f"data:image/png;base64,{BIG}"
    encoding = Encoding(image=1445)
    here = chat([{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": data}}])
    there = chat([{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "https://x/a.png"}}])
    two = messages(
        [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BIG}},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"data": BIG}}]},
        ]
    )
    for view, images in ((here, 1), (there, 1), (two, 2)):
        assert 1445 * images < input_bound(view, encoding) < 1445 * images + 400


def test_escapes_do_not_hide_an_image() -> None:
    """A type written with escapes is the same type to the provider, and here."""
    plain = (
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]}'
    )
    hidden = plain.replace(b'"type":"image_url"', b'"\\u0074ype":"\\u0069mage_url"')
    assert hidden != plain
    assert input_bound(CHAT.view(hidden), Encoding(image=9000)) > 9000


def test_files_and_audio_are_counted_by_size() -> None:
    """A file's data makes pages, a reference to one a flat number of them, plain text its bytes."""
    encoding = Encoding(page=1000)
    pages = 1 + len(BIG) * 3 // 4 // 50_000
    data = messages([{"type": "document", "source": {"type": "base64", "data": BIG}}])
    assert pages * 1000 < input_bound(data, encoding) < pages * 1000 + 300
    far = messages([{"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}])
    assert PAGES_UNSEEN * 1000 < input_bound(far, encoding) < PAGES_UNSEEN * 1000 + 300
    text = messages(
        [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello" * 100}}]
    )
    assert 500 < input_bound(text, encoding) < 900
    inside = [{"type": "image", "source": {"type": "url", "url": "https://x"}}]
    content = messages([{"type": "document", "source": {"type": "content", "content": inside}}])
    assert UNKNOWN_ENCODING.image < input_bound(content) < UNKNOWN_ENCODING.image + 300
    uploaded = chat([{"type": "file", "file": {"file_id": "file-1"}}])
    assert input_bound(uploaded, encoding) > PAGES_UNSEEN * 1000
    speech = chat([{"type": "input_audio", "input_audio": {"data": BIG, "format": "mp3"}}])
    assert len(BIG) // 40 < input_bound(speech) < len(BIG) // 40 + 300


def test_tools_are_counted() -> None:
    """Definitions by their bytes, what a provider adds for having any, and those that it knows by type."""
    plain = input_bound(chat("hi"))
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    size = len(json.dumps({"tools": [function]})) - len("{}") + len(", ") - 0
    assert abs(input_bound(chat("hi", tools=[function])) - plain - PER_TOOLS - size) <= 2
    known = messages("hi", tools=[{"type": "computer_20250124", "name": "computer"}])
    assert input_bound(known) > input_bound(messages("hi")) + PER_TOOLS + PER_PROVIDER_TOOL


def test_an_exact_encoding_counts_tokens(caplog: pytest.LogCaptureFixture) -> None:
    """Where the deployment asks for it, the bound is the tokenizer's count: a quarter of the bytes of English."""
    view = chat("The quick brown fox jumps over the lazy dog. " * 200)
    exact = encoding_of("gpt-4o", exact=True)
    assert 2000 < input_bound(view, exact) < 2200
    assert input_bound(view, O200K) == len(view.raw) + PER_REQUEST
    assert not encoding_of("llama3", exact=True).exact
    assert "no tokenizer for llama3" in caplog.text


def test_what_no_provider_takes_is_bounded_by_its_bytes() -> None:
    """Messages of a wrong shape do not stop the bound."""
    for body in (b'{"model":"m","messages":7}', b'{"model":"m","messages":[{"content":[7]}],"tools":"x"}'):
        assert input_bound(CHAT.view(body)) >= len(body)


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, ""),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "auto"}, ""),
        ({"service_tier": 7}, ""),
        ({"service_tier": None, "speed": "fast"}, "fast"),
    ],
)
def test_the_tier_that_is_asked_for(fields: dict[str, Any], tier: str) -> None:
    """Only tiers that may have a price of their own count; anything else is the standard one."""
    assert asked_tier(chat("hi", **fields)) == tier


def test_models_have_their_encodings() -> None:
    """OpenAI's names, dated, fine-tuned or behind a router, have theirs; others are bounded by bytes."""
    for name in (
        "gpt-4o-2024-08-06",
        "ft:gpt-4o-mini-2024-07-18:org::1",
        "openai/gpt-5-nano",
        "o3-mini",
        "gpt-oss-120b",
    ):
        assert encoding_of(name).name == "o200k_base", name
    for name in ("gpt-4-turbo", "gpt-35-turbo", "gpt-3.5-turbo-0125", "text-embedding-3-small"):
        assert encoding_of(name).name == "cl100k_base", name
    for name in ("claude-sonnet-4-5", "llama3.1", "gemini-2.5-pro", "mistral-large"):
        assert encoding_of(name).name == "", name
    assert encoding_of("gpt-4o-mini").image > 40_000
    assert counter("no_such_base") is None


def estimated(view: View, dialect: Dialect, model: str) -> tuple[int, str]:
    found = estimate_input(view, dialect, encoding_of(model))
    return found.tokens, found.method


def test_a_chat_is_counted_as_openai_counts() -> None:
    """Three tokens a message, its role, its text, and three for the answer's beginning."""
    text = "Hello, gate! How are you today?"
    count = counter("o200k_base")
    assert count is not None
    assert estimated(chat(text), CHAT, "gpt-4o") == (count(text) + 7, "tokenizer")
    assert estimated(messages(text), MESSAGES, "gpt-4o") == (count(text) + 7, "tokenizer")
    named = CHAT.view(b'{"model":"m","messages":[{"role":"user","name":"bob","content":"hi"}]}')
    assert estimated(named, CHAT, "gpt-4o")[0] == estimated(chat("hi"), CHAT, "gpt-4o")[0] + 2


def test_without_a_tokenizer_characters_are_counted() -> None:
    """3.5 ASCII characters make a token, any other character one."""
    assert estimated(chat("x" * 350), CHAT, "llama3") == (107, "characters")
    assert estimated(chat("ж" * 50), CHAT, "llama3") == (57, "characters")


def test_everything_in_a_request_counts() -> None:
    """Tools, their calls and results, schemas, images and files all add to an estimate."""
    plain = estimated(messages("hi"), MESSAGES, "gpt-4o")[0]
    schema = {
        "type": "object",
        "properties": {
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "The unit."},
            "days": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        },
    }
    tools = [{"name": "weather", "description": "Tells the weather.", "input_schema": schema}]
    assert plain + 30 < estimated(messages("hi", tools=tools), MESSAGES, "gpt-4o")[0] < plain + 90
    assert estimated(messages("hi", tools=tools), MESSAGES, "claude-sonnet-4-5")[0] > 346
    known = [{"type": "web_search_20250305", "name": "web_search"}]
    assert estimated(messages("hi", tools=known), MESSAGES, "gpt-4o")[0] > plain
    turn = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "weather", "input": {"unit": "c"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "12 degrees"}]},
    ]
    view = MESSAGES.view(json.dumps({"model": "m", "max_tokens": 9, "messages": turn}).encode())
    assert 25 < estimated(view, MESSAGES, "gpt-4o")[0] < 60
    for part, least in (
        ({"type": "image", "source": {"type": "url", "url": "https://x"}}, 700),
        ({"type": "document", "source": {"type": "url", "url": "https://x"}}, 2400),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "word " * 100}}, 100),
        ({"type": "redacted_thinking", "data": "abc" * 50}, 20),
    ):
        assert estimated(messages([part]), MESSAGES, "gpt-4o")[0] >= least
    low = chat([{"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}}])
    assert estimated(low, CHAT, "gpt-4o")[0] == 92
    speech = chat([{"type": "input_audio", "input_audio": {"data": "A" * 80_000, "format": "mp3"}}])
    assert 100 < estimated(speech, CHAT, "gpt-4o")[0] < 130
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert estimated(chat("hi", response_format=form), CHAT, "gpt-4o")[0] > plain + 30


@pytest.mark.parametrize(
    ("given", "tokens"), [("one two", 2), (["one", "two three"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3)]
)
def test_an_embeddings_input_is_counted(given: Any, tokens: int) -> None:
    """A text, texts, tokens and lists of tokens."""
    face = Embeddings()
    view = face.view(json.dumps({"model": "m", "input": given}).encode())
    assert estimated(view, face, "text-embedding-3-small") == (tokens, "tokenizer")


def test_a_wrong_request_is_named() -> None:
    """An estimate refuses what the call would be refused for."""
    with pytest.raises(BadRequest) as caught:
        estimate_input(chat(7), CHAT, O200K)
    assert caught.value.param == "messages[0].content"
    face = Embeddings()
    with pytest.raises(BadRequest):
        estimate_input(face.view(b'{"model":"m","input":[{"x":1}]}'), face, O200K)
