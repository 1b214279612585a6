"""The alert plan of a data directory: rules and receivers, written by the gateway for whichever recorder runs there.

Secrets stand in it by where they live; the recorder reads them from its own environment, which is the gateway's.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from headgate.core.alert import AlertPlan
from headgate.core.errors import ConfigError

FILE = "alerts.json"


def load_plan(directory: Path) -> AlertPlan | None:
    """Returns the data directory's plan, None where it has none.

    Raises:
        ConfigError: the file holds something else.
    """
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=AlertPlan)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{directory / FILE} is not understood: {error}") from error


def save_plan(directory: Path, plan: AlertPlan | None) -> None:
    """Gives the data directory its plan, None for no alerts; its recorder goes by it within seconds.

    Raises:
        ConfigError: the file can not be written.
    """
    file = directory / FILE
    wanted = None if plan is None else msgspec.json.encode(plan)
    try:
        if wanted is None:
            file.unlink(missing_ok=True)
            return
        if file.exists() and file.read_bytes() == wanted:
            return
        new = directory / f"{FILE}.{secrets.token_hex(4)}"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(wanted)
        new.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} can not be written: {error.strerror or error}") from error
