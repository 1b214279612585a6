"""All questions of MT-bench and Arena-hard, through the official SDKs, against the embedded simulator."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest

from . import questions


@pytest.fixture(scope="module")
def tallies(shared_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, questions.Tally]:
    """How the questions fared with each Python SDK, at one gateway."""
    return {tally.kind: tally for tally in questions.run(shared_data, tmp_path_factory.mktemp("questions"))}


@pytest.mark.parametrize("kind", questions.PYTHON)
def test_python_sdks(kind: str, tallies: dict[str, questions.Tally]) -> None:
    """Every answer comes whole, and every call is in the records with the right tokens and finish reason."""
    assert tallies[kind].problems == []
    assert tallies[kind].asked == 660


def test_records_hold_no_other_calls(tallies: dict[str, questions.Tally]) -> None:
    """Each call is recorded once, and nothing else is."""
    assert tallies.keys() == questions.PYTHON.keys()


def test_npm_package(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The same through the openai npm package, unary and streamed; in CI and `make prove` only."""
    if os.environ.get("CI") != "true":
        what = "npm is not installed" if shutil.which("npm") is None else "CI=true is not set"
        pytest.skip(f"the npm package is tried in CI and by `make prove` ({what})")
    tallies = questions.run(shared_data, tmp_path, questions.NPM, questions.install_npm())
    assert [tally.problems for tally in tallies] == [[], []]
    assert [tally.asked for tally in tallies] == [660, 660]
