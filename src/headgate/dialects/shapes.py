"""Checks of a request's shape that name the field to blame by its path."""

from __future__ import annotations

from typing import Any

from headgate.core.errors import BadRequest


def wrong(path: str, wanted: str) -> BadRequest:
    """Returns the error for a field that is not ``wanted`` (in words)."""
    return BadRequest(f"{path!r} must be {wanted}.", code="invalid_type", param=path)


def want_object(value: Any, path: str) -> dict[str, Any]:
    """Returns ``value`` if it is an object."""
    if isinstance(value, dict):
        return value
    raise wrong(path, "an object")


def want_list(value: Any, path: str) -> list[Any]:
    """Returns ``value`` if it is an array."""
    if isinstance(value, list):
        return value
    raise wrong(path, "an array")


def want_text(value: Any, path: str) -> str:
    """Returns ``value`` if it is a string."""
    if isinstance(value, str):
        return value
    raise wrong(path, "a string")


def get_text(data: dict[str, Any], key: str, path: str) -> str | None:
    """Returns an optional string field."""
    value = data.get(key)
    return None if value is None else want_text(value, f"{path}.{key}" if path else key)


def get_object(data: dict[str, Any], key: str, path: str) -> dict[str, Any] | None:
    """Returns an optional object field."""
    value = data.get(key)
    return None if value is None else want_object(value, f"{path}.{key}" if path else key)


def get_bool(data: dict[str, Any], key: str, path: str) -> bool | None:
    """Returns an optional boolean field."""
    value = data.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(f"{path}.{key}" if path else key, "a boolean")


def get_number(data: dict[str, Any], key: str) -> float | None:
    """Returns an optional number of the top level."""
    value = data.get(key)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise wrong(key, "a number")


def get_count(data: dict[str, Any], key: str, path: str = "") -> int | None:
    """Returns an optional whole number, zero or more."""
    value = data.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise wrong(f"{path}.{key}" if path else key, "a whole number, zero or more")


def rest(data: dict[str, Any], *known: str) -> dict[str, Any]:
    """Returns the keys that nobody asked for, with their values; nulls mean absent."""
    return {key: value for key, value in data.items() if key not in known and value is not None}
