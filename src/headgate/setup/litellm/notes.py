"""Notes: what became of each setting of a LiteLLM configuration: carried, changed, named, or left to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Fate = Literal["carried", "changed", "to do", "not carried"]
ENVIRON = "os.environ/"


class Note(msgspec.Struct, frozen=True):
    """One setting.

    Attributes:
        path: where it stands in their file.
        fate: ``carried`` (as it was meant), ``changed`` (by the nearest that there is here), ``to do`` (carried but for
            something that only a person can fill in), ``not carried``.
        about: what it is here, or why not.
    """

    path: str
    fate: Fate
    about: str


class Notes:
    """Collects notes, one a setting; never a value that may be a secret."""

    def __init__(self) -> None:
        self.all: list[Note] = []

    def carried(self, path: str, here: str) -> None:
        """It means the same here."""
        self.all.append(Note(path, "carried", here))

    def changed(self, path: str, about: str) -> None:
        """It is the nearest that there is."""
        self.all.append(Note(path, "changed", about))

    def to_do(self, path: str, about: str) -> None:
        """It is there, but somebody must fill something in."""
        self.all.append(Note(path, "to do", about))

    def lost(self, path: str, why: str) -> None:
        """There is nothing like it here."""
        self.all.append(Note(path, "not carried", why))

    def leftovers(
        self, section: Mapping[str, Any], known: frozenset[str], path: str, reasons: Mapping[str, str]
    ) -> None:
        """Names every setting of a section that nobody has looked at."""
        for name in section:
            if name not in known:
                self.lost(join(path, name), reasons.get(str(name), "no counterpart here"))


def join(path: str, name: object) -> str:
    """Returns the path of a setting below another one."""
    return f"{path}.{name}" if path else str(name)


def variable_of(value: object) -> str:
    """Returns the variable that ``os.environ/NAME`` names, "" for anything else."""
    return value.removeprefix(ENVIRON) if isinstance(value, str) and value.startswith(ENVIRON) else ""


def number(value: object) -> float | None:
    """Returns a number above 0, None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return None
    return found if 0 < found < 1e12 else None


def plain(value: float) -> int | float:
    """Returns a whole number as one."""
    return int(value) if value == int(value) else value
