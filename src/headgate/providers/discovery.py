"""Finds the providers whose key is already in the environment, so that they work with no configuration."""

from __future__ import annotations

from collections.abc import Mapping

from headgate.providers.rows import ROWS, ProviderRow


def find_key(row: ProviderRow, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Looks for a row's key in the environment.

    Returns:
        The variable that names it and the secret's reference, e.g. ``("OPENAI_API_KEY", "env:OPENAI_API_KEY")``
        or ``("OPENAI_API_KEY_FILE", "file:/run/secrets/openai")``; None where neither is set (empty is unset).
    """
    for name in row.key_env:
        if environ.get(name, "").strip():
            return name, f"env:{name}"
        path = environ.get(f"{name}_FILE", "").strip()
        if path:
            return f"{name}_FILE", f"file:{path}"
    return None


def discover(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Returns ``find_key`` of every row whose key is there, by the row's name."""
    found = {}
    for row in ROWS.values():
        key = find_key(row, environ)
        if key is not None:
            found[row.name] = key
    return found
