"""``headgate replay``: what can not be meant is refused before anything is sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from headgate.cli.replay import replay
from headgate.cli.replayed import print_reproduction
from headgate.core.tape import Tape
from headgate.observe.replay.outcome import Outcome


@pytest.mark.parametrize("where", ["", "  "])
def test_no_filter_is_not_every_call(where: str) -> None:
    """A shell variable that is not set must not send (and pay for) the newest hundred calls again."""
    with pytest.raises(click.UsageError, match="names no filter"):
        CliRunner().invoke(replay, ["--where", where], catch_exceptions=False, standalone_mode=False)


def test_what_a_stream_said_is_shown_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The ends of lines of an event stream part lines; they are no signs to be hidden from a terminal."""
    tape = Tape(0, "anthropic", b"/v1/messages", pieces=[(5, b"event: ping\r\ndata: {}\r\n\r\ndata: \x1b[2J\n\n")])
    recorded: Any = SimpleNamespace(tapes=[tape], story={"attempts": [{"deployment": "up/m"}]})
    same = Outcome("hg_1", "fast", None, "failed")
    reproduction: Any = SimpleNamespace(before=same, after=same, told=[], differs=[])
    print_reproduction(recorded, reproduction, "table")
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines() if "data" in line] == [["data:", "{}"], ["data:", "?[2J"]]
    assert "??" not in shown
