"""All questions of MT-bench and Arena-hard, through the official SDKs, against the embedded simulator."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest

from . import questions


@pytest.mark.parametrize("kind", questions.PYTHON)
def test_python_sdks(kind: str, shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Every answer comes whole, and every call is in the records with the right tokens and finish reason."""
    (tally,) = questions.run(shared_data, tmp_path, [kind])
    assert tally.problems == []
    assert tally.asked == 660


def test_npm_package(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The same through the openai npm package, unary and streamed; in CI and `make prove` only."""
    if os.environ.get("CI") != "true":
        what = "npm is not installed" if shutil.which("npm") is None else "CI=true is not set"
        pytest.skip(f"the npm package is tried in CI and by `make prove` ({what})")
    tallies = questions.run(shared_data, tmp_path, questions.NPM, questions.install_npm())
    assert [tally.problems for tally in tallies] == [[], []]
    assert [tally.asked for tally in tallies] == [660, 660]
