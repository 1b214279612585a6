"""Scenarios: a behaviour in a YAML file, read strictly, and the ones that ship."""

from __future__ import annotations

import pathlib
import re
from importlib import resources
from typing import Any

import msgspec
import yaml

from headgate.core.errors import ConfigError
from headgate.sim.behaviour import Behaviour, Rule, ToolUse
from headgate.sim.distribution import INSTANT, parse_distribution
from headgate.sim.draft import words_asked
from headgate.sim.fault import parse_fault
from headgate.sim.strict import check_keys, convert, nearest

_KEYS = (
    "name",
    "about",
    "seed",
    "speed",
    "first_token",
    "headers",
    "answers",
    "default",
    "cached",
    "dimensions",
    "models",
    "faults",
)
_RULE_KEYS = ("match", "model", "text", "texts", "file", "words", "echo", "json", "tool", "tools", "reasoning", "fault")
_ANSWER_KEYS = ("text", "texts", "file", "words", "echo", "json", "tool", "tools", "fault")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A named behaviour; ``about`` says in a sentence what it is for."""

    name: str
    behaviour: Behaviour
    about: str = ""


class _Plain(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a scenario that are plain values."""

    name: str | None = None
    about: str = ""
    seed: int = 0
    default: str = "echo"
    cached: float = 0.0
    dimensions: int = 1536
    models: tuple[str, ...] = ()


