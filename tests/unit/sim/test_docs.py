"""The simulator's page names every fault, setting and scenario, and its example is valid."""

from __future__ import annotations

import pathlib
import re

from click.testing import CliRunner

from headgate.cli.sim import sim
from headgate.sim.fault import CATALOGUE, When
from headgate.sim.scenario import parse_scenario, shipped_names, shipped_scenario

PAGE = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "sim.md").read_text()


def test_the_page_is_complete() -> None:
    """Every fault with its own words and settings, every condition, every scenario."""
    for name, kind in CATALOGUE.items():
        assert f"| `{name}` | {kind.about} | {', '.join(f'`{param}`' for param in kind.params)} |" in PAGE
    for name in When.__struct_fields__:
        assert f"`{name}`" in PAGE
    for name in shipped_names():
        assert f"| `{name}` | {shipped_scenario(name).about} |" in PAGE


def test_the_example_is_valid() -> None:
    """The scenario on the page loads."""
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert len(parse_scenario(example[1], "page").behaviour.faults) == 4


def test_the_verb_lists_and_refuses() -> None:
    """--list names every fault; wrong options are errors that name what is wrong."""
    listed = CliRunner().invoke(sim, ["--list"])
    assert listed.exit_code == 0
    assert all(name in listed.output for name in (*CATALOGUE, *shipped_names()))
    for arguments, words in [
        (["--scenario", "flakey"], "did you mean 'flaky'"),
        (["--speed", "fast"], "--speed"),
        (["--tls-key", "x"], "--tls-cert"),
        (["--answers", "/nowhere"], "can not read"),
    ]:
        result = CliRunner().invoke(sim, arguments)
        assert result.exit_code == 1
        assert words in result.output
