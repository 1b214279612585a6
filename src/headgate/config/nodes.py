"""Nodes and problems: a configuration's values with their lines, and what is wrong at which line."""

from __future__ import annotations


class Node:
    """One YAML value: ``value`` is a str, int, float, bool or None, a list of Nodes or a dict of Nodes by key.

    ``line`` counts from 1. For a dict, ``keys`` has each key's line.
    """

    __slots__ = ("keys", "line", "value")

    def __init__(self, line: int, value: object) -> None:
        self.line = line
        self.value = value
        self.keys: dict[str, int] = {}

    @property
    def kind(self) -> str:
        """What it is, in words for an error."""
        value = self.value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return f"the number {value}"
        if value is None:
            return "nothing"
        return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a string"


class Problem(Exception):
    """One thing that is wrong at one line of one file; ``path`` is empty where the YAML itself is at fault."""

    def __init__(self, line: int, path: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.path = path
        self.message = message

    def show(self, source: str) -> str:
        """Returns ``file:line: path: message``."""
        where = f"{source}:{self.line}" if self.line else source
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


def join(path: str, key: str) -> str:
    """Returns the path of ``key`` below ``path``; a key that would be read wrong is quoted."""
    if not path:
        return key[:80]
    plain = key.replace("_", "a").replace("-", "a").isalnum()
    return f"{path}.{key[:80]}" if plain else f'{path}["{key[:80]}"]'
