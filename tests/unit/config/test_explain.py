"""`config explain` shows every effective value and where it came from (golden file; UPDATE_GOLDEN=1 rewrites it)."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from headgate.config.explain import explain, show_json, show_text
from headgate.config.load import Loaded, load
from headgate.config.reference import settings

GOLDEN = pathlib.Path(__file__).parent / "golden"
ENVIRON = {"UP_KEY": "sk-one", "OPENAI_API_KEY": "sk-two", "HEADGATE_DATA": "/var/lib/hg"}


@pytest.fixture
def loaded(monkeypatch) -> Loaded:
    """The golden configuration, with a port from the command line."""
    monkeypatch.chdir(GOLDEN)
    return load("explain.yaml", environ=ENVIRON, overrides={"server.workers": ("--workers", 3)})


def test_text_is_golden(loaded: Loaded) -> None:
    """The text is as in golden/explain.txt: values in human units, secrets by reference."""
    text = show_text(explain(loaded)) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / "explain.txt").write_text(text)
    assert text == (GOLDEN / "explain.txt").read_text()
    assert "sk-" not in text


def test_json_says_the_same(loaded: Loaded) -> None:
    """JSON has the same lines, amounts as plain numbers, and no secret."""
    lines = explain(loaded)
    text = show_json(loaded, lines)
    assert "sk-" not in text
    data = json.loads(text)
    assert data["file"] == str(GOLDEN / "explain.yaml")
    found = {one["path"]: one for one in data["settings"]}
    assert list(found) == [line.path for line in lines]
    assert found["server.body_limit"] == {
        "path": "server.body_limit",
        "value": 1048576,
        "source": "file",
        "where": "explain.yaml:19",
    }
    assert found["providers.up.key"]["value"] == "env:UP_KEY (set)"
    assert found["providers.openai.key"]["source"] == "environment"
    assert found["server.workers"]["where"] == "--workers"


def test_every_setting_is_explained(loaded: Loaded) -> None:
    """No setting is left out: each path of the schema is there for some provider and model."""
    shown = {line.path for line in explain(loaded)}
    for setting in settings():
        path = setting.path.replace("providers.NAME", "providers.up").replace("models.NAME", "models.fast")
        path = path.replace("prices.NAME", "prices.gpt-4o-mini")
        path = path.replace("models.fast.timeouts", "models.fast.route[0].timeouts")
        path = path.replace("models.fast.description", 'models["gpt-4.1"].description')
        assert any(one == path or one.startswith((f"{path}.", f"{path}[")) for one in shown), path
