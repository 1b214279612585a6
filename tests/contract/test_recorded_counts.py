"""Counts before the call against what providers then counted, over recorded exchanges."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from statistics import median

from headgate.core.errors import HeadgateError
from headgate.core.usage import Usage
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.base import Dialect, View
from headgate.dialects.counting import input_bound
from headgate.dialects.estimating import estimate_input
from headgate.dialects.openai_chat import OpenAIChat
from headgate.dialects.tokens import encoding_of

from .recordings import Exchange, chat_exchanges, messages_exchanges

CHAT, MESSAGES = OpenAIChat(), Anthropic()
_MORE = {"tools", "functions", "response_format"}
_NO_TEXT = (b'"image', b'"file', b'"input_audio')


def counted(face: Dialect, exchanges: list[Exchange]) -> Iterator[tuple[View, Usage]]:
    """Yields each request with the usage that its answer reports."""
    for one in exchanges:
        try:
            view = face.view(one.request)
            if one.body.lstrip().startswith(b"{"):
                summary = face.read_answer(one.body)[1]
            else:
                decoder = face.stream_decoder()
                decoder.feed(one.body)
                decoder.end()
                summary = decoder.summary
        except HeadgateError:
            continue
        if one.status == 200 and summary.usage is not None and summary.usage.input:
            yield view, summary.usage


def test_the_bound_holds_over_what_providers_counted(shared_data: pathlib.Path) -> None:
    """No recorded request was counted above its bound, but for web searches and figures that were made up."""
    checked, above = 0, 0
    for face, exchanges in ((CHAT, chat_exchanges(shared_data)), (MESSAGES, messages_exchanges(shared_data))):
        for view, usage in counted(face, exchanges):
            checked += 1
            above += usage.input > input_bound(view, encoding_of(view.model)) and not usage.searches
    assert checked > 250
    assert above <= 2


def test_estimates_of_texts_are_openais(shared_data: pathlib.Path) -> None:
    """Of plain conversations with OpenAI, nine in ten are counted to the token or one off."""
    gaps = []
    for view, usage in counted(CHAT, [one for one in chat_exchanges(shared_data) if one.provider == "openai"]):
        encoding = encoding_of(view.model)
        if encoding.name and not _MORE & view.fields.keys() and not any(kind in view.raw for kind in _NO_TEXT):
            gaps.append(estimate_input(view, CHAT, encoding).tokens - usage.input)
    assert len(gaps) > 50
    assert median(gaps) == 0
    assert sum(abs(gap) <= 1 for gap in gaps) > 0.9 * len(gaps)
