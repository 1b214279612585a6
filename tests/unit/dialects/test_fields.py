"""The top level of a JSON request."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import BadRequest
from headgate.dialects.fields import INTEGER, patch_fields, peek, read_fields

KEYS = st.text(min_size=0, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)
STYLES = st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 2}, {"ensure_ascii": False}])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"  ", "invalid_json"),
        (b"[1]", "invalid_json"),
        (b"1", "invalid_json"),
        (b'{"a":1} x', "invalid_json"),
        (b'{"a":NaN}', "invalid_json"),
        (b'{"a":"\x01"}', "invalid_json"),
        (b'{"a":"\xff"}', "invalid_utf8"),
        (b'{"\xff":1}', "invalid_utf8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "duplicate_key"),
        (b'{"a\\u002cb":1, "model":"x","model":"y"}', "duplicate_key"),
        (b'{"":1,"":2}', "duplicate_key"),
        (b'{"n":1,"n":2,"model":"x","messages":"y"}', "duplicate_key"),
        (b'{"n": 1, "n": 2, "model": "x", "messages": "y"}', "duplicate_key"),
    ],
)
def test_refuses_what_is_not_one_clean_object(body: bytes, code: str) -> None:
    """Each malformed body is refused with a code that says what is wrong with it."""
    with pytest.raises(BadRequest) as caught:
        read_fields(body)
    assert caught.value.code == code


@given(OBJECTS, STYLES)
def test_reads_what_json_reads(value: dict[str, object], style: dict[str, object]) -> None:
    """Whatever the white space, keys and values are those that json.loads sees."""
    raw = json.dumps(value, **style).encode("utf-8", "surrogatepass")
    fields = read_fields(raw)
    assert {key: json.loads(bytes(part)) for key, part in fields.items()} == value


def test_an_empty_object_is_one_whatever_its_white_space() -> None:
    """It has no key that could stand twice."""
    assert read_fields(b"{}") == read_fields(b"{           }") == {}


@given(OBJECTS.filter(bool), st.data(), st.sampled_from([",", ", ", " ,\n"]))
def test_any_duplicate_is_found(value: dict[str, object], data: st.DataObject, comma: str) -> None:
    """A top-level key that stands twice is refused wherever it stands and however it is spaced."""
    key = data.draw(st.sampled_from(sorted(value)))
    pairs = [f"{json.dumps(name)}:{json.dumps(part)}" for name, part in value.items()]
    pairs.insert(data.draw(st.integers(0, len(pairs))), f"{json.dumps(key)}:{json.dumps(data.draw(VALUES))}")
    with pytest.raises(BadRequest) as caught:
        read_fields(("{" + comma.join(pairs) + "}").encode())
    assert caught.value.code == "duplicate_key"


@settings(max_examples=200)
@given(OBJECTS, st.dictionaries(KEYS, VALUES, max_size=3), STYLES)
def test_patch_changes_only_what_it_names(
    value: dict[str, object], changes: dict[str, object], style: dict[str, object]
) -> None:
    """A patched body means the object with those keys set, and those given as None gone."""
    raw = json.dumps(value, **style).encode()
    patched = patch_fields(raw, read_fields(raw), changes)
    wanted = {key: part for key, part in {**value, **changes}.items() if changes.get(key, 0) is not None}
    assert json.loads(patched) == wanted


def test_patch_keeps_the_bytes_of_all_else() -> None:
    """A change of one field leaves odd spacing and number forms elsewhere untouched."""
    raw = b'{ "model" : "a",\n "seed": 1.50E+2 , "messages":[ ] }'
    assert patch_fields(raw, read_fields(raw), {"model": "b"}) == b'{ "model":"b",\n "seed": 1.50E+2 , "messages":[ ] }'


def test_patch_is_not_misled_by_the_key_inside_a_value() -> None:
    """A value that holds the key's text does not get the change."""
    raw = b'{"x":{"model":"inner"},"model":"outer"}'
    assert json.loads(patch_fields(raw, read_fields(raw), {"model": "new"})) == {
        "x": {"model": "inner"},
        "model": "new",
    }


def test_peek_names_the_field_of_the_wrong_type() -> None:
    """A policy field of the wrong type is refused by name; null counts as absent."""
    fields = read_fields(b'{"n":"two","m":null}')
    assert peek(fields, "m", INTEGER, "a whole number") is None
    assert peek(fields, "absent", INTEGER, "a whole number") is None
    with pytest.raises(BadRequest) as caught:
        peek(fields, "n", INTEGER, "a whole number")
    assert (caught.value.code, caught.value.param) == ("invalid_type", "n")
    assert isinstance(fields["n"], msgspec.Raw)