class _PlainRule(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a rule that are plain values."""

    match: str | None = None
    model: str = "*"
    text: str | None = None
    texts: tuple[str, ...] = ()
    echo: bool = False
    json: Any = None
    reasoning: str = ""


def load_scenario(name: str) -> Scenario:
    """Loads a scenario by the name of a shipped one, or from a file.

    Raises:
        ConfigError: neither; or the file is wrong (names file, line, path and the nearest right key).
    """
    if name in shipped_names():
        return shipped_scenario(name)
    path = pathlib.Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = nearest(name, shipped_names())
        raise ConfigError(f"no scenario '{name}': not a readable file ({error}), not a shipped one{hint}") from None
    return parse_scenario(text, str(path), base=path.parent)


def shipped_names() -> list[str]:
    """Returns the names of the scenarios that ship."""
    folder = resources.files("headgate.sim") / "scenarios"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def shipped_scenario(name: str) -> Scenario:
    """Returns a shipped scenario."""
    entry = resources.files("headgate.sim") / "scenarios" / f"{name}.yaml"
    return parse_scenario(entry.read_text(encoding="utf-8"), f"{name}.yaml")


def parse_scenario(text: str, where: str, base: pathlib.Path | None = None) -> Scenario:
    """Reads a scenario from YAML.

    Args:
        text: YAML (JSON is YAML).
        where: its name in messages.
        base: the folder that ``file`` in answers is relative to; None: no files.

    Raises:
        ConfigError: malformed, an unknown key, a wrong type or range.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from None
    try:
        return _scenario({} if value is None else value, where, base)
    except ConfigError as error:
        line = _find_line(text, error.message)
        raise ConfigError(f"{where}{f':{line}' if line else ''}: {error.message}", param=error.param) from None


def read_answers(path: pathlib.Path) -> tuple[Rule, ...]:
    """Reads an answers file: ``.yaml`` holds rules; anything else is text, its answers separated by ``---`` lines.

    Raises:
        ConfigError: unreadable, empty, or a wrong rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can not read the answers in {path}: {error}") from None
    if path.suffix in (".yaml", ".yml"):
        try:
            rules = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not YAML: {error}") from None
        if isinstance(rules, dict):
            rules = check_keys(rules, ("answers",), str(path)).get("answers")
        return _rules(rules, str(path), path.parent)
    return (Rule(texts=_texts(text, str(path))),)


def _texts(text: str, where: str) -> tuple[str, ...]:
    texts = tuple(part.strip("\n") for part in re.split(r"(?m)^---[ \t]*$", text) if part.strip())
    if not texts:
        raise ConfigError(f"{where}: holds no answer")
    return texts


def _scenario(value: Any, where: str, base: pathlib.Path | None) -> Scenario:
    check_keys(value, _KEYS, "")
    plain = convert({key: given for key, given in value.items() if key in _Plain.__struct_fields__}, _Plain, "")
    if plain.default != "echo" and words_asked(plain.default) is None:
        raise ConfigError(f"default: must be echo or words-N, not '{plain.default}'")
    if not 0 <= plain.cached <= 1:
        raise ConfigError("cached: must be between 0 and 1")
    if not 1 <= plain.dimensions <= 8192:
        raise ConfigError("dimensions: must be between 1 and 8192")
    times = {
        key: parse_distribution(value[key], key) if key in value else INSTANT
        for key in ("speed", "first_token", "headers")
    }
    faults = value.get("faults") or []
    if not isinstance(faults, list):
        raise ConfigError("faults: expected a list")
    behaviour = Behaviour(
        seed=plain.seed,
        default=plain.default,
        cached=plain.cached,
        dimensions=plain.dimensions,
        models=plain.models,
        answers=_rules(value.get("answers") or [], "answers", base),
        faults=tuple(parse_fault(fault, f"faults[{index}]") for index, fault in enumerate(faults)),
        **times,
    )
    return Scenario(name=plain.name or pathlib.PurePath(where).stem, about=plain.about, behaviour=behaviour)


def _rules(value: Any, path: str, base: pathlib.Path | None) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{path}: expected a list of rules")
    return tuple(_rule(rule, f"{path}[{index}]", base) for index, rule in enumerate(value))


def _rule(value: Any, path: str, base: pathlib.Path | None) -> Rule:
    if isinstance(value, str):
        value = {"text": value}
    check_keys(value, _RULE_KEYS, path)
    given = [key for key in _ANSWER_KEYS if key in value]
    if len(given) != 1:
        raise ConfigError(f"{path}: needs exactly one of {', '.join(_ANSWER_KEYS)}; has {', '.join(given) or 'none'}")
    plain = convert(
        {key: given for key, given in value.items() if key in _PlainRule.__struct_fields__}, _PlainRule, path
    )
    texts = plain.texts if plain.text is None else (plain.text,)
    if "file" in value:
        texts = _file(value["file"], f"{path}.file", base)
    uses = value.get("tools", [value["tool"]] if "tool" in value else [])
    if not isinstance(uses, list):
        raise ConfigError(f"{path}.tools: expected a list")
    try:
        match = None if plain.match is None else re.compile(plain.match)
    except re.error as error:
        raise ConfigError(f"{path}.match: not a regular expression: {error}") from None
    return Rule(
        match=match,
        model=plain.model,
        texts=texts,
        words=parse_distribution(value["words"], f"{path}.words") if "words" in value else None,
        echo=plain.echo,
        json=plain.json,
        tools=tuple(
            ToolUse(use) if isinstance(use, str) else convert(use, ToolUse, f"{path}.tools[{index}]")
            for index, use in enumerate(uses)
        ),
        reasoning=plain.reasoning,
        fault=parse_fault(value["fault"], f"{path}.fault") if "fault" in value else None,
    )


def _file(name: Any, path: str, base: pathlib.Path | None) -> tuple[str, ...]:
    if base is None or not isinstance(name, str):
        raise ConfigError(f"{path}: a file can be named only by a scenario that is a file itself")
    try:
        return _texts((base / name).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can not read it: {error}") from None


def _find_line(text: str, message: str) -> int | None:
    """Finds the line of the path that a message begins with, as far down as the document has it."""
    node: Any = yaml.compose(text)
    line = None
    for part in re.findall(r"\w+", message.partition(":")[0]):
        entries: list[tuple[str, Any, Any]] = []
        if isinstance(node, yaml.MappingNode):
            entries = [(str(key.value), key, inner) for key, inner in node.value]
        elif isinstance(node, yaml.SequenceNode):
            entries = [(str(index), inner, inner) for index, inner in enumerate(node.value)]
        found = next(((key, inner) for name, key, inner in entries if name == part), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
