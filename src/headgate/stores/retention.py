"""How long records are kept, and how much: settings in the data directory, for whichever recorder runs there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from headgate.core.errors import ConfigError

FILE = "retention.json"


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept; None means without end. ``max_bytes`` bounds a SQLite file, the oldest calls make room.

    ``payload_bytes`` bounds the payloads as they are stored, compressed, in either database.
    """

    retention_days: float | None = None
    payload_days: float | None = None
    max_bytes: int | None = None
    payload_bytes: int | None = None


def load_retention(directory: Path) -> Retention:
    """Returns the data directory's settings, the defaults where it has none.

    Raises:
        ConfigError: the file holds something else.
    """
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=Retention)
    except FileNotFoundError:
        return Retention()
    except msgspec.DecodeError as error:
        raise ConfigError(f"{directory / FILE} is not understood: {error}") from error


def save_retention(directory: Path, retention: Retention) -> None:
    """Gives the data directory its settings; its recorder goes by them within a minute."""
    if load_retention(directory) == retention:
        return
    new = directory / f"{FILE}.{secrets.token_hex(4)}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(retention))
    new.replace(directory / FILE)
