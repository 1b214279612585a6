"""A minimal value that satisfies a JSON Schema: what a forced tool call or a structured answer holds.

Covers types, enum, const, default, required, items, lengths, bounds, ``anyOf``, ``oneOf``, ``allOf``, ``$ref`` and
common formats. Not ``pattern`` or ``not``: give such tools their arguments by a rule.
"""

from __future__ import annotations

import math
from typing import Any

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_DEPTH = 24


def make_instance(schema: Any, word: str = "text") -> Any:
    """Returns a small value valid under ``schema``; strings say ``word``, lengthened or cut as bounds ask.

    Example:
        >>> make_instance({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]})
        {'n': 3}
    """
    return _make(schema, schema, word, 0)


def _make(schema: Any, root: Any, word: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return {} if schema is True or depth == 0 else None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return _make(_resolve(schema["$ref"], root), root, word, depth + 1)
    if "allOf" in schema:
        return _make(_merge([{**schema, "allOf": None}, *schema["allOf"]], root), root, word, depth + 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _make(_smallest(schema, key, root), root, word, depth + 1)
    return _typed(schema, root, word, depth)


def _typed(schema: dict[str, Any], root: Any, word: str, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        kind = "array" if "items" in schema else "string" if "minLength" in schema else "object"
    if kind == "object":
        properties = schema.get("properties") or {}
        return {
            name: _make(properties.get(name, {"type": "string"}), root, word, depth + 1)
            for name in schema.get("required") or ()
        }
    if kind == "array":
        first = list(schema.get("prefixItems") or ())
        more = max(0, int(schema.get("minItems", 0)) - len(first))
        item = schema.get("items", {"type": "string"})
        made = [_make(each, root, word, depth + 1) for each in [*first, *[item] * more]]
        return _distinct(made) if schema.get("uniqueItems") else made
    if kind == "string":
        return _string(schema, word)
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    return kind == "boolean" or None


def _string(schema: dict[str, Any], word: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), word)
    least = int(schema.get("minLength", 0))
    if len(text) < least:
        text = (text + " " + "x" * least)[:least]
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    low, high = _bound(schema, "minimum", whole, 1), _bound(schema, "maximum", whole, -1)
    value = low if low is not None and low > 0 else 0.0
    if high is not None and value > high:
        value = high
    if low is not None and value < low:
        value = low
    step = schema.get("multipleOf")
    if step:
        value = math.ceil(value / step) * step
    return int(value) if whole or float(value).is_integer() else float(value)


def _bound(schema: dict[str, Any], name: str, whole: bool, sign: int) -> float | None:
    inner = schema.get(name)
    outer = schema.get(f"exclusive{name.capitalize()}")
    if outer is True:
        inner, outer = None, inner
    if isinstance(outer, (int, float)) and not isinstance(outer, bool):
        # The nearest number inside an open bound: the next integer, or half a step.
        inside = (math.floor(outer) + 1 if sign > 0 else math.ceil(outer) - 1) if whole else outer + sign * 0.5
        return float(inside) if inner is None else (max if sign > 0 else min)(float(inner), float(inside))
    if inner is None:
        return None
    return float(math.ceil(inner) if sign > 0 else math.floor(inner)) if whole else float(inner)


def _resolve(reference: Any, root: Any) -> Any:
    node = root
    for part in str(reference).lstrip("#").strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if key:
            node = node.get(key) if isinstance(node, dict) else None
    return node


def _merge(schemas: list[Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        if isinstance(schema, dict) and "$ref" in schema:
            schema = _resolve(schema["$ref"], root)
        if not isinstance(schema, dict):
            continue
        if schema.get("allOf"):
            schema = _merge([{**schema, "allOf": None}, *schema["allOf"]], root)
        for key, value in schema.items():
            if key == "properties":
                merged["properties"] = {**merged.get("properties", {}), **value}
            elif key == "required":
                merged["required"] = [*dict.fromkeys([*merged.get("required", ()), *value])]
            elif value is not None:
                merged[key] = value
    return merged


def _smallest(schema: dict[str, Any], key: str, root: Any) -> dict[str, Any]:
    outer = {name: value for name, value in schema.items() if name != key}
    options = [option for option in schema[key] if not (isinstance(option, dict) and option.get("type") == "null")]
    return _merge([outer, options[0] if options else schema[key][0]], root)


def _distinct(values: list[Any]) -> list[Any]:
    made: list[Any] = []
    for position, value in enumerate(values):
        if value in made:
            value = f"{value}{position}" if isinstance(value, str) else value + position if _plain(value) else value
        made.append(value)
    return made


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
