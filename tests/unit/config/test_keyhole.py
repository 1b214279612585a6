"""A configuration can be read where the secrets of its gateway are not: placeholders stand for them."""

from __future__ import annotations

import pathlib

import pytest

from headgate.config.explain import explain
from headgate.config.load import load, load_settings
from headgate.core.errors import ConfigError

TEXT = """
providers:
  openai: {}
  one: {dialect: openai_chat, url: "http://h/v1", keys: ["env:FIRST", "env:SECOND"], headers: {api-key: "env:FIRST"}}
  two: {dialect: openai_chat, url: "http://h/v1", key: "file:mounted/key"}
alerts:
  receivers: {ops: {type: slack, url: "env:SLACK_URL"}}
  rules: {money: {kind: budget, amount: 100, per: month}}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_placeholders_stand_for_every_secret_that_is_missing() -> None:
    """Unset, empty and unmounted ones are named once each; those that are there are read as ever."""
    loaded = load(text=TEXT, environ={"SECOND": "sk-2", "FIRST": ""}, secrets="placeholders")
    assert loaded.absent == ("env:OPENAI_API_KEY", "env:FIRST", "file:mounted/key", "env:SLACK_URL")
    first, second = loaded.settings.providers["one"].keys
    assert (first.absent, second.absent) == (True, False)
    assert second.reveal() == "sk-2"
    assert loaded.settings.alerts is not None
    assert loaded.settings.alerts.receivers[0].url == "env:SLACK_URL"
    shown = {line.path: line.value for line in explain(loaded)}
    assert shown["providers.one.keys[0]"] == "env:FIRST (not set here)"
    assert shown["providers.one.keys[1]"] == "env:SECOND (set)"


def test_a_placeholder_is_never_sent() -> None:
    """Whoever asks a placeholder for its value gets an error that names what is missing."""
    settings = load_settings(text=TEXT, environ={}, secrets="placeholders")
    with pytest.raises(ConfigError, match="secret env:FIRST is not there"):
        settings.providers["one"].keys[0].reveal()


def test_a_mounted_secret_takes_its_placeholders_place(tmp_path: pathlib.Path) -> None:
    """A file that is mounted later is read when secrets are."""
    settings = load_settings(text=TEXT.replace("mounted", str(tmp_path)), environ={}, secrets="placeholders")
    (secret,) = settings.providers["two"].keys
    (tmp_path / "key").write_text("sk-late\n")
    assert secret.refresh()
    assert (secret.absent, secret.reveal()) == (False, "sk-late")


def test_secrets_are_required_elsewhere() -> None:
    """Without asking for placeholders, each missing secret is a problem of its own."""
    with pytest.raises(ConfigError) as caught:
        load(text=TEXT, environ={})
    for name in ("OPENAI_API_KEY", "FIRST", "SECOND", "mounted/key", "SLACK_URL"):
        assert name in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {database: 'env:NOWHERE_URL'}", "NOWHERE_URL is not set"),
        ("providers: {one: {dialect: openai_chat, url: 'http://h', key: 'env:ODD'}}", "can not stand in a header"),
        ("providers: {one: {dialect: openai_chat, url: 'http://h', key: 'sk-in-the-file'}}", "never by its value"),
        ("providers: {openai: {url: 'http://h/v1'}}", "at another URL name the key"),
    ],
)
def test_placeholders_excuse_nothing_else(text: str, message: str) -> None:
    """What opens the database must be there; a secret that is there and wrong, or misplaced, stays an error."""
    with pytest.raises(ConfigError, match=message):
        load(text=text, environ={"ODD": "sk\x01"}, secrets="placeholders")
