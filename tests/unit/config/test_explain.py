"""`config explain` shows every effective value and where it came from (golden file; UPDATE_GOLDEN=1 rewrites it)."""

from __future__ import annotations

import json
import os
import pathlib
import re

import pytest

from headgate.config.changes import changes
from headgate.config.explain import explain, show_json, show_text
from headgate.config.load import Loaded, load
from headgate.config.reference import settings

GOLDEN = pathlib.Path(__file__).parent / "golden"
ENVIRON = {"UP_KEY": "sk-one", "UP_KEY_2": "sk-three", "OPENAI_API_KEY": "sk-two", "HEADGATE_DATA": "/var/lib/hg"}


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


def test_settings_read_twice_are_the_same(loaded: Loaded) -> None:
    """Whatever the file may hold: else every look at it would be a change."""
    again = load("explain.yaml", environ=ENVIRON, overrides={"server.workers": ("--workers", 3)})
    assert changes(loaded.settings, again.settings) == []
    assert again.settings == loaded.settings


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
        "where": "explain.yaml:41",
    }
    assert found["providers.up.key"]["value"] == "env:UP_KEY (set)"
    assert found["providers.openai.key"]["source"] == "environment"
    assert found["server.workers"]["where"] == "--workers"


def test_origins_in_groups(loaded: Loaded) -> None:
    """A deployment in a group tells where a value is from: model, provider, defaults section, or built in."""
    found = {line.path: (line.value, line.origin) for line in explain(loaded)}
    assert found["models.fast.route[1].of[0].use"] == ("many/claude-small", "explain.yaml:22")
    assert found["models.fast.route[1].of[0].weight"] == (3.0, "explain.yaml:22")
    assert found["models.fast.route[1].of[1]"] == ("sim/echo", "explain.yaml:23")
    assert found["models.fast.route[1].of[1].weight"] == (1.0, "default")
    assert found["models.fast.route[1].balance"] == ("weighted", "explain.yaml:24")
    assert found["models.fast.route[1].of[0].retry.cap"] == (2.0, "explain.yaml:35")
    assert found["models.fast.route[1].of[0].retry.budget"] == (0.1, "explain.yaml:44")
    assert found["models.fast.route[0].retry.attempts"] == (1, "explain.yaml:9")
    assert found["models.fast.route[0].retry.base"] == (0.25, "default")
    assert found["models.fast.on.content_filter[1].limit.queue"] == (10, "explain.yaml:37")
    assert found["models.fast.hedge.quantile"] == (0.9, "explain.yaml:30")
    assert found["models.fast.hedge.budget"] == (0.05, "default")
    assert found['models["gpt-4.1"].hedge'] == (False, "default")
    assert not any(path.startswith('models["gpt-4.1"].route[0].') for path in found)


ELSEWHERE = {
    "providers.up.keys": "providers.many.keys",
    "models.fast.description": 'models["gpt-4.1"].description',
    "models.fast.route[N].use": "models.fast.route[2].use",
    "models.fast.route[N].weight": "models.fast.route[2].weight",
    "models.fast.route[N].of[N].use": "models.fast.route[1].of[0].use",
    "models.fast.route[N].of[N].weight": "models.fast.route[1].of[0].weight",
    **{f"alerts.receivers.NAME.{name}": f"alerts.receivers.hook.{name}" for name in ("url", "secret", "allow_private")},
    **{f"alerts.rules.NAME.{name}": f"alerts.rules.spike.{name}" for name in ("history", "at_least")},
    **{f"alerts.rules.NAME.{name}": f"alerts.rules.money.{name}" for name in ("amount", "per", "levels", "projected")},
    "alerts.rules.NAME.quantile": "alerts.rules.slow.quantile",
}
"""Where the golden configuration has what can not stand at the usual place."""


def test_every_setting_is_explained(loaded: Loaded) -> None:
    """No setting is left out: each path of the schema is there for some provider and model."""
    shown = {line.path for line in explain(loaded)}
    for setting in settings():
        path = setting.path.replace("providers.NAME", "providers.up").replace("models.NAME", "models.fast")
        path = re.sub(r"^models\.fast\.(timeouts|retry|breaker|limit)\b", r"models.fast.route[0].\1", path)
        path = ELSEWHERE.get(path, path).replace("route[N]", "route[1]").replace("limits[N]", "limits[0]")
        path = path.replace("prices.NAME", "prices.gpt-4o-mini")
        path = path.replace("alerts.receivers.NAME", "alerts.receivers.mail")
        path = path.replace("alerts.rules.NAME", "alerts.rules.errors")
        assert any(one == path or one.startswith((f"{path}.", f"{path}[")) for one in shown), path
