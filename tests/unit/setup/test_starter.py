"""``headgate init``: a configuration that can be served as it is, without a secret in it."""

from __future__ import annotations

import pathlib

import pytest
from click.testing import CliRunner

from headgate.cli.init import init
from headgate.config.load import load_settings
from headgate.core.errors import ConfigError
from headgate.setup.known import KNOWN
from headgate.setup.starter import find, write

KEYS = {
    "nothing": {},
    "one": {"OPENAI_API_KEY": "sk-secret-1"},
    "two": {"OPENAI_API_KEY": "sk-secret-1", "ANTHROPIC_API_KEY": "sk-secret-2"},
    "compatible": {"GROQ_API_KEY": "sk-secret-3", "GOOGLE_API_KEY": "sk-secret-4"},
    "every": {
        "OPENAI_API_KEY": "sk-secret-1",
        "ANTHROPIC_API_KEY": "sk-secret-2",
        **{known.key_env[-1]: f"sk-secret-{name}" for name, known in KNOWN.items()},
    },
}


@pytest.mark.parametrize("environ", KEYS.values(), ids=KEYS)
def test_what_is_written_can_be_served(environ: dict[str, str]) -> None:
    """It loads, its models answer by the providers that were found, no secret is in it, every line is short."""
    text = write(find(environ))
    settings = load_settings(text=text, environ=environ)
    assert set(settings.models) >= {"fast", "test"}
    assert "sk-secret" not in text
    assert all(len(line) <= 200 for line in text.splitlines())
    assert text.count("\n#") > 10
    for name in ("openai", "anthropic"):
        if f"{name.upper()}_API_KEY" in environ:
            assert any(step.provider == name for group in settings.models["best"].route for step in group.steps)
    if not environ:
        assert settings.models["fast"].route[0].steps[0].name == "sim/echo"


def test_a_key_in_a_file_stays_there(tmp_path: pathlib.Path) -> None:
    """A mounted secret is named by its path."""
    key = tmp_path / "key"
    key.write_text("sk-secret-5")
    environ = {"OPENAI_API_KEY_FILE": str(key)}
    text = write(find(environ), data="/var/lib/headgate")
    assert f"file:{key}" in text
    settings = load_settings(text=text, environ=environ)
    assert settings.providers["openai"].keys[0].reveal() == "sk-secret-5"
    assert settings.data.dir == "/var/lib/headgate"


def test_the_commented_settings_exist() -> None:
    """What is offered in comments is right: uncommented, it loads."""
    lines = write([]).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("# defaults:"))
    text = "\n".join([*lines[:start], *(line.removeprefix("# ") for line in lines[start:])])
    settings = load_settings(text=text, environ={})
    assert settings.server.port == 8484


@pytest.mark.parametrize("environ", [{}, KEYS["one"], KEYS["compatible"]], ids=["nothing", "one", "compatible"])
def test_the_commented_providers_can_be_taken_in(environ: dict[str, str]) -> None:
    """Without its mark a provider's line stands where it belongs, whatever else was found."""
    lines = write(find(environ)).splitlines()
    first, end = lines.index("providers:"), lines.index("models:")
    text = "\n".join(
        line.replace("  # ", "  ", 1) if first < n < end - 2 and line.startswith("  # ") else line
        for n, line in enumerate(lines)
    )
    settings = load_settings(text=text, environ={"OPENAI_API_KEY": "sk-secret-1", **environ})
    assert {"openai", "ollama", "sim"} <= set(settings.providers)


def run(*arguments: str) -> str:
    """Runs the verb; returns what it prints."""
    result = CliRunner().invoke(init, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_file_that_is_there_stays(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written over only with ``--force``; ``--print`` writes nothing."""
    monkeypatch.chdir(tmp_path)
    assert "providers:" in run("--print")
    assert list(tmp_path.iterdir()) == []
    run()
    (tmp_path / "headgate.yaml").write_text("mine: 1\n")
    with pytest.raises(ConfigError, match="is there already; --force"):
        run()
    assert (tmp_path / "headgate.yaml").read_text() == "mine: 1\n"
    assert "wrote headgate.yaml" in run("--force")
    assert "mine" not in (tmp_path / "headgate.yaml").read_text()
    with pytest.raises(ConfigError, match="can not be written"):
        run("--config", str(tmp_path / "absent" / "x.yaml"))
