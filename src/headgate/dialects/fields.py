"""The top level of a JSON request: read without decoding its values, patched without re-encoding them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.core.errors import BadRequest

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode

Fields = dict[str, msgspec.Raw]


def read_fields(raw: bytes) -> Fields:
    """Returns the top-level keys of a JSON object, each with its value's raw JSON.

    Raises:
        BadRequest: not UTF-8 (``invalid_utf8``), not JSON (``invalid_json``), not an object, nested too deep
            (``too_deep``), or a key that stands twice (``duplicate_key``).
    """
    if not raw.isascii():
        _check_utf8(raw)
    try:
        fields = _decode(raw)
    except msgspec.ValidationError:
        raise BadRequest("The request body must be a JSON object.", code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(raw, error) from None
    except RecursionError:
        raise BadRequest("The request body is nested too deep; flatten it.", code="too_deep") from None
    keys, values, count = "".join(fields), b"".join(fields.values()), len(fields)
    # Braces, quotes, colons and commas are all that is left of a compact body, plus one blank each where it is spaced
    # as Python spaces it. One more entry would need its key, a value of a byte, and four signs: is there room for it?
    spare = len(raw) - len(keys) - len(values) - (4 * count + 1)
    if spare < 5 or spare < 5 + min(map(len, fields), default=0):
        return fields
    # Every entry but the first costs one comma outside values and keys, whatever the white space: a surplus
    # is a duplicate. (A comma in a key may be written \u002c, so such keys take the slow way.)
    if raw.count(b",") - values.count(b",") != count - 1 or "," in keys:
        _check_duplicates(raw)
    return fields


def decode_fields(fields: Fields) -> dict[str, Any]:
    """Decodes every value of a top level.

    Raises:
        BadRequest: a value that is not JSON after all (``invalid_json``), or nested too deep (``too_deep``).
    """
    try:
        return {key: msgspec.json.decode(value) for key, value in fields.items()}
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deep; flatten it.", code="too_deep") from None


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The request body is not UTF-8 (byte {error.start}).", code="invalid_utf8") from None


def _malformed(raw: bytes, error: Exception) -> BadRequest:
    if not raw.strip():
        return BadRequest("The request body is empty; send a JSON object.", code="invalid_json")
    reason = str(error).removeprefix("JSON is malformed: ")
    return BadRequest(f"The request body is not valid JSON: {reason}.", code="invalid_json")


def _check_duplicates(raw: bytes) -> None:
    """The slow way: decodes all, and looks at the key list of the outermost object, which is built last."""
    import json

    last: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        nonlocal last
        last = pairs

    try:
        json.loads(raw, object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None
    seen: set[str] = set()
    for key, _ in last:
        if key in seen:
            raise BadRequest(
                f"The key {key[:100]!r} stands twice in the request body; send it once.",
                code="duplicate_key",
                param=key[:100],
            )
        seen.add(key)


def patch_fields(raw: bytes, fields: Fields, changes: Mapping[str, Any]) -> bytes:
    """Returns ``raw`` with top-level fields set, or removed where the value is None; all else byte for byte.

    Args:
        raw: a JSON object, as read by ``read_fields``.
        fields: its fields.
        changes: new values by key (anything msgspec can encode; ``msgspec.Raw`` goes in as it is).
    """
    added = b""
    for key, value in changes.items():
        if key not in fields:
            if value is not None:
                added += b"%b:%b," % (_encode(key), _encode(value))
            continue
        spliced = _splice(raw, key.encode(), bytes(fields[key]), value)
        if spliced is None:
            return _rebuild(fields, changes)
        raw = spliced
    if not added:
        return raw
    start = raw.index(b"{") + 1
    if not fields:
        added = added[:-1]
    return b"{" + added + raw[start:]


def _splice(raw: bytes, key: bytes, old: bytes, value: Any) -> bytes | None:
    """Replaces one value where it stands; None where its place is not beyond doubt, or it is to go."""
    quoted = b'"%b"' % key
    if value is None or raw.count(quoted) != 1:
        return None
    head, tail = raw.split(quoted, 1)
    after = tail.lstrip(b" \t\r\n")
    if not after.startswith(b":"):
        return None
    after = after[1:].lstrip(b" \t\r\n")
    if not after.startswith(old):
        return None
    return b"%b%b:%b%b" % (head, quoted, _encode(value), after[len(old) :])


def _rebuild(fields: Fields, changes: Mapping[str, Any]) -> bytes:
    merged = {**fields, **changes}
    pairs = (b"%b:%b" % (_encode(key), _encode(value)) for key, value in merged.items() if value is not None)
    return b"{" + b",".join(pairs) + b"}"


def peek(fields: Fields, key: str, decoder: msgspec.json.Decoder[Any], wanted: str) -> Any:
    """Decodes one field.

    Args:
        fields: the top level.
        key: which field; absent or JSON null gives None.
        decoder: a prepared msgspec decoder for its type.
        wanted: that type in words, for the error: ``"a string"``.

    Raises:
        BadRequest: ``invalid_type``, naming the key.
    """
    value = fields.get(key)
    if value is None:
        return None
    if bytes(value) == b"null":
        return None
    try:
        return decoder.decode(value)
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise BadRequest(f"{key!r} must be {wanted}.", code="invalid_type", param=key) from None


STRING: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
BOOLEAN: msgspec.json.Decoder[bool] = msgspec.json.Decoder(bool)
INTEGER: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)
