"""A right file becomes frozen settings with every blank filled in."""

from __future__ import annotations

import msgspec
import pytest

from headgate.config.load import find_data_dir, find_file, load, load_settings
from headgate.config.settings import Settings
from headgate.core.errors import ConfigError

ACCEPTANCE = """\
providers:
  up: {dialect: openai_chat, url: "http://127.0.0.1:9000/v1", key: "env:UP_KEY"}
models:
  fast: {route: [up/gpt-4o-mini, sim/echo]}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def names(settings: Settings, model: str) -> list[str]:
    return [step.name for group in settings.models[model].route for step in group.steps]


def test_acceptance_shape() -> None:
    """The shape that acceptance uses loads as it stands."""
    settings = load_settings(text=ACCEPTANCE, environ={"UP_KEY": "sk-1"})
    up = settings.providers["up"]
    assert (up.url, up.dialects, up.max_tokens_field, up.stream_usage) == (
        "http://127.0.0.1:9000/v1",
        ("openai_chat",),
        "max_tokens",
        True,
    )
    assert up.keys[0].reveal() == "sk-1"
    assert names(settings, "fast") == ["up/gpt-4o-mini", "sim/echo"]
    assert settings.models["fast"].route[0].steps[0].model == "gpt-4o-mini"
    assert settings.models["fast"].route[0].steps[0].max_tokens == 4096


def test_nothing_at_all() -> None:
    """Without file and environment the simulator answers as sim/echo."""
    settings = load_settings(environ={})
    assert list(settings.providers) == ["sim"]
    assert settings.providers["sim"].row.embedded
    assert names(settings, "sim/echo") == ["sim/echo"]
    assert settings.file is None
    assert settings.server.host == "127.0.0.1"


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "providers:\nmodels:\nserver:\n", "---\n", "{}", "\ufeffserver: {}"]
)
def test_empty_files_and_sections(text: str) -> None:
    """An empty file, and sections whose lines are all commented out, mean the defaults."""
    assert list(load_settings(text=text, environ={}).models) == ["sim/echo"]


def test_keys_in_the_environment_bring_their_providers(tmp_path) -> None:
    """A key in the environment, or a path to one, makes its provider available with or without a file."""
    (tmp_path / "key").write_text("sk-ant\n")
    environ = {"OPENAI_API_KEY": "sk-oai", "ANTHROPIC_API_KEY_FILE": str(tmp_path / "key"), "UP_KEY": "k"}
    for text in (None, ACCEPTANCE):
        providers = load_settings(text=text, environ=environ).providers
        openai, anthropic = providers["openai"], providers["anthropic"]
        assert openai.keys[0].reveal() == "sk-oai"
        assert anthropic.keys[0].reveal() == "sk-ant"
        assert openai.url == "https://api.openai.com/v1"
        assert openai.max_tokens_field == "max_completion_tokens"
        assert anthropic.row.static_headers == {"anthropic-version": "2023-06-01"}
    routed = load_settings(text="models: {m: {route: [openai/gpt-4o]}}", environ=environ)
    assert routed.models["m"].route[0].steps[0].provider == "openai"


def test_a_mounted_key_that_is_gone_is_an_error() -> None:
    """A variable that points nowhere is an error, also where no file is."""
    with pytest.raises(ConfigError, match=r"providers\.openai\.key: can not read file /nowhere"):
        load_settings(environ={"OPENAI_API_KEY_FILE": "/nowhere"})


def test_timeouts_come_from_the_nearest_place() -> None:
    """The model's timeouts win over the provider's, those over the defaults section's, those over the built-in ones."""
    settings = load_settings(
        text="""
defaults: {timeouts: {connect: 1, headers: 2, idle: 500ms}, max_tokens: 100}
providers: {v: {type: vllm, timeouts: {headers: 3s, total: 2m}}}
models:
  a: {route: [v/x, sim/echo], timeouts: {total: 1h}, max_tokens: 7}
  b: {route: [v/x]}
""",
        environ={},
    )
    (first,), (second,) = (group.steps for group in settings.models["a"].route)
    assert (first.timeouts.connect, first.timeouts.headers, first.timeouts.idle) == (1.0, 3.0, 0.5)
    assert (first.timeouts.total, second.timeouts.total, second.timeouts.headers) == (3600.0, 3600.0, 2.0)
    assert settings.models["b"].route[0].steps[0].timeouts == settings.providers["v"].timeouts
    assert settings.models["b"].route[0].steps[0].timeouts.total == 120.0
    assert first.timeouts.first_content == 120.0
    assert (first.max_tokens, settings.models["b"].route[0].steps[0].max_tokens) == (7, 100)


