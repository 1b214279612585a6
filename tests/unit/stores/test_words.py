"""What people may write about keys and people, and what is told them when they may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headgate.core.errors import BadRequest
from headgate.stores import words

NOW = 1_700_000_000_000_000_000
SECRET = "hg-" + "a1B_" * 11


@pytest.mark.parametrize("name", ["a", "équipe β", "東京", "a b", "x" * 100, "O'Neil; DROP TABLE", "👩"])
def test_names_may_be_of_any_script(name: str) -> None:
    """Any printable name is kept as it is."""
    assert words.check_word(name, "name") == name


def test_a_name_has_one_spelling() -> None:
    """The same letters written in two ways are one name, when made and when looked for."""
    assert words.check_word("e\u0301", "name") == "é" == words.findable("e\u0301")


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a\nb", "a\0b", "\u202eevil", "a\u200bb", "\ud800", "x" * 101, SECRET, f"my {SECRET}"]
)
def test_what_can_not_be_seen_is_no_name(name: str) -> None:
    """Empty, too long, invisible or reordering signs, half characters, and keys themselves are refused, unrepeated."""
    with pytest.raises(BadRequest) as refused:
        words.check_word(name, "name")
    assert (refused.value.code, refused.value.param) == ("invalid_value", "name")
    assert refused.value.message.isprintable()
    assert SECRET not in refused.value.message
    assert SECRET not in words.shown(name)
    assert words.shown(name).isprintable()


@pytest.mark.parametrize(
    ("check", "value", "kept"),
    [
        (words.check_email, "Alice@Example.COM", "alice@example.com"),
        (words.check_email, "", None),
        (words.check_models, ["fast", "gpt-*", "fast"], ["fast", "gpt-*"]),
        (
            words.check_networks,
            ["10.0.0.0/8", "192.0.2.7", "2001:DB8::/32"],
            ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"],
        ),
        (words.check_tags, ["app", "env=prod", "app"], ["app", "env=prod"]),
        (words.check_metadata, {"ticket": "OPS-1", "note": ""}, {"ticket": "OPS-1", "note": ""}),
        (words.check_role, "viewer", "viewer"),
    ],
)
def test_good_values_get_one_form(check: Callable[[Any], Any], value: Any, kept: Any) -> None:
    """What means the same is stored the same."""
    assert check(value) == kept


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (words.check_email, "alice"),
        (words.check_email, "a@b@c"),
        (words.check_email, "a b@c"),
        (words.check_models, []),
        (words.check_models, ["a b"]),
        (words.check_models, ["é"]),
        (words.check_models, ["m"] * 257),
        (words.check_networks, []),
        (words.check_networks, ["10.0.0.1/8"]),
        (words.check_networks, ["localhost"]),
        (words.check_networks, ["10.0.0.0/33"]),
        (words.check_tags, ["=x"]),
        (words.check_tags, ["a,b"]),
        (words.check_tags, ["a="]),
        (words.check_tags, [f"t{number}" for number in range(33)]),
        (words.check_metadata, {"": "x"}),
        (words.check_metadata, {"k": "x" * 501}),
        (words.check_metadata, {"k": SECRET}),
        (words.check_metadata, {f"k{number}": "" for number in range(33)}),
        (words.check_role, "king"),
        (words.check_role, SECRET),
    ],
)
def test_bad_values_are_named(check: Callable[[Any], Any], value: Any) -> None:
    """The error says which field it is, and never repeats a secret."""
    with pytest.raises(BadRequest) as refused:
        check(value)
    assert refused.value.param
    assert SECRET not in refused.value.message


def test_an_end_lies_ahead() -> None:
    """A span counts from now, a date is UTC; what lies behind, or 100 years ahead, or is neither, is refused."""
    assert words.parse_end("90m", NOW) == NOW + 5400 * 10**9
    assert words.parse_end(" 2w ", NOW) == NOW + 14 * 86400 * 10**9
    assert words.parse_end("2024-01-01", NOW) == 1_704_067_200 * 10**9
    assert words.parse_end("2024-01-01T01:00:00+01:00", NOW) == 1_704_067_200 * 10**9
    for text in ("0s", "2020-01-01", "soon", "", "-1d", "99999999w", "9999-12-31", "1e9d", "nan", "٣d"):
        with pytest.raises(BadRequest) as refused:
            words.parse_end(text, NOW)
        assert refused.value.param == "expires"
    assert words.parse_span("0s", "overlap") == 0
    for text in ("1y", "", "5", "-1s", "999999999w"):
        with pytest.raises(BadRequest, match="overlap"):
            words.parse_span(text, "overlap")
