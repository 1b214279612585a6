"""The options that every verb has: where the configuration is, and where the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--config`` and ``--data``; the function gets ``config`` and ``data``, each a str or None."""
    data = click.option("--data", metavar="DIR", help="Data directory [$HEADGATE_DATA, data.dir, ./headgate-data].")
    config = click.option("--config", metavar="FILE", help="Configuration [$HEADGATE_CONFIG, ./headgate.yaml].")
    return config(data(command))


def overrides(**given: tuple[str, Any]) -> dict[str, tuple[str, Any]]:
    """Returns what ``config.load`` takes as overrides: ``overrides(server__port=("--port", 80))``; None is left out."""
    return {name.replace("__", "."): pair for name, pair in given.items() if pair[1] is not None}