def test_amounts_with_units() -> None:
    """Sizes and times may carry units; plain numbers are bytes, seconds and days."""
    settings = load_settings(
        text="server: {body_limit: 10MB, header_limit: 16KiB, drain_seconds: 2m}\ndata: {retention_days: 12h}",
        environ={},
    )
    assert settings.server.body_limit == 10_000_000
    assert settings.server.header_limit == 16384
    assert settings.server.drain_seconds == 120.0
    assert settings.data.retention_days == 0.5


def test_settings_are_frozen() -> None:
    """Nobody can change a setting in place."""
    settings = load_settings(environ={})
    with pytest.raises(AttributeError):
        settings.server.port = 1  # type: ignore[misc]


def test_plain_words_stay_texts() -> None:
    """`no` and `on` are texts here, as in YAML 1.2; a model may be called by any printable name."""
    settings = load_settings(
        text="providers: {no: {type: vllm}}\nmodels: {on: {route: [no/yes]}, meta/llama-3.1@v2: {route: [no/a/b:c]}}",
        environ={},
    )
    assert settings.models["on"].route[0].steps[0].name == "no/yes"
    assert settings.models["meta/llama-3.1@v2"].route[0].steps[0].model == "a/b:c"


def test_where_the_file_is_looked_for(tmp_path) -> None:
    """--config wins over HEADGATE_CONFIG, which wins over ./headgate.yaml."""
    for name, port in (("headgate.yaml", 1), ("env.yaml", 2), ("option.yaml", 3)):
        (tmp_path / name).write_text(f"server: {{port: {port}}}")
    environ = {"HEADGATE_CONFIG": "env.yaml"}
    assert load_settings("option.yaml", environ=environ).server.port == 3
    assert load_settings(environ=environ).server.port == 2
    assert load_settings(environ={}).server.port == 1
    assert load_settings(environ={}).file == str(tmp_path / "headgate.yaml")
    assert find_file(environ=environ) == tmp_path / "env.yaml"


def test_where_the_data_lies(tmp_path) -> None:
    """The option, then HEADGATE_DATA, then the file's data.dir below its own folder, then ./headgate-data."""
    assert find_data_dir(environ={}) == tmp_path / "headgate-data"
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "h.yaml"
    file.write_text("providers: {up: {key: 'env:NOT_SET_HERE'}}\ndata: {dir: d}")
    assert find_data_dir(config=file, environ={}) == tmp_path / "etc" / "d"
    assert find_data_dir(config=file, environ={"HEADGATE_DATA": "e"}) == tmp_path / "e"
    assert find_data_dir("o", config=file, environ={"HEADGATE_DATA": "e"}) == tmp_path / "o"
    file.write_text("data: {dirr: d}")
    with pytest.raises(ConfigError, match=r'data\.dirr: unknown setting "dirr"; did you mean "dir"'):
        find_data_dir(config=file, environ={})


def test_the_whole_settings_agree_on_the_data_dir(tmp_path) -> None:
    """load and find_data_dir find the same directory."""
    file = tmp_path / "h.yaml"
    for text in ("data: {dir: d}", "data: {dir: /x/y}", ""):
        file.write_text(text)
        for environ in ({}, {"HEADGATE_DATA": "e"}):
            assert load_settings(file, environ=environ).data.dir == str(find_data_dir(config=file, environ=environ))
    given = load_settings(file, environ={"HEADGATE_DATA": "e"}, overrides={"data.dir": ("--data", "o")})
    assert given.data.dir == str(tmp_path / "o")


def test_secrets_never_show(tmp_path) -> None:
    """Neither repr nor str nor any rendering of the settings shows a secret's value."""
    (tmp_path / "k").write_text("sk-mounted")
    text = """
providers:
  up: {dialect: openai_chat, url: 'http://h', key: 'file:k', headers: {api-key: 'env:UP_KEY', x-plain: 'yes'}}
"""
    (tmp_path / "headgate.yaml").write_text(text)
    environ = {"UP_KEY": "sk-secret", "HEADGATE_ADMIN_KEY": "sk-admin-0123456789"}
    loaded = load(environ=environ)
    for shown in (repr(loaded), str(loaded), f"{loaded.settings.providers['up'].keys}"):
        assert "sk-" not in shown
        assert "file:" in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(loaded.settings)
    assert loaded.settings.admin_key is not None
    assert loaded.settings.admin_key.reveal() == "sk-admin-0123456789"


def test_a_generic_key_is_not_taken_by_itself() -> None:
    """`type: openai` at another URL takes a key only by name, and `none` says that there is none."""
    text = "providers: {a: {type: openai, url: 'http://h/v1', key: none}}"
    assert load_settings(text=text, environ={"OPENAI_API_KEY": "sk-1"}).providers["a"].keys == ()


def test_json_is_a_configuration_too() -> None:
    """JSON text loads like YAML, so that the library can pass a mapping."""
    text = msgspec.json.encode({"models": {"m": {"route": ["sim/echo"]}}, "server": {"port": 0}}).decode()
    assert load_settings(text=text, environ={}).server.port == 0
