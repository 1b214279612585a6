"""``headgate import litellm``: what it makes of a configuration, and that it accounts for every setting of it."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from headgate.cli.imports import import_
from headgate.config.load import load_settings
from headgate.core.errors import ConfigError
from headgate.setup.litellm.convert import Imported, convert

PROXY = """
model_list:
  - model_name: gpt
    litellm_params:
      model: gpt-4o
      api_key: os.environ/FIRST_KEY
      rpm: 300
      timeout: 30
      stream_timeout: 5
  - model_name: gpt
    litellm_params:
      model: azure/my-deployment
      api_base: https://mine.openai.azure.com/
      api_key: os.environ/AZURE_KEY
      api_version: "2024-06-01"
      rpm: 100
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      max_tokens: 900
      input_cost_per_token: 0.000003
      output_cost_per_token: 0.000015
      temperature: 0.2
  - model_name: local
    litellm_params: {model: ollama/llama3, api_base: "http://localhost:11434"}
  - model_name: own
    litellm_params: {model: openai/mine, api_base: "http://10.0.0.7:8000/v1", api_key: sk-literal-secret}
  - model_name: cloud
    litellm_params: {model: bedrock/anthropic.claude-v2, aws_region_name: us-east-1}
  - model_name: "anthropic/*"
    litellm_params: {model: "anthropic/*"}
litellm_settings:
  num_retries: 3
  request_timeout: 120
  fallbacks: [{gpt: [claude, cloud]}, {"*": [local]}]
  context_window_fallbacks: [{gpt: [claude]}]
  cache: true
  success_callback: [langfuse]
router_settings:
  routing_strategy: simple-shuffle
  cooldown_time: 20
  model_group_alias: {gpt-4: gpt}
  redis_password: pw-literal-secret
general_settings:
  master_key: sk-master-secret
  database_url: postgresql://u:db-secret@h/x
"""


def imported(text: str = PROXY, **environ: str) -> tuple[Imported, dict[str, Any]]:
    """Converts, and reads what came of it."""
    found = convert(text, "their.yaml", environ)
    return found, yaml.safe_load(found.text)


def fate(found: Imported, path: str) -> str:
    """What became of one setting."""
    (note,) = [note for note in found.notes if note.path == path]
    return note.fate


def test_models_become_routes() -> None:
    """Equals become a group with their weights, fallbacks further steps, and an alias the same model again."""
    _, ours = imported()
    route = ours["models"]["gpt"]["route"]
    assert route[0] == {
        "of": [{"use": "openai/gpt-4o", "weight": 300}, {"use": "azure/my-deployment", "weight": 100}],
        "balance": "weighted",
    }
    assert route[1:] == ["anthropic/claude-sonnet-4-5", "ollama/llama3"]
    assert ours["models"]["gpt"]["on"] == {"context_length": ["anthropic/claude-sonnet-4-5"]}
    assert ours["models"]["gpt"]["timeouts"] == {"total": 30, "first_content": 5}
    assert ours["models"]["gpt-4"] == ours["models"]["gpt"]
    assert ours["models"]["claude"]["max_tokens"] == 900
    assert ours["defaults"] == {"retry": {"attempts": 3}, "timeouts": {"total": 120}, "breaker": {"open": 20}}


def test_providers_are_where_their_deployments_are() -> None:
    """By row where there is one, else by address; keys are references."""
    found, ours = imported()
    assert ours["providers"]["openai"] == {"type": "openai", "key": "env:FIRST_KEY"}
    assert ours["providers"]["azure"] == {
        "dialect": "openai_chat",
        "url": "https://mine.openai.azure.com/openai/v1",
        "key": "env:AZURE_KEY",
    }
    assert ours["providers"]["anthropic"] == {
        "type": "anthropic",
        "key": "env:ANTHROPIC_API_KEY",
        "prices": {"claude-sonnet-4-5": {"input": 3, "output": 15}},
    }
    assert ours["providers"]["ollama"] == {"type": "ollama", "url": "http://localhost:11434/v1"}
    assert ours["providers"]["10.0.0.7"]["url"] == "http://10.0.0.7:8000/v1"
    settings = load_settings(text=found.text, environ=dict.fromkeys(found.variables, "x"))
    assert set(settings.models) == {"gpt", "claude", "local", "own", "gpt-4"}


def test_a_price_is_its_deployments_alone() -> None:
    """A fallback keeps its own price; half a price is none, so that no output is counted as free."""
    found, ours = imported("""
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001}
  - model_name: mini
    litellm_params: {model: openai/gpt-4o-mini, input_cost_per_token: 0.00000015}
  - model_name: mini
    litellm_params: {model: claude-haiku-4-5}
