"""``headgate load``: what it will not do, and why; see ``tests/scenarios/tools/test_load.py`` for what it does."""

from __future__ import annotations

import pathlib
import re
import threading
from typing import Any

import pytest
from click.testing import CliRunner

from headgate.cli.load import load
from headgate.core.errors import HeadgateError

TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.1,4,2\n"


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with a trace, nothing of this machine's environment, and no load in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_CONFIG", "HEADGATE_DATA", "HEADGATE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "t.csv").write_text(TRACE)
    return tmp_path


def said(*arguments: str) -> str:
    """Runs it and returns how it refused."""
    result = CliRunner().invoke(load, list(arguments))
    assert result.exit_code != 0
    if isinstance(result.exception, HeadgateError):
        return result.exception.message
    return re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name where arrivals come from"),
        (["--trace", "t.csv", "--from-records"], "name where arrivals come from"),
        (["--trace", "absent.csv"], "can not read the trace absent.csv"),
        (["nonsense", "--trace", "t.csv"], "not a URL to load"),
        (["http://user:pw@127.0.0.1", "--trace", "t.csv"], "not a URL to load"),
        (["http://192.0.2.7", "--trace", "t.csv"], "add --yes to load it"),
        (["--trace", "t.csv", "--key", "sk-my-secret"], "a secret is given by where it lives"),
        (["--trace", "t.csv", "--key", "env:ABSENT"], "environment variable ABSENT is not set"),
        (["--trace", "t.csv", "--data", "absent"], "there is no data directory"),
        (["--from-records"], "there is no data directory"),
        (["--trace", "t.csv", "--speed", "0"], "--speed"),
        (["--trace", "t.csv", "--stream", "2"], "--stream"),
        (["--trace", "t.csv", "--start", "60"], "no arrival is left"),
        (["--trace", "t.csv", "--json", "absent/r.json"], "--json can not be written: absent/r.json"),
        (["--trace", "t.csv", "--html", "."], "--html can not be written: ."),
    ],
)
def test_bad_input_is_refused_before_anything_is_loaded(
    here: pathlib.Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what is wrong; no call is made, no secret is repeated, no directory is made."""
    monkeypatch.setattr("headgate.load.run.Run.play", lambda *_: pytest.fail("it loaded"))
    told = said(*arguments)
    assert message in told
    assert "my-secret" not in told
    assert "pw" not in told
    assert [path.name for path in here.iterdir()] == ["t.csv"]


def test_a_report_that_can_not_be_written_is_told(here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a folder goes away during the load, its figures are shown all the same."""
    (here / "out").mkdir()
    done = threading.Event()

    async def play(self: Any, look: Any) -> None:
        self.tally.begin(0.0, 0.0)
        (here / "out").rmdir()
        done.set()

    monkeypatch.setattr("headgate.load.run.Run.play", play)
    result = CliRunner().invoke(load, ["--trace", "t.csv", "--json", "out/r.json"])
    assert isinstance(result.exception, HeadgateError)
    assert "the report can not be written" in result.exception.message
    assert "FROM THE INTENDED START" in result.stdout
    assert done.is_set()
