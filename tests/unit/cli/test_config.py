"""`headgate config`: check tells everything wrong with exit code 1; explain shows what holds."""

from __future__ import annotations

import json

import pytest

from headgate.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_CONFIG", "HEADGATE_DATA", "HEADGATE_ADMIN_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_check_says_ok(tmp_path, capsys) -> None:
    """A right configuration is counted."""
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "ok: 1 provider, 1 model\n"
    (tmp_path / "headgate.yaml").write_text(
        "providers: {v: {type: vllm}}\nmodels: {a: {route: [v/x]}, b: {route: [v/y]}}"
    )
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "ok: 2 providers, 2 models\n"


def test_check_tells_everything(tmp_path, capsys) -> None:
    """Every error is a line on stderr; the exit code is 1."""
    (tmp_path / "c.yaml").write_text("sever: {}\nmodels:\n  m: {rout: [v/x]}\n")
    assert main(["config", "check", "--config", "c.yaml"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        'c.yaml:1: sever: unknown setting "sever"; did you mean "server"?',
        'c.yaml:3: models.m.rout: unknown setting "rout"; did you mean "route"?',
    ]
    assert main(["config", "check", "--config", "gone.yaml"]) == 1
    assert "can not read the configuration gone.yaml: No such file or directory" in capsys.readouterr().err


def test_check_looks_a_price_table_up(tmp_path, capsys) -> None:
    """What `serve` would refuse at its start, `check` tells before."""
    (tmp_path / "headgate.yaml").write_text(
        "providers: {up: {dialect: openai_chat, url: 'https://h.example/v1', price_table: opnai}}"
    )
    assert main(["config", "check"]) == 1
    assert capsys.readouterr().err == (
        'headgate.yaml:1: providers.up.price_table: the price table has no "opnai"; did you mean "openai"?\n'
    )


def test_explain(capsys, monkeypatch) -> None:
    """Text for people, JSON for programs; --data counts; secrets are not shown."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert main(["config", "explain", "--data", "/x"]) == 0
    text = capsys.readouterr().out
    assert "env:OPENAI_API_KEY (set)" in text
    assert "sk-secret" not in text
    assert main(["config", "explain", "--format", "json", "--data", "/x"]) == 0
    found = {one["path"]: one for one in json.loads(capsys.readouterr().out)["settings"]}
    assert found["data.dir"] == {"path": "data.dir", "value": "/x", "source": "command line", "where": "--data"}


def test_a_wrong_configuration_stops_other_verbs(tmp_path, capsys) -> None:
    """Elsewhere a configuration error has exit code 2 and tells all of it."""
    (tmp_path / "headgate.yaml").write_text("server: {port: x, host: 5}")
    assert main(["config", "explain"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: the configuration has errors:\nheadgate.yaml:1: server.port: ")
    assert "server.host" in err
