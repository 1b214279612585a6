"""YAML text to a tree of nodes that know their lines; only plain data gets through, bounded in size and depth."""

from __future__ import annotations

import re

import yaml

from headgate.config.nodes import Node, Problem, join
from headgate.core.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16

_INT = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\d{1,18}\.\d{0,18}|\.\d{1,18}|\d{1,18}(?=[eE]))(?:[eE][-+]?\d{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_PARSER = getattr(yaml, "CLoader", yaml.Loader)


def parse(data: bytes, source: str, problems: list[Problem]) -> Node:
    """Parses one YAML document; duplicate keys go to ``problems``.

    Raises:
        ConfigError: not UTF-8, not YAML, more than one document, or over the bounds; and for aliases, anchors,
            tags and keys that are not plain text, which have no use here.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than 1 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}:{line}: not UTF-8 text") from error
    try:
        return _build(text, problems)
    except Problem as problem:
        raise ConfigError(problem.show(source)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        raise ConfigError(Problem(line, "", f"not YAML: {_why(error, text)}").show(source)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from None


def _why(error: yaml.MarkedYAMLError, text: str) -> str:
    """What the parser complains of; a tab, which people do not see, by its name."""
    mark = error.problem_mark
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines):
        line = lines[mark.line]
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return "a tab in front of the line; YAML is indented by spaces alone"
    return str(error.problem)


def _build(text: str, problems: list[Problem]) -> Node:
    builder = _Builder(problems)
    for event in yaml.parse(text, Loader=_PARSER):
        builder.take(event)
    return builder.root if builder.root is not None else Node(1, None)


class _Builder:
    """Makes Nodes of parser events without recursion, so that deep nesting costs nothing but an error."""

    def __init__(self, problems: list[Problem]) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._open: list[tuple[Node, str]] = []  # each open collection, with its path
        self._key: str | None = None  # the key of the innermost mapping that waits for its value
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Problem(line, "", "more than one YAML document in the file")
        elif isinstance(event, yaml.AliasEvent):
            raise Problem(line, "", "aliases (*) are not supported: write the value out, or quote the text")
        elif isinstance(event, yaml.NodeEvent):
            self._check(event, line)
            self._node(event, line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()

    def _check(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            raise Problem(line, "", "anchors (&) are not supported: write the value out, or quote the text")
        if getattr(event, "tag", None) is not None:
            raise Problem(line, "", "tags (!) are not supported: values are plain data, or quote the text")
        if len(self._open) >= MAX_DEPTH:
            raise Problem(line, "", f"nested deeper than {MAX_DEPTH} levels")

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        if self._open and self._key is None and isinstance(self._open[-1][0].value, dict):
            self._take_key(event, line)
            return
        if isinstance(event, yaml.ScalarEvent):
            self._place(Node(line, _scalar(event.value) if event.implicit[0] else event.value))
            return
        node = Node(line, {} if isinstance(event, yaml.MappingStartEvent) else [])
        self._open.append((node, self._place(node)))

    def _take_key(self, event: yaml.NodeEvent, line: int) -> None:
        node, path = self._open[-1]
        if not isinstance(event, yaml.ScalarEvent):
            raise Problem(line, path, "a key must be plain text")
        self._key = event.value
        if self._key in node.keys:
            message = f"duplicate key; it stands at line {node.keys[self._key]} already"
            self._problems.append(Problem(line, join(path, self._key), message))
        else:
            node.keys[self._key] = line

    def _place(self, node: Node) -> str:
        """Puts a node where it belongs and returns its path; of a duplicate key the first value stays."""
        if not self._open:
            self.root = node
            return ""
        parent, path = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
            return f"{path}[{len(parent.value) - 1}]"
        key, self._key = self._key or "", None
        if isinstance(parent.value, dict):
            parent.value.setdefault(key, node)
        return join(path, key)


def _scalar(text: str) -> object:
    """YAML 1.2's reading of a plain scalar: only true, false, null and decimal numbers are not text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