litellm_settings: {fallbacks: [{gpt: [mini]}]}
""")
    assert "price" not in ours["models"]["gpt"]
    assert ours["providers"]["openai"]["prices"] == {"gpt-4o": {"input": 2.5, "output": 10}}
    assert "prices" not in ours["providers"]["anthropic"]
    assert fate(found, "model_list[1].litellm_params.input_cost_per_token") == "to do"


def test_no_secret_of_theirs_is_in_ours_or_in_the_account() -> None:
    """A key that stands in the file becomes the name of a variable, and something to do."""
    found, _ = imported()
    told = found.text + json.dumps([[note.path, note.about] for note in found.notes])
    assert "secret" not in told
    assert fate(found, "model_list[4].litellm_params.api_key") == "to do"
    assert fate(found, "general_settings.master_key") == "to do"


def test_what_is_not_here_is_named_with_its_path_and_its_reason() -> None:
    """Providers, settings and sections alike; a model that is lost is lost in its fallbacks, too."""
    found, _ = imported()
    for path in (
        "model_list[5]",
        "model_list[2].litellm_params.temperature",
        "litellm_settings.fallbacks[0].gpt",
        "litellm_settings.cache",
        "litellm_settings.success_callback",
        "router_settings.redis_password",
        "general_settings.database_url",
    ):
        assert "not carried" in [note.fate for note in found.notes if note.path == path], path
    assert all(note.about for note in found.notes)
    assert found.lost == ["cloud"]
    assert fate(found, "model_list[6]") == "changed"


def leaves(value: Any, path: str = "") -> list[str]:
    """Every setting of a document, by its path."""
    if isinstance(value, dict) and value:
        return [
            leaf for name, inner in value.items() for leaf in leaves(inner, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, f"{path}[{index}]")]
    return [path]


def test_every_setting_is_accounted_for() -> None:
    """Each has a note of its own, or stands in a part that has one: nothing is dropped in silence."""
    found, _ = imported()
    noted = [note.path for note in found.notes]
    silent = [
        leaf
        for leaf in leaves(yaml.safe_load(PROXY))
        if not any(leaf == path or leaf.startswith((f"{path}.", f"{path}[")) for path in noted)
    ]
    assert silent == []


def test_a_budget_becomes_a_limit() -> None:
    """Where its window is one of the calendar's; another is named."""
    text = "litellm_settings: {max_budget: 100, budget_duration: 30d}"
    found, ours = imported(text)
    assert ours["limits"] == [{"scope": "everything", "unit": "dollars", "per": "month", "amount": 100}]
    assert fate(found, "litellm_settings.max_budget") == "carried"
    assert fate(imported(text.replace("30d", "17d"))[0], "litellm_settings.max_budget") == "not carried"


