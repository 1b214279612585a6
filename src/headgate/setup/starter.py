"""The starter: a commented ``headgate.yaml`` for the keys that are in the environment; it never holds a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from headgate.config.schema import Config
from headgate.providers.discovery import discover
from headgate.providers.rows import ROWS
from headgate.setup.known import KNOWN

_STEPS = 3
_FIRST = {"openai": ("gpt-4o-mini", "gpt-4.1"), "anthropic": ("claude-haiku-4-5", "claude-sonnet-4-5")}
"""Of the rows: a small model and a large one, to begin with."""


class Found(NamedTuple):
    """One provider whose key is there: its lines in the file, and the deployments to begin with."""

    name: str
    title: str
    variable: str
    line: str
    small: str
    large: str


def find(environ: Mapping[str, str]) -> list[Found]:
    """Returns the providers whose keys are in the environment; only their names are looked at."""
    found = []
    for name, (variable, reference) in discover(environ).items():
        small, large = _FIRST.get(name, ("", ""))
        found.append(Found(name, ROWS[name].title, variable, f"{{key: {_quoted(reference)}}}", small, large))
    for name, known in KNOWN.items():
        for variable in known.key_env:
            if environ.get(variable, "").strip():
                line = f"{{dialect: openai_chat, url: {_quoted(known.url)}, key: {_quoted(f'env:{variable}')}}}"
                found.append(Found(name, known.title, variable, line, known.model, known.model))
                break
    return found


def write(found: list[Found], *, data: str | None = None) -> str:
    """Returns the file's text; it is a configuration that can be served as it is.

    Args:
        found: the providers.
        data: a data directory other than the default, or None.
    """
    place = [f"data: {{dir: {_quoted(data)}}}"] if data else ["# data:", "#   dir: ./headgate-data"]
    small = [f"{one.name}/{one.small}" for one in found if one.small][:_STEPS]
    large = [f"{one.name}/{one.large}" for one in found if one.large][:_STEPS]
    lines = [
        "# Made by `headgate init`. What is wrong in it is told by `headgate config check`, what it comes to by",
        "# `headgate config explain`; every setting is in docs/configuration.md. Secrets are never written here:",
        "# a key is named by where it lives, `env:NAME` or `file:/path`.",
        "",
        "# Where answers come from. A provider whose key is in the environment needs no more than its name.",
    ]
    lines.append("providers:")
    for one in found:
        lines.append(f"  {one.name}: {one.line}  # {one.title}; {one.variable} is set")
    if not found:
        lines.append("  sim: {}                         # the embedded simulator, which is there unwritten as well")
    if not any(one.name == "openai" for one in found):
        lines.append("  # openai: {key: env:OPENAI_API_KEY}")
    lines += [
        "  # ollama: {}                    # a server on this machine, without a key",
        "",
        "# What callers ask for. A route is tried in its order until one answers: the second step is the fallback.",
        "models:",
        *_model("fast", small, "short answers, little money"),
    ]
    if large and large != small:
        lines += _model("best", large, "when it has to be right")
    lines += [
        "  test:",
        "    description: the embedded simulator; costs nothing, and needs no network",
        "    route: [sim/echo]",
        "",
        "# What holds where nothing else is said. These are the defaults, to be changed where they do not fit.",
        "# defaults:",
        "#   max_tokens: 4096                # sent where a caller names none",
        "#   timeouts: {connect: 5s, first_content: 2m, idle: 1m, total: 10m}",
        "#   retry: {attempts: 2, base: 250ms, cap: 8s}",
        "",
        "# server:",
        "#   host: 127.0.0.1                 # beyond this machine a key must exist: headgate keys create --name NAME",
        "#   port: 8484",
        "",
        *place,
        "#   retention_days: 90",
        "#   payloads: none                  # requests and answers themselves are not kept unless you say so",
        *_optional(),
    ]
    return "\n".join(lines) + "\n"


def _model(name: str, deployments: list[str], description: str) -> list[str]:
    route = [*deployments, *([] if deployments else ["sim/echo"])]
    note = "" if deployments else "  # the simulator, until a provider's key is there"
    return [
        f"  {name}:",
        f"    description: {description}",
        f"    route: [{', '.join(_quoted(step) for step in route)}]{note}",
    ]


def _optional() -> list[str]:
    """Sections that only some releases have."""
    if "limits" not in Config.__struct_fields__:
        return []
    return [
        "",
        "# limits:                           # who may use how much, in a window of time",
        "#   - {scope: user, unit: requests, per: minute, amount: 60}",
        "#   - {scope: everything, unit: dollars, per: day, amount: 20}",
    ]


def _quoted(text: str) -> str:
    plain = all(letter.isalnum() or letter in "-_./:" for letter in text) and not text.endswith(":")
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
