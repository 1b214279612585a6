"""Strict typing of YAML: unknown keys are errors that name the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from headgate.core.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the closest known word, else a list of them all."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"


def check_keys(value: Any, known: Iterable[str], path: str) -> dict[str, Any]:
    """Returns ``value`` if it is a mapping with no key outside ``known``.

    Raises:
        ConfigError: it is not; the message names path and nearest key.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{path or 'top level'}: expected a mapping, got {type(value).__name__}")
    names = set(known)
    for key in value:
        if key not in names:
            where = f"{path}.{key}" if path else str(key)
            raise ConfigError(f"{where}: unknown key{nearest(str(key), names)}", param=where)
    return value


def convert(value: Any, kind: type[T], path: str) -> T:
    """Returns ``value`` as the struct ``kind``.

    Raises:
        ConfigError: an unknown key, a missing one or a wrong type; names the path.
    """
    check_keys(value, (field.encode_name for field in msgspec.structs.fields(kind)), path)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        raise ConfigError(f"{path}{inner.rstrip('`')}: {message[:1].lower()}{message[1:]}") from None
