"""Routes become groups of deployments, which inherit what their model, provider and the defaults section say."""

from __future__ import annotations

import pytest

from headgate.config.load import load_settings
from headgate.config.settings import (
    BreakerSettings,
    GroupSettings,
    HedgeSettings,
    LimitSettings,
    ModelSettings,
    RetrySettings,
    Settings,
)

TWO = "providers: {a: {type: vllm}, b: {type: ollama}}\n"


def load(text: str) -> Settings:
    return load_settings(text=text, environ={"KEY_1": "sk-1", "KEY_2": "sk-2", "OPENAI_API_KEY": "sk-own"})


def model(text: str) -> ModelSettings:
    return load(f"{TWO}models:\n  m: {text}").models["m"]


def members(group: GroupSettings) -> list[tuple[str, float]]:
    return [(step.name, step.weight) for step in group.steps]


def test_the_shape_of_issue_3() -> None:
    """Texts, mappings and groups become groups in order; a plain step is an ordered group of one."""
    found = load("""
providers:
  openai: {keys: ["env:KEY_1", "env:KEY_2"]}
  a: {type: vllm}
  b: {type: ollama}
models:
  fast:
    route:
      - openai/gpt-4o-mini
      - {of: [a/m, {use: b/m, weight: 2}], balance: latency, sticky: true}
      - {use: a/large, weight: 0.5}
    on:
      context_length: [openai/gpt-4.1]
      content_filter: [b/m, a/m]
    hedge: {quantile: 0.9, budget: 0.02, min_delay: 100ms}
    answer: "We are overloaded; please try again in a minute."
""").models["fast"]
    first, second, third = found.route
    assert (members(first), first.balance, first.sticky) == ([("openai/gpt-4o-mini", 1.0)], "ordered", False)
    assert (members(second), second.balance, second.sticky) == ([("a/m", 1.0), ("b/m", 2.0)], "latency", True)
    assert (members(third), third.balance) == ([("a/large", 0.5)], "ordered")
    assert (second.steps[1].provider, second.steps[1].model) == ("b", "m")
    assert {kind: [step.name for step in steps] for kind, steps in found.on.items()} == {
        "context_length": ["openai/gpt-4.1"],
        "content_filter": ["b/m", "a/m"],
    }
    assert found.hedge == HedgeSettings(quantile=0.9, budget=0.02, min_delay=0.1)
    assert found.answer == "We are overloaded; please try again in a minute."


def test_nothing_of_it_is_there_unless_written() -> None:
    """A plain route has no conditions, no hedging and no answer; its deployments have the built-in policies."""
    found = model("{route: [a/x]}")
    assert (found.on, found.hedge, found.answer) == ({}, None, "")
    (step,) = found.route[0].steps
    assert (step.retry, step.breaker, step.limit) == (RetrySettings(), BreakerSettings(), LimitSettings())


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("", "latency"),
        ("balance: ordered", "ordered"),
        ("balance: weighted", "weighted"),
        ("balance: cheapest", "cheapest"),
    ],
)
def test_balance(balance: str, expected: str) -> None:
    """A group is balanced by latency where it says nothing, and it is not sticky."""
    (group,) = model(f"{{route: [{{of: [a/x, b/x], {balance}}}]}}").route
    assert (group.balance, group.sticky) == (expected, False)


@pytest.mark.parametrize(
    ("hedge", "expected"),
    [("false", None), ("{}", HedgeSettings()), ("{budget: 0}", HedgeSettings(budget=0.0))],
)
def test_hedge(hedge: str, expected: HedgeSettings | None) -> None:
    """`false` is no hedging; a mapping, also an empty one, is hedging with the rest at its defaults."""
    assert model(f"{{route: [a/x, b/x], hedge: {hedge}}}").hedge == expected


def test_an_answer_over_several_lines() -> None:
    """A block of text is taken without the line break at its end."""
    assert model("\n    route: [a/x]\n    answer: |\n      Sorry.\n      Later.\n").answer == "Sorry.\nLater."


def test_policies_come_from_the_nearest_place() -> None:
    """Each value of retry, breaker and limit is the model's, else the provider's, else the defaults section's."""
    settings = load("""
defaults:
  retry: {attempts: 1, base: 1s, cap: 4s}
  breaker: {window: 20s, min_calls: 3, max_pause: 1m}
  limit: {concurrency: 8, queue: 5, batch_share: 0.5}
providers:
  a: {type: vllm, retry: {base: 2s, eager: true}, breaker: {min_calls: 4, slow: 3s}, limit: {queue: 6, adaptive: false}}
  b: {type: ollama}
models:
  m:
    route: [a/x, {of: [b/x]}]
    on: {auth: [a/y]}
    retry: {cap: 3s}
    breaker: {slow: 5s, enabled: false}
    limit: {queue: 7, wait: 0}
  plain: {route: [a/x]}
""")
    first, second = (group.steps[0] for group in settings.models["m"].route)
    assert first.retry == RetrySettings(attempts=1, base=2.0, cap=3.0, eager=True)
    assert second.retry == RetrySettings(attempts=1, base=1.0, cap=3.0)
    assert first.breaker == BreakerSettings(window=20.0, min_calls=4, max_pause=60.0, slow=5.0, enabled=False)
    assert second.breaker == BreakerSettings(window=20.0, min_calls=3, max_pause=60.0, slow=5.0, enabled=False)
    assert first.limit == LimitSettings(concurrency=8, queue=7, batch_share=0.5, adaptive=False, wait=0.0)
    assert second.limit == LimitSettings(concurrency=8, queue=7, batch_share=0.5, wait=0.0)
    (on,) = settings.models["m"].on["auth"]
    assert (on.name, on.retry, on.breaker, on.limit) == ("a/y", first.retry, first.breaker, first.limit)
    (plain,) = settings.models["plain"].route[0].steps
    provider = settings.providers["a"]
    assert (plain.retry, plain.breaker, plain.limit) == (provider.retry, provider.breaker, provider.limit)
    assert provider.limit.queue == 6
    assert settings.providers["b"].retry == settings.defaults.retry == RetrySettings(attempts=1, base=1.0, cap=4.0)


def test_a_deployment_may_stand_in_several_models_and_conditions() -> None:
    """Only within one route, or one condition, is a deployment twice an error."""
    settings = load(
        f"{TWO}models:\n  m: {{route: [a/x, b/x], on: {{timeout: [b/x], auth: [b/x, a/x]}}}}\n  n: {{route: [a/x]}}"
    )
    assert [step.name for step in settings.models["m"].on["auth"]] == ["b/x", "a/x"]


def test_several_keys_in_order() -> None:
    """`keys` are taken in the order of the file; `key` is a list of one; `none`, and a keyless type, are empty."""
    providers = load("""
providers:
  openai: {keys: ["env:KEY_2", "env:KEY_1"]}
  one: {type: vllm, key: "env:KEY_1"}
  none: {type: openai, key: none}
  away: {type: openai, url: "http://elsewhere/v1", keys: ["env:KEY_1"]}
""").providers
    revealed = {name: [key.reveal() for key in provider.keys] for name, provider in providers.items()}
    assert revealed == {"openai": ["sk-2", "sk-1"], "one": ["sk-1"], "none": [], "away": ["sk-1"], "sim": []}
    assert "sk-" not in repr(providers)
