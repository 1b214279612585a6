"""docs/configuration.md names every setting, and is made from the schema."""

from __future__ import annotations

import pathlib
import re

import pytest

from headgate.config.load import load_settings
from headgate.config.reference import settings, update
from headgate.providers.rows import ROWS

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_every_setting_is_documented() -> None:
    """Each setting stands in the page with a sentence about it."""
    text = PAGE.read_text()
    for setting in settings():
        assert f"| `{setting.path}` |" in text
        assert setting.doc.endswith(".")
    for name in ROWS:
        assert f"| `{name}` |" in text


def test_the_reference_is_up_to_date() -> None:
    """Making the reference anew changes nothing (`python -m headgate.config.reference docs/configuration.md`)."""
    text = PAGE.read_text()
    assert update(text) == text


@pytest.mark.parametrize("page", ["alerts.md", "configuration.md", "reliability.md", "traces.md"])
def test_the_examples_load(page: str) -> None:
    """Every YAML block of the page is a valid configuration."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.with_name(page).read_text(), re.DOTALL)
    assert blocks
    keys = ("UP_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_KEY_1", "OPENAI_KEY_2")
    keys += ("HOOK_SECRET", "SLACK_URL", "SMTP_PASSWORD")
    keys += ("OTLP_AUTH", "LANGFUSE_AUTH", "GRAFANA_AUTH", "DD_API_KEY")
    for block in blocks:
        load_settings(text=block, environ=dict.fromkeys(keys, "k"))
