"""Finds, reads and checks the configuration: file, environment and command line become Settings."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headgate.config.alert_plan import read_alerts
from headgate.config.alerts import AlertsConfig
from headgate.config.keyhole import Keyhole
from headgate.config.ledger import Ledger, Origin
from headgate.config.nodes import Node, Problem
from headgate.config.reader import Reader
from headgate.config.resolve import Resolver, find_database
from headgate.config.rule import Rule
from headgate.config.schema import Config
from headgate.config.settings import DEFAULT_DATA_DIR, DataSettings, Settings
from headgate.core.alert import AlertPlan
from headgate.core.errors import ConfigError

DEFAULT_FILE = "headgate.yaml"
DATABASE_VARIABLE = "HEADGATE_DATABASE_URL"


Secrets = Literal["required", "placeholders"]
"""What becomes of a secret that is not there: an error, or a ``Secret`` that is ``absent``."""


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each value came from (by its path; what is missing is a default).

    ``absent`` are the references of secrets that are not there, each once; none where they are required.
    """

    settings: Settings
    origins: dict[str, Origin]
    absent: tuple[str, ...] = ()


def load_settings(
    config: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    overrides: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    secrets: Secrets = "required",
) -> Settings:
    """Returns the settings; see ``load``."""
    return load(config, text=text, overrides=overrides, environ=environ, secrets=secrets).settings


def load(
    config: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    overrides: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    secrets: Secrets = "required",
) -> Loaded:
    """Reads everything and checks it.

    Args:
        config: the file; None looks at ``$HEADGATE_CONFIG``, then for ``./headgate.yaml``, and does without.
        text: the configuration itself (YAML or JSON), instead of any file.
        overrides: ``{"server.port": ("--port", 9000)}``: from the command line, stronger than file and
            environment. Values as YAML would have them.
        environ: the environment; None is ``os.environ``.
        secrets: ``"placeholders"`` reads a configuration where the secrets of its gateway are not: each that is missing
            is a ``Secret`` that is ``absent``. What opens the database is needed all the same.

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
    keyhole = Keyhole(env, base, placeholders=secrets == "placeholders")
    resolver = Resolver(written, ledger, keyhole)
    resolver.override("data.dir", "HEADGATE_DATA", env.get("HEADGATE_DATA"), environment=True)
    resolver.override("data.database", DATABASE_VARIABLE, _database_reference(env), environment=True)
    for target, (name, value) in (overrides or {}).items():
        resolver.override(target, name, value)
    settings = resolver.settings(str(path) if path is not None else None)
    if problems:
        problems.sort(key=lambda problem: problem.line)
        raise ConfigError("\n".join(problem.show(source) for problem in problems))
    return Loaded(settings, ledger.origins, tuple(keyhole.absent))


def find_file(
    config: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
) -> pathlib.Path | None:
    """Returns the absolute path of the file that ``load`` would read, None where it would do without."""
    wanted = _wanted(config, os.environ if environ is None else environ)
    return pathlib.Path(wanted).absolute() if wanted else None


class DataPlace(msgspec.Struct, frozen=True):
    """Where the data is: ``dir`` is absolute; ``database`` is as written, "" for SQLite in ``dir``."""

    dir: pathlib.Path
    database: str
    base: pathlib.Path

    def database_url(self, environ: Mapping[str, str] | None = None) -> str | None:
        """Returns the shared database's URL, None for SQLite.

        Raises:
            ConfigError: the variable or file that holds it is not there, or holds something else.
        """
        if not self.database:
            return None
        return find_database(self.database, os.environ if environ is None else environ, self.base).reveal()


def find_data(
    data: str | None = None,
    config: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> DataPlace:
    """Returns where the data is, for verbs that need no providers (and so none of their secrets).

    The directory is ``data`` (the ``--data`` option), then ``$HEADGATE_DATA``, then the file's ``data.dir``, then
    ``./headgate-data``; the database ``$HEADGATE_DATABASE_URL``, then the file's ``data.database``, then SQLite.

    Raises:
        ConfigError: the file can not be read, or its ``data`` section is wrong.
    """
    env = os.environ if environ is None else environ
    given = data or env.get("HEADGATE_DATA")
    reference = _database_reference(env)
    source, content, path = _open(config, None, env)
    base = pathlib.Path.cwd() if path is None else path.parent
    if content is None or path is None:
        return DataPlace(pathlib.Path(given or DEFAULT_DATA_DIR).absolute(), reference, base)
    problems: list[Problem] = []
    root = _parse(content, source, problems)
    section = root.value.get("data") if isinstance(root.value, dict) else None
    reader = Reader(problems)
    settings = DataSettings()
    if isinstance(section, Node):
        settings = reader.value(section, DataSettings, Rule(""), "data")
    if problems:
        raise ConfigError("\n".join(problem.show(source) for problem in problems))
    written = base / settings.dir if "data.dir" in reader.lines else pathlib.Path(settings.dir)
    return DataPlace((pathlib.Path(given) if given else written).absolute(), reference or settings.database, base)


def find_alerts(
    config: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
) -> AlertPlan | None:
    """Returns the alerts of the file that ``load`` would read, for verbs that need no providers; None without any.

    Raises:
        ConfigError: the file can not be read, or its ``alerts`` section is wrong.
    """
    env = os.environ if environ is None else environ
    source, content, path = _open(config, None, env)
    problems: list[Problem] = []
    root = _parse(content or b"", source, problems)
    section = root.value.get("alerts") if isinstance(root.value, dict) else None
    if not isinstance(section, Node):
        return None
    reader = Reader(problems)
    written = reader.value(section, AlertsConfig, Rule(""), "alerts")
    base = pathlib.Path.cwd() if path is None else path.parent
    plan = None if problems else read_alerts(written, Ledger(reader, source), Keyhole(env, base))
    if problems:
        raise ConfigError("\n".join(problem.show(source) for problem in problems))
    return plan


def _database_reference(env: Mapping[str, str]) -> str:
    return f"env:{DATABASE_VARIABLE}" if env.get(DATABASE_VARIABLE, "").strip() else ""


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