def test_an_address_in_a_variable_is_looked_up() -> None:
    """It is written out where the variable is set, and left to do where it is not."""
    text = "model_list: [{model_name: m, litellm_params: {model: openai/x, api_base: os.environ/BASE}}]"
    found, ours = imported(text, BASE="http://127.0.0.1:9/v1")
    assert next(iter(ours["providers"].values()))["url"] == "http://127.0.0.1:9/v1"
    found, ours = imported(text)
    assert fate(found, "model_list[0].litellm_params.api_base") == "to do"
    assert ".invalid" in next(iter(ours["providers"].values()))["url"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a LiteLLM proxy configuration"),
        ("[1, 2]", "not a LiteLLM proxy configuration"),
        ("models: {}", "not a LiteLLM proxy configuration"),
        ("model_list: [", "their.yaml:1: not YAML"),
        ("model_list: !!python/object:os.system x", "not YAML"),
    ],
)
def test_what_is_no_litellm_configuration_is_refused(text: str, message: str) -> None:
    """With the line where there is one."""
    with pytest.raises(ConfigError, match=message):
        convert(text, "their.yaml", {})


@pytest.mark.parametrize(
    "entry",
    [
        "5",
        "{model_name: m}",
        "{model_name: m, litellm_params: {}}",
        "{model_name: 'a b', litellm_params: {model: gpt-4o}}",
        "{model_name: m, litellm_params: {model: nobody/x}}",
        "{model_name: m, litellm_params: {model: openai/x, api_base: 'ftp://x'}}",
        "{model_name: m, litellm_params: {model: openai/dall-e-3}}",
        "{model_name: m, litellm_params: {model: gpt-4o}, model_info: {mode: image_generation}}",
    ],
)
def test_an_entry_that_can_not_be_carried_is_named(entry: str) -> None:
    """The others are not lost with it."""
    found, ours = imported(f"model_list: [{entry}, {{model_name: good, litellm_params: {{model: gpt-4o}}}}]")
    assert list(ours["models"]) == ["good"]
    assert any(note.fate == "not carried" and note.path.startswith("model_list[0]") for note in found.notes)


def test_odd_values_do_not_get_through() -> None:
    """Numbers that are none, and settings of other types, are named or left out; what is written still loads."""
    text = """
model_list:
  - model_name: m
    litellm_params: {model: gpt-4o, timeout: -1, rpm: many, weight: .inf, max_tokens: true, max_retries: 999}
  - {model_name: m, litellm_params: {model: gpt-4o-mini, weight: 1000000}}
litellm_settings: {num_retries: [1], fallbacks: {m: n}, default_fallbacks: [none]}
router_settings: [1]
"""
    found, ours = imported(text)
    assert ours["models"]["m"]["retry"]["attempts"] == 20
    assert found.models == 1


def test_the_verb_writes_once_and_tells_all(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, an account of every setting, and what is not set yet; exit code 1 where no model is left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIRST_KEY", raising=False)
    (tmp_path / "their.yaml").write_text(PROXY)
    run = CliRunner().invoke
    done = run(import_, ["litellm", "their.yaml"], catch_exceptions=False, standalone_mode=False)
    assert done.return_value == 0
    assert "not carried  model_list[5]" in done.stdout
    assert "5 models here, 1 not" in done.stderr
    assert "FIRST_KEY" in done.stderr
    names = ("FIRST_KEY", "AZURE_KEY", "ANTHROPIC_API_KEY", "OPENAI_KEY_1")
    assert "gpt-4" in load_settings(tmp_path / "headgate.yaml", environ=dict.fromkeys(names, "x")).models
    with pytest.raises(ConfigError, match="is there already; --force writes over it, and -o names another"):
        run(import_, ["litellm", "their.yaml"], catch_exceptions=False, standalone_mode=False)
    shown = run(import_, ["litellm", "their.yaml", "-o", "-", "--format", "json"], standalone_mode=False)
    assert shown.stdout.startswith("# Made by")
    (tmp_path / "none.yaml").write_text("model_list: [{model_name: c, litellm_params: {model: bedrock/x}}]")
    done = run(import_, ["litellm", "none.yaml", "-o", "none-out.yaml"], standalone_mode=False)
    assert done.return_value == 1
    with pytest.raises(ConfigError, match="can not read absent"):
        run(import_, ["litellm", "absent.yaml"], catch_exceptions=False, standalone_mode=False)
