"""A plan in a file of the data directory: written by the gateway for whichever recorder runs there.

Secrets stand in a plan by where they live; the recorder reads them from its own environment, which is the gateway's.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from headgate.core.errors import ConfigError

_P = TypeVar("_P", bound=msgspec.Struct)


class PlanFile(Generic[_P]):
    """One kind of plan.

    Args:
        name: the file's, within a data directory.
        kind: what it holds, as JSON.
    """

    def __init__(self, name: str, kind: type[_P]) -> None:
        self.name = name
        self._kind = kind

    def load(self, directory: Path) -> _P | None:
        """Returns the data directory's plan, None where it has none.

        Raises:
            ConfigError: the file holds something else.
        """
        try:
            return msgspec.json.decode((directory / self.name).read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{directory / self.name} is not understood: {error}") from error

    def save(self, directory: Path, plan: _P | None) -> None:
        """Gives the data directory its plan, None for none; its recorder goes by it within seconds.

        Raises:
            ConfigError: the file can not be written.
        """
        file = directory / self.name
        wanted = None if plan is None else msgspec.json.encode(plan)
        try:
            if wanted is None:
                file.unlink(missing_ok=True)
                return
            if file.exists() and file.read_bytes() == wanted:
                return
            new = directory / f"{self.name}.{secrets.token_hex(4)}"
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as out:
                out.write(wanted)
            new.replace(file)
        except OSError as error:
            raise ConfigError(f"{file} can not be written: {error.strerror or error}") from error

    def state(self, directory: Path) -> tuple[int, int] | None:
        """Returns what changes whenever the file does, None where there is none."""
        try:
            state = (directory / self.name).stat()
        except FileNotFoundError:
            return None
        return state.st_mtime_ns, state.st_ino
