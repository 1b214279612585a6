"""Finds, reads and checks the configuration: file, environment and command line become Settings."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.config.ledger import Ledger, Origin
from headgate.config.nodes import Node, Problem
from headgate.config.reader import Reader
from headgate.config.resolve import Resolver
from headgate.config.rule import Rule
from headgate.config.schema import Config
from headgate.config.settings import DEFAULT_DATA_DIR, DataSettings, Settings
from headgate.core.errors import ConfigError

DEFAULT_FILE = "headgate.yaml"


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each value came from (by its path; what is missing is a default)."""

    settings: Settings
    origins: dict[str, Origin]


def load_settings(
    config: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    overrides: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Returns the settings; see ``load``."""
    return load(config, text=text, overrides=overrides, environ=environ).settings


def load(
    config: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    overrides: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Reads everything and checks it.

    Args:
        config: the file; None looks at ``$HEADGATE_CONFIG``, then for ``./headgate.yaml``, and does without.
        text: the configuration itself (YAML or JSON), instead of any file.
        overrides: ``{"server.port": ("--port", 9000)}``: from the command line, stronger than file and
            environment. Values as YAML would have them.
        environ: the environment; None is ``os.environ``.

    Raises:
        ConfigError: with one line for everything that is wrong: ``file:line: path: message``.
    """
    env = os.environ if environ is None else environ
    source, data, path = _open(config, text, env)
    problems: list[Problem] = []
    reader = Reader(problems)
    written = reader.read(_parse(data, source, problems), Config) if data is not None else Config()
    base = path.parent if path is not None else pathlib.Path.cwd()
    ledger = Ledger(reader, source)
    resolver = Resolver(written, ledger, base, env)
    resolver.override("data.dir", "HEADGATE_DATA", env.get("HEADGATE_DATA"), environment=True)
    for target, (name, value) in (overrides or {}).items():
        resolver.override(target, name, value)
    settings = resolver.settings(str(path) if path is not None else None)
    if problems:
        problems.sort(key=lambda problem: problem.line)
        raise ConfigError("\n".join(problem.show(source) for problem in problems))
    return Loaded(settings, ledger.origins)


def find_file(
    config: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
) -> pathlib.Path | None:
    """Returns the absolute path of the file that ``load`` would read, None where it would do without."""
    wanted = _wanted(config, os.environ if environ is None else environ)
    return pathlib.Path(wanted).absolute() if wanted else None


def find_data_dir(
    data: str | None = None,
    config: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Returns the data directory alone, for verbs that need no providers (and so none of their secrets).

    ``data`` (the ``--data`` option), then ``$HEADGATE_DATA``, then the file's ``data.dir``, then ``./headgate-data``.

    Raises:
        ConfigError: the file can not be read, or its ``data`` section is wrong.
    """
    env = os.environ if environ is None else environ
    given = data or env.get("HEADGATE_DATA")
    if given:
        return pathlib.Path(given).absolute()
    source, content, path = _open(config, None, env)
    if content is None or path is None:
        return pathlib.Path(DEFAULT_DATA_DIR).absolute()
    problems: list[Problem] = []
    root = _parse(content, source, problems)
    section = root.value.get("data") if isinstance(root.value, dict) else None
    reader = Reader(problems)
    settings = DataSettings()
    if isinstance(section, Node):
        settings = reader.value(section, DataSettings, Rule(""), "data")
    if problems:
        raise ConfigError("\n".join(problem.show(source) for problem in problems))
    written = "data.dir" in reader.lines
    return (path.parent / settings.dir if written else pathlib.Path(settings.dir)).absolute()


def _open(
    config: str | os.PathLike[str] | None, text: str | None, env: Mapping[str, str]
) -> tuple[str, bytes | None, pathlib.Path | None]:
    """Returns how the source is called in messages, its bytes (None: there is none) and its path."""
    if text is not None:
        return "<config>", text.encode(), None
    wanted = _wanted(config, env)
    if not wanted:
        return "defaults", None, None
    path = pathlib.Path(wanted)
    try:
        return str(path), path.read_bytes(), path.absolute()
    except OSError as error:
        whence = " (named by HEADGATE_CONFIG)" if config is None and env.get("HEADGATE_CONFIG") else ""
        raise ConfigError(f"can not read the configuration {path}{whence}: {error.strerror}") from error


def _parse(data: bytes, source: str, problems: list[Problem]) -> Node:
    from headgate.config.document import parse  # PyYAML is not loaded where there is no file

    return parse(data, source, problems)


def _wanted(config: str | os.PathLike[str] | None, env: Mapping[str, str]) -> str:
    if config is not None:
        return os.fspath(config)
    return env.get("HEADGATE_CONFIG") or (DEFAULT_FILE if os.path.lexists(DEFAULT_FILE) else "")
