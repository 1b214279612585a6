"""Every recorded exchange with a provider, replayed as the upstream of a running gateway.

``.venv/bin/python -m tests.scenarios.recorded`` prints the counts that this asserts on.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import pytest

from . import recorded
from .recorded import Result, Verdict

# What the other wire has no counterpart for; anything else that turns up as lost is a bug or wants a line here.
LOUD = {
    "annotations",
    "audio",
    "choices[N]",
    "citations",
    "finish_reason",
    "logprobs",
    "messages[N].content[N]",
    "redacted_thinking",
    "refusal",
    "server_tool_use",
    "thinking.signature",
    "tool_calls[N].arguments",
    "tool_calls[N].custom",
    "tool_search_tool_result",
    "top_p",
    "web_search_tool_result",
}


@pytest.fixture(scope="module")
def result(shared_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One replay of everything, its bytes cut at random places."""
    return recorded.run(shared_data, tmp_path_factory.mktemp("recorded"))


def lines(verdicts: Iterable[Verdict]) -> list[str]:
    return [f"{one.route}, {one.provider}, {one.name}: {one.why or one.lost}" for one in verdicts]


def test_none_failed(result: Result) -> None:
    """Clients receive what was recorded, in their own dialect, and each call's Record has its usage and finish."""
    assert lines(one for one in result.verdicts if one.why) == []
    assert len(result.verdicts) > 1700


def test_nothing_is_lost_in_the_providers_own_dialect(result: Result) -> None:
    """Where client and provider speak the same dialect, everything survives."""
    assert lines(one for one in result.verdicts if one.lost and recorded.is_same(one.route)) == []


def test_losses_are_only_what_has_no_counterpart(result: Result) -> None:
    """Across dialects, what is lost is on the list of things that the other wire has no place for, and is rare."""
    across = [one for one in result.verdicts if not recorded.is_same(one.route)]
    assert {field for row in recorded.rows_of(across) for field in row["lost"]} <= LOUD
    assert sum(bool(one.lost) for one in across) < len(across) / 10


def test_records_name_what_answers_lost(result: Result) -> None:
    """Lossless or loud: the Record of a call names everything that its answer lost on the way."""
    assert result.unnamed == {}
