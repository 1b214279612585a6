"""``headgate replay``: what can not be meant is refused before anything is sent."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from headgate.cli.replay import replay


@pytest.mark.parametrize("where", ["", "  "])
def test_no_filter_is_not_every_call(where: str) -> None:
    """A shell variable that is not set must not send (and pay for) the newest hundred calls again."""
    with pytest.raises(click.UsageError, match="names no filter"):
        CliRunner().invoke(replay, ["--where", where], catch_exceptions=False, standalone_mode=False)
