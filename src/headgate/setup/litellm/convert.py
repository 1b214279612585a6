"""Converts a LiteLLM proxy configuration into ours, and accounts for every setting of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from headgate.config.load import load_settings
from headgate.core.errors import ConfigError
from headgate.setup.litellm.deployments import Deployments
from headgate.setup.litellm.notes import Note, Notes
from headgate.setup.litellm.providers import Providers
from headgate.setup.litellm.settings import Sections


class Imported(msgspec.Struct, frozen=True):
    """What became of a configuration.

    Attributes:
        text: our file.
        notes: one for every setting of theirs.
        models: how many models of theirs are here.
        lost: names of those that are not.
        variables: the environment variables that our file takes keys from.
    """

    text: str
    notes: list[Note]
    models: int
    lost: list[str]
    variables: list[str]

    def count(self, fate: str) -> int:
        """Returns how many settings had this fate."""
        return sum(note.fate == fate for note in self.notes)


def convert(text: str, source: str, environ: Mapping[str, str]) -> Imported:
    """Converts a file's text.

    Args:
        text: YAML.
        source: the file's name, for messages and for the head of ours.
        environ: where ``os.environ/NAME`` of addresses is looked up; of keys only names are used.

    Raises:
        ConfigError: it is no LiteLLM proxy configuration.
    """
    document = _parse(text, source)
    notes = Notes()
    providers = Providers(notes, environ)
    deployments = Deployments(notes, providers)
    deployments.read(document.get("model_list", []))
    sections = Sections(notes, deployments)
    sections.read(document)
    sections.routes()
    for provider, prices in deployments.prices.items():
        providers.written[provider]["prices"] = prices
    ours: dict[str, Any] = {"providers": providers.written, "models": deployments.models}
    ours |= {"defaults": sections.defaults} if sections.defaults else {}
    ours |= {"limits": sections.limits} if sections.limits else {}
    variables = sorted(providers.secrets)
    imported = Imported(_write(ours, notes, source), notes.all, len(deployments.models), deployments.lost, variables)
    _prove(imported)
    return imported


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{source}{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply") from error
    if not isinstance(document, dict) or not document.keys() & {"model_list", "litellm_settings", "router_settings"}:
        raise ConfigError(f"{source}: not a LiteLLM proxy configuration: it has no model_list")
    return document


def _write(ours: dict[str, Any], notes: Notes, source: str) -> str:
    head = [f"# Made by `headgate import litellm` from {source.splitlines()[0] if source else 'standard input'}."]
    for fate, title in (("to do", "To do"), ("not carried", "Not carried")):
        found = [note for note in notes.all if note.fate == fate]
        head += ["#", f"# {title}:"] if found else []
        head += [f"#   {_line(note.path)}: {_line(note.about)}" for note in found]
    body = yaml.dump(ours, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return "\n".join(head) + "\n\n" + body


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice: our files have no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Always."""
        return True


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _prove(imported: Imported) -> None:
    """Makes sure that what was written is a configuration: with every key in place, it loads.

    Raises:
        ConfigError: it does not; that is a fault of this program, and the message says so.
    """
    try:
        load_settings(text=imported.text, environ=dict.fromkeys(imported.variables, "x"))
    except ConfigError as error:
        raise ConfigError(
            f"what was made of it is no valid configuration (please report this):\n{error.message}"
        ) from error
