"""The simulator's parts: draws, distributions, tokens, words, vectors, instances."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import ConfigError
from headgate.sim import tokens
from headgate.sim.distribution import parse_distribution, parse_distribution_text
from headgate.sim.draws import Draws
from headgate.sim.instance import make_instance
from headgate.sim.vectors import as_base64, make_vector
from headgate.sim.words import WORDS, generate_words


@given(st.text())
@settings(max_examples=100)
def test_tokens_join_to_the_text(text: str) -> None:
    """Splitting loses nothing, and there are never more tokens than UTF-8 bytes."""
    pieces = tokens.split(text)
    assert "".join(pieces) == text
    assert len(pieces) <= len(text.encode("utf-8", "surrogatepass"))


@given(st.integers(0, 300), st.integers())
@settings(max_examples=30)
def test_generated_words_are_tokens(amount: int, seed: int) -> None:
    """N words are N tokens, before and after joining; the seed decides them."""
    pieces = generate_words(Draws(seed), amount)
    assert tokens.split("".join(pieces)) == pieces
    assert len(pieces) == amount
    assert generate_words(Draws(seed), amount) == pieces
    assert max(map(len, WORDS)) <= 6


@pytest.mark.parametrize(
    ("text", "value", "median"),
    [
        ("250", 250, 250),
        ("uniform:100,300", {"uniform": {"min": 100, "max": 300}}, 200),
        ("exponential:100", {"exponential": {"mean": 100}}, 69.3),
        ("lognormal:300,2000", {"lognormal": {"p50": 300, "p99": 2000}}, 300),
        (None, {"percentiles": {50: 200, 99: 900}}, 200),
    ],
)
def test_distributions_have_their_median(text: str | None, value: Any, median: float) -> None:
    """Both spellings give the same numbers, with about the median asked for."""
    distribution = parse_distribution(value, "x")
    if text is not None:
        assert parse_distribution_text(text, "x") == distribution
    drawn = sorted(distribution.draw(Draws(seed)) for seed in range(2001))
    assert drawn[1000] == pytest.approx(median, rel=0.08)
    assert drawn[0] >= 0


def test_lognormal_has_its_p99_and_percentiles_jump() -> None:
    """The tail is where it was asked for."""
    lognormal = parse_distribution({"lognormal": {"p50": 1, "p99": 10}}, "x")
    drawn = sorted(lognormal.draw(Draws(seed)) for seed in range(5000))
    assert 8 < drawn[4950] < 12.5
    steps = parse_distribution({"percentiles": {0: 0.2, 97: 0.2, 97.01: 5, 100: 5}}, "x")
    slow = sum(steps.draw(Draws(seed)) > 1 for seed in range(5000))
    assert 110 < slow < 200


@pytest.mark.parametrize(
    "value",
    [
        *(-1, True, "soon", {}, {"uniform": {"min": 3, "max": 1}}, {"normal": {"mean": 1}}, {"uniform": {"min": 1}}),
        *({"lognormal": {"p50": 0, "p99": 1}}, {"percentiles": {120: 1}}, {"percentiles": {}}, math.inf),
    ],
)
def test_bad_distributions_are_refused(value: Any) -> None:
    """Wrong shapes and impossible numbers are errors that name the path."""
    with pytest.raises(ConfigError, match=r"^speed"):
        parse_distribution(value, "speed")


def test_vectors_are_unit_and_prefixes() -> None:
    """Length one; a shorter one points the way of the longer one's beginning; base64 is little-endian float32."""
    long, short = make_vector("text", 256), make_vector("text", 16)
    assert math.isclose(sum(value * value for value in long), 1, rel_tol=1e-4)
    assert [value / long[0] for value in long[:16]] == pytest.approx([value / short[0] for value in short], rel=1e-3)
    assert list(struct.unpack("<16f", base64.b64decode(as_base64(short)))) == list(short)


SCHEMAS: list[Any] = [
    True,
    {"type": "object"},
    {"type": "string", "minLength": 9, "maxLength": 10},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": 3, "maximum": 9, "multipleOf": 4},
    {"type": "integer", "exclusiveMinimum": 3},
    {"type": "number", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
    {"type": "integer", "maximum": -5},
    {"type": ["null", "string"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "minItems": 2},
    {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 2}]},
    {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"const": 5}}}]},
    {"enum": ["x", "y"]},
    {
        "$defs": {
            "node": {"type": "object", "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}}
        },
        "type": "object",
        "properties": {"head": {"$ref": "#/$defs/node"}},
        "required": ["head"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_instances_satisfy_their_schema(schema: Any) -> None:
    """What is made validates."""
    jsonschema.Draft202012Validator(schema).validate(make_instance(schema))


def test_endless_schemas_end() -> None:
    """A schema that requires itself has no instance; making one ends all the same."""
    loop = {"$defs": {"a": {"type": "object", "properties": {"b": {"$ref": "#/$defs/a"}}, "required": ["b"]}}}
    assert isinstance(make_instance({**loop, "$ref": "#/$defs/a"}), dict)
    make_instance({"$ref": "#"})
